#include "trainable.h"

#include <stdio.h>
#include <string.h>

#define TRY(call)                                                     \
  do {                                                                \
    const LiteRtStatus status_ = (call);                              \
    if (status_ != 0) {                                               \
      fprintf(stderr, "LiteRT gives status %d: %s\n", status_, #call); \
      return -1;                                                      \
    }                                                                 \
  } while (0)

static int failed(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", what, name);
  return -1;
}

/* A tensor's name, type, and memory to write to or read from. */
static int open_tensor(trainable *model, LiteRtSignature signature,
                       size_t signature_index, size_t index, int is_output,
                       trainable_tensor *tensor) {
  LiteRtTensor found;
  LiteRtRankedTensorType type;
  LiteRtTensorBufferRequirements needed;
  if (is_output) {
    TRY(LiteRtGetSignatureOutputName(signature, index, &tensor->name));
    TRY(LiteRtGetSignatureOutputTensorByIndex(signature, index, &found));
    TRY(LiteRtGetCompiledModelOutputBufferRequirements(
        model->compiled, signature_index, index, &needed));
  } else {
    TRY(LiteRtGetSignatureInputName(signature, index, &tensor->name));
    TRY(LiteRtGetSignatureInputTensorByIndex(signature, index, &found));
    TRY(LiteRtGetCompiledModelInputBufferRequirements(
        model->compiled, signature_index, index, &needed));
  }
  TRY(LiteRtGetRankedTensorType(found, &type));
  tensor->type = type.element_type;
  TRY(LiteRtCreateManagedTensorBufferFromRequirements(
      model->environment, &type, needed, &tensor->buffer));
  TRY(LiteRtGetTensorBufferPackedSize(tensor->buffer, &tensor->bytes));
  return 0;
}

static int open_signature(trainable *model, size_t index) {
  trainable_signature *own = &model->signatures[index];
  LiteRtSignature signature;
  size_t i;
  TRY(LiteRtGetModelSignature(model->model, index, &signature));
  TRY(LiteRtGetSignatureKey(signature, &own->key));
  TRY(LiteRtGetNumSignatureInputs(signature, &own->num_inputs));
  TRY(LiteRtGetNumSignatureOutputs(signature, &own->num_outputs));
  if (own->num_inputs > TRAINABLE_TENSORS ||
      own->num_outputs > TRAINABLE_TENSORS) {
    return failed("a signature with too many tensors", own->key);
  }
  for (i = 0; i < own->num_inputs; ++i) {
    if (open_tensor(model, signature, index, i, 0, &own->inputs[i])) return -1;
  }
  for (i = 0; i < own->num_outputs; ++i) {
    if (open_tensor(model, signature, index, i, 1, &own->outputs[i])) {
      return -1;
    }
  }
  return 0;
}

int trainable_open(trainable *model, const void *bytes, size_t size) {
  LiteRtOptions options;
  size_t i;
  memset(model, 0, sizeof *model);
  TRY(LiteRtCreateEnvironment(0, NULL, &model->environment));
  TRY(LiteRtCreateModelFromBuffer(model->environment, bytes, size,
                                  &model->model));
  TRY(LiteRtCreateOptions(&options));
  TRY(LiteRtSetOptionsHardwareAccelerators(options, LITERT_CPU));
  TRY(LiteRtCreateCompiledModel(model->environment, model->model, options,
                                &model->compiled));
  LiteRtDestroyOptions(options);
  TRY(LiteRtGetNumModelSignatures(model->model, &model->num_signatures));
  if (model->num_signatures > TRAINABLE_SIGNATURES) {
    return failed("too many signatures", "the model");
  }
  for (i = 0; i < model->num_signatures; ++i) {
    if (open_signature(model, i)) return -1;
  }
  return 0;
}

void trainable_close(trainable *model) {
  size_t i, j;
  for (i = 0; i < model->num_signatures; ++i) {
    trainable_signature *own = &model->signatures[i];
    for (j = 0; j < own->num_inputs; ++j) {
      if (own->inputs[j].buffer) {
        LiteRtDestroyTensorBuffer(own->inputs[j].buffer);
      }
    }
    for (j = 0; j < own->num_outputs; ++j) {
      if (own->outputs[j].buffer) {
        LiteRtDestroyTensorBuffer(own->outputs[j].buffer);
      }
    }
  }
  if (model->compiled) LiteRtDestroyCompiledModel(model->compiled);
  if (model->model) LiteRtDestroyModel(model->model);
  if (model->environment) LiteRtDestroyEnvironment(model->environment);
  memset(model, 0, sizeof *model);
}

trainable_signature *trainable_find(trainable *model, const char *key) {
  size_t i;
  for (i = 0; i < model->num_signatures; ++i) {
    if (strcmp(model->signatures[i].key, key) == 0) {
      return &model->signatures[i];
    }
  }
  return NULL;
}

static trainable_tensor *named(trainable_tensor *tensors, size_t count,
                               const char *name) {
  size_t i;
  for (i = 0; i < count; ++i) {
    if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
  }
  return NULL;
}

trainable_tensor *trainable_input(trainable_signature *signature,
                                  const char *name) {
  return named(signature->inputs, signature->num_inputs, name);
}

trainable_tensor *trainable_output(trainable_signature *signature,
                                   const char *name) {
  return named(signature->outputs, signature->num_outputs, name);
}

int trainable_write(trainable_tensor *tensor, const void *data, size_t bytes) {
  void *memory;
  if (bytes != tensor->bytes) {
    return failed("not as many bytes as the tensor has", tensor->name);
  }
  TRY(LiteRtLockTensorBuffer(tensor->buffer, &memory, LITERT_WRITE));
  memcpy(memory, data, bytes);
  TRY(LiteRtUnlockTensorBuffer(tensor->buffer));
  return 0;
}

int trainable_read(trainable_tensor *tensor, void *data, size_t bytes) {
  void *memory;
  if (bytes != tensor->bytes) {
    return failed("not as many bytes as the tensor has", tensor->name);
  }
  TRY(LiteRtLockTensorBuffer(tensor->buffer, &memory, LITERT_READ));
  memcpy(data, memory, bytes);
  TRY(LiteRtUnlockTensorBuffer(tensor->buffer));
  return 0;
}

int trainable_run(trainable *model, trainable_signature *signature) {
  LiteRtTensorBuffer inputs[TRAINABLE_TENSORS], outputs[TRAINABLE_TENSORS];
  const size_t index = (size_t)(signature - model->signatures);
  size_t i;
  for (i = 0; i < signature->num_inputs; ++i) {
    inputs[i] = signature->inputs[i].buffer;
  }
  for (i = 0; i < signature->num_outputs; ++i) {
    outputs[i] = signature->outputs[i].buffer;
  }
  TRY(LiteRtRunCompiledModel(model->compiled, index, signature->num_inputs,
                             inputs, signature->num_outputs, outputs));
  return 0;
}
