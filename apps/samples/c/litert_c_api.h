/* The part of LiteRT's C API that this sample calls.
 *
 * libLiteRt.so exports these functions; the Python wheel ai-edge-litert brings
 * the library without headers. If you build LiteRT yourself, include its own
 * headers (litert/c/...) in place of this file: names and types are theirs.
 * As of LiteRT 2.2 and 2.3, on 64-bit systems.
 */
#ifndef LITERT_C_API_H_
#define LITERT_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int LiteRtStatus; /* 0: all went well */

typedef struct LiteRtEnvironmentT *LiteRtEnvironment;
typedef struct LiteRtModelT *LiteRtModel;
typedef struct LiteRtOptionsT *LiteRtOptions;
typedef struct LiteRtCompiledModelT *LiteRtCompiledModel;
typedef struct LiteRtSignatureT *LiteRtSignature;
typedef struct LiteRtTensorT *LiteRtTensor;
typedef struct LiteRtTensorBufferT *LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT *LiteRtTensorBufferRequirements;

enum { LITERT_CPU = 1 };                  /* a set of accelerators: bits */
enum { LITERT_READ = 0, LITERT_WRITE = 1 }; /* what a buffer is locked for */
enum {
  LITERT_FLOAT32 = 1,
  LITERT_INT32 = 2,
  LITERT_UINT8 = 3,
  LITERT_INT8 = 9
}; /* types of elements */

typedef struct LiteRtLayout {
  unsigned int rank : 7;
  unsigned int has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} LiteRtLayout;

typedef struct LiteRtRankedTensorType {
  int32_t element_type;
  LiteRtLayout layout;
} LiteRtRankedTensorType;

LiteRtStatus LiteRtCreateEnvironment(int num_options, const void *options,
                                     LiteRtEnvironment *environment);
void LiteRtDestroyEnvironment(LiteRtEnvironment environment);

/* The bytes must stay where they are for as long as the model lives. */
LiteRtStatus LiteRtCreateModelFromBuffer(LiteRtEnvironment environment,
                                         const void *bytes, size_t size,
                                         LiteRtModel *model);
void LiteRtDestroyModel(LiteRtModel model);
LiteRtStatus LiteRtGetNumModelSignatures(LiteRtModel model, size_t *count);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel model, size_t index,
                                     LiteRtSignature *signature);
LiteRtStatus LiteRtGetSignatureKey(LiteRtSignature signature,
                                   const char **key);
LiteRtStatus LiteRtGetNumSignatureInputs(LiteRtSignature signature,
                                         size_t *count);
LiteRtStatus LiteRtGetNumSignatureOutputs(LiteRtSignature signature,
                                          size_t *count);
LiteRtStatus LiteRtGetSignatureInputName(LiteRtSignature signature,
                                         size_t index, const char **name);
LiteRtStatus LiteRtGetSignatureOutputName(LiteRtSignature signature,
                                          size_t index, const char **name);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature signature,
                                                  size_t index,
                                                  LiteRtTensor *tensor);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature signature,
                                                   size_t index,
                                                   LiteRtTensor *tensor);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor tensor,
                                       LiteRtRankedTensorType *type);

LiteRtStatus LiteRtCreateOptions(LiteRtOptions *options);
void LiteRtDestroyOptions(LiteRtOptions options);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions options,
                                                  int accelerators);

LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment environment,
                                       LiteRtModel model,
                                       LiteRtOptions options,
                                       LiteRtCompiledModel *compiled);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel compiled);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(
    LiteRtCompiledModel compiled, size_t signature, size_t input,
    LiteRtTensorBufferRequirements *requirements);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(
    LiteRtCompiledModel compiled, size_t signature, size_t output,
    LiteRtTensorBufferRequirements *requirements);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel compiled,
                                    size_t signature, size_t num_inputs,
                                    LiteRtTensorBuffer *inputs,
                                    size_t num_outputs,
                                    LiteRtTensorBuffer *outputs);

LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(
    LiteRtEnvironment environment, const LiteRtRankedTensorType *type,
    LiteRtTensorBufferRequirements requirements, LiteRtTensorBuffer *buffer);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer buffer);
LiteRtStatus LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer buffer,
                                             size_t *bytes);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer buffer, void **memory,
                                    int mode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer buffer);

#ifdef __cplusplus
}
#endif

#endif /* LITERT_C_API_H_ */
