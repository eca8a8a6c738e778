import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A .tflite that trains itself: calls of its signatures, by their names.
 *
 * <p>Values go in and come out as bytes, little endian on every system that
 * LiteRT runs on. One thread at a time.
 */
public final class Trainable implements AutoCloseable {
  private record Tensor(Pointer buffer, int type, int bytes) {}

  private record Signature(
      long index,
      Pointer[] inputBuffers,
      Pointer[] outputBuffers,
      SortedMap<String, Tensor> inputs,
      SortedMap<String, Tensor> outputs) {}

  private final LiteRt lib;
  private final Memory bytes; // the model's, which must stay where they are
  private final Pointer environment;
  private final Pointer model;
  private final Pointer compiled;
  private final SortedMap<String, Signature> signatures = new TreeMap<>();

  /**
   * Opens a file.
   *
   * @param library the path of libLiteRt.so
   * @param file the bytes of the .tflite
   */
  public Trainable(String library, byte[] file) {
    lib = Native.load(library, LiteRt.class);
    bytes = new Memory(file.length + 64).align(64);
    bytes.write(0, file, 0, file.length);
    PointerByReference found = new PointerByReference();
    check(lib.LiteRtCreateEnvironment(0, null, found), "environment");
    environment = found.getValue();
    check(lib.LiteRtCreateModelFromBuffer(environment, bytes, file.length, found), "model");
    model = found.getValue();
    check(lib.LiteRtCreateOptions(found), "options");
    Pointer options = found.getValue();
    check(lib.LiteRtSetOptionsHardwareAccelerators(options, LiteRt.CPU), "options");
    check(lib.LiteRtCreateCompiledModel(environment, model, options, found), "compiled model");
    compiled = found.getValue();
    lib.LiteRtDestroyOptions(options);
    LongByReference count = new LongByReference();
    check(lib.LiteRtGetNumModelSignatures(model, count), "signatures");
    long signatureCount = count.getValue();
    for (long i = 0; i < signatureCount; i++) {
      open(i);
    }
  }

  private void open(long index) {
    PointerByReference found = new PointerByReference();
    check(lib.LiteRtGetModelSignature(model, index, found), "signature");
    Pointer signature = found.getValue();
    check(lib.LiteRtGetSignatureKey(signature, found), "key");
    String key = found.getValue().getString(0);
    LongByReference count = new LongByReference();
    check(lib.LiteRtGetNumSignatureInputs(signature, count), key);
    Pointer[] inputs = new Pointer[(int) count.getValue()];
    check(lib.LiteRtGetNumSignatureOutputs(signature, count), key);
    Pointer[] outputs = new Pointer[(int) count.getValue()];
    signatures.put(
        key,
        new Signature(
            index,
            inputs,
            outputs,
            tensors(signature, index, inputs, false),
            tensors(signature, index, outputs, true)));
  }

  /** Makes memory for each tensor of a signature, in the signature's order. */
  private SortedMap<String, Tensor> tensors(
      Pointer signature, long index, Pointer[] buffers, boolean isOutput) {
    SortedMap<String, Tensor> made = new TreeMap<>();
    for (int i = 0; i < buffers.length; i++) {
      PointerByReference found = new PointerByReference();
      check(
          isOutput
              ? lib.LiteRtGetSignatureOutputName(signature, i, found)
              : lib.LiteRtGetSignatureInputName(signature, i, found),
          "name");
      String name = found.getValue().getString(0);
      check(
          isOutput
              ? lib.LiteRtGetSignatureOutputTensorByIndex(signature, i, found)
              : lib.LiteRtGetSignatureInputTensorByIndex(signature, i, found),
          name);
      Memory type = new Memory(LiteRt.TENSOR_TYPE_BYTES);
      check(lib.LiteRtGetRankedTensorType(found.getValue(), type), name);
      check(
          isOutput
              ? lib.LiteRtGetCompiledModelOutputBufferRequirements(compiled, index, i, found)
              : lib.LiteRtGetCompiledModelInputBufferRequirements(compiled, index, i, found),
          name);
      Pointer needed = found.getValue();
      check(
          lib.LiteRtCreateManagedTensorBufferFromRequirements(environment, type, needed, found),
          name);
      buffers[i] = found.getValue();
      LongByReference size = new LongByReference();
      check(lib.LiteRtGetTensorBufferPackedSize(buffers[i], size), name);
      made.put(name, new Tensor(buffers[i], type.getInt(0), (int) size.getValue()));
    }
    return made;
  }

