import com.sun.jna.Library;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;

/**
 * The part of LiteRT's C API that this sample calls, for JNA.
 *
 * <p>Names and types are those of LiteRT's own headers (litert/c/...). Each
 * function returns a status; 0 says that all went well. As of LiteRT 2.2 and
 * 2.3, on 64-bit systems.
 */
public interface LiteRt extends Library {
  int CPU = 1;
  int READ = 0;
  int WRITE = 1;
  int FLOAT32 = 1;
  int UINT8 = 3;

  /** Bytes of a LiteRtRankedTensorType; its first int is the type of elements. */
  int TENSOR_TYPE_BYTES = 72;

  int LiteRtCreateEnvironment(int count, Pointer options, PointerByReference environment);

  int LiteRtCreateModelFromBuffer(
      Pointer environment, Pointer bytes, long size, PointerByReference model);

  int LiteRtCreateOptions(PointerByReference options);

  int LiteRtSetOptionsHardwareAccelerators(Pointer options, int accelerators);

  int LiteRtCreateCompiledModel(
      Pointer environment, Pointer model, Pointer options, PointerByReference compiled);

  int LiteRtGetNumModelSignatures(Pointer model, LongByReference count);

  int LiteRtGetModelSignature(Pointer model, long index, PointerByReference signature);

  int LiteRtGetSignatureKey(Pointer signature, PointerByReference key);

  int LiteRtGetNumSignatureInputs(Pointer signature, LongByReference count);

  int LiteRtGetNumSignatureOutputs(Pointer signature, LongByReference count);

  int LiteRtGetSignatureInputName(Pointer signature, long index, PointerByReference name);

  int LiteRtGetSignatureOutputName(Pointer signature, long index, PointerByReference name);

  int LiteRtGetSignatureInputTensorByIndex(
      Pointer signature, long index, PointerByReference tensor);

  int LiteRtGetSignatureOutputTensorByIndex(
      Pointer signature, long index, PointerByReference tensor);

  int LiteRtGetRankedTensorType(Pointer tensor, Pointer type);

  int LiteRtGetCompiledModelInputBufferRequirements(
      Pointer compiled, long signature, long input, PointerByReference requirements);

  int LiteRtGetCompiledModelOutputBufferRequirements(
      Pointer compiled, long signature, long output, PointerByReference requirements);

  int LiteRtCreateManagedTensorBufferFromRequirements(
      Pointer environment, Pointer type, Pointer requirements, PointerByReference buffer);

  int LiteRtGetTensorBufferPackedSize(Pointer buffer, LongByReference bytes);

  int LiteRtLockTensorBuffer(Pointer buffer, PointerByReference memory, int mode);

  int LiteRtUnlockTensorBuffer(Pointer buffer);

  int LiteRtRunCompiledModel(
      Pointer compiled,
      long signature,
      long numInputs,
      Pointer[] inputs,
      long numOutputs,
      Pointer[] outputs);

  void LiteRtDestroyTensorBuffer(Pointer buffer);

  void LiteRtDestroyCompiledModel(Pointer compiled);

  void LiteRtDestroyModel(Pointer model);

  void LiteRtDestroyOptions(Pointer options);

  void LiteRtDestroyEnvironment(Pointer environment);
}
