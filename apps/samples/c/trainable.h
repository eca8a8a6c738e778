/* A .tflite that trains itself: calls of its signatures, by their names.
 *
 * Every function returns 0, or -1 after one line on stderr that says what
 * failed. A model is used by one thread at a time.
 */
#ifndef TRAINABLE_H_
#define TRAINABLE_H_

#include <stddef.h>

#include "litert_c_api.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRAINABLE_SIGNATURES 12
#define TRAINABLE_TENSORS 16

typedef struct trainable_tensor {
  const char *name; /* as the signature has it */
  int type;         /* LITERT_FLOAT32, LITERT_INT8, ... */
  size_t bytes;
  LiteRtTensorBuffer buffer;
} trainable_tensor;

typedef struct trainable_signature {
  const char *key;
  size_t num_inputs, num_outputs;
  trainable_tensor inputs[TRAINABLE_TENSORS], outputs[TRAINABLE_TENSORS];
} trainable_signature;

typedef struct trainable {
  LiteRtEnvironment environment;
  LiteRtModel model;
  LiteRtCompiledModel compiled;
  size_t num_signatures;
  trainable_signature signatures[TRAINABLE_SIGNATURES];
} trainable;

/* Opens a file that is in memory; its bytes must outlive the model. */
int trainable_open(trainable *model, const void *bytes, size_t size);
void trainable_close(trainable *model);

/* The tensors of a signature; NULL, without a line, if there is none. */
trainable_signature *trainable_find(trainable *model, const char *key);
trainable_tensor *trainable_input(trainable_signature *signature,
                                  const char *name);
trainable_tensor *trainable_output(trainable_signature *signature,
                                   const char *name);

/* Copies `bytes` bytes, which must be as many as the tensor has. */
int trainable_write(trainable_tensor *tensor, const void *data, size_t bytes);
int trainable_read(trainable_tensor *tensor, void *data, size_t bytes);

/* Runs a signature with what was written to its inputs. */
int trainable_run(trainable *model, trainable_signature *signature);

#ifdef __cplusplus
}
#endif

#endif /* TRAINABLE_H_ */