  /**
   * Runs a signature.
   *
   * @param key the signature's name
   * @param inputs bytes for each of its inputs, by name
   * @return the bytes of each of its outputs, by name, in the order of names
   */
  public SortedMap<String, byte[]> run(String key, Map<String, byte[]> inputs) {
    Signature called = signature(key);
    if (!called.inputs.keySet().equals(inputs.keySet())) {
      throw new IllegalArgumentException(key + " takes " + called.inputs.keySet());
    }
    inputs.forEach((name, value) -> write(key, name, called.inputs.get(name), value));
    check(
        lib.LiteRtRunCompiledModel(
            compiled,
            called.index,
            called.inputBuffers.length,
            called.inputBuffers.length == 0 ? null : called.inputBuffers,
            called.outputBuffers.length,
            called.outputBuffers.length == 0 ? null : called.outputBuffers),
        key);
    SortedMap<String, byte[]> values = new TreeMap<>();
    called.outputs.forEach((name, tensor) -> values.put(name, read(name, tensor)));
    return values;
  }

  /** Whether the file has a signature. */
  public boolean has(String key) {
    return signatures.containsKey(key);
  }

  /** The bytes that each input of a signature takes, by name. */
  public SortedMap<String, Integer> inputSizes(String key) {
    SortedMap<String, Integer> sizes = new TreeMap<>();
    signature(key).inputs.forEach((name, tensor) -> sizes.put(name, tensor.bytes));
    return sizes;
  }

  /** The type of an output of a signature: LiteRt.FLOAT32, LiteRt.UINT8 and so on. */
  public int type(String key, String output) {
    return signature(key).outputs.get(output).type;
  }

  private Signature signature(String key) {
    Signature found = signatures.get(key);
    if (found == null) {
      throw new IllegalArgumentException("no " + key + " among " + signatures.keySet());
    }
    return found;
  }

  private void write(String key, String name, Tensor tensor, byte[] value) {
    if (value.length != tensor.bytes) {
      throw new IllegalArgumentException(
          key + ": " + name + " takes " + tensor.bytes + " bytes, not " + value.length);
    }
    PointerByReference memory = new PointerByReference();
    check(lib.LiteRtLockTensorBuffer(tensor.buffer, memory, LiteRt.WRITE), name);
    memory.getValue().write(0, value, 0, value.length);
    check(lib.LiteRtUnlockTensorBuffer(tensor.buffer), name);
  }

  private byte[] read(String name, Tensor tensor) {
    PointerByReference memory = new PointerByReference();
    check(lib.LiteRtLockTensorBuffer(tensor.buffer, memory, LiteRt.READ), name);
    byte[] value = memory.getValue().getByteArray(0, tensor.bytes);
    check(lib.LiteRtUnlockTensorBuffer(tensor.buffer), name);
    return value;
  }

  private static void check(int status, String what) {
    if (status != 0) {
      throw new IllegalStateException("LiteRT gives status " + status + " for: " + what);
    }
  }

  @Override
  public void close() {
    for (Signature signature : signatures.values()) {
      for (Pointer buffer : signature.inputBuffers) {
        lib.LiteRtDestroyTensorBuffer(buffer);
      }
      for (Pointer buffer : signature.outputBuffers) {
        lib.LiteRtDestroyTensorBuffer(buffer);
      }
    }
    signatures.clear();
    lib.LiteRtDestroyCompiledModel(compiled);
    lib.LiteRtDestroyModel(model);
    lib.LiteRtDestroyEnvironment(environment);
  }
}
