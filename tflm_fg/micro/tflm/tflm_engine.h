// Runs models in TensorFlow Lite Micro for the trainer of fg.h. The only file
// that includes TFLM's headers, as they are since 2022. It allocates nothing.
#ifndef TFLM_FG_TFLM_ENGINE_H_
#define TFLM_FG_TFLM_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#include "fg.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflm_fg {

// A model with int8 inputs and outputs, in an interpreter of its own.
class Model {
 public:
  // model: a .tflite that starts on 16 bytes and stays where it is, in RAM if
  //   its constants shall train: TFLM's reference kernels read them there.
  // operators: all that the model uses; it must outlive this object.
  // arena: starts on 16 bytes.
  Model(const void* model, const tflite::MicroOpResolver& operators,
        uint8_t* arena, size_t arena_bytes)
      : data_(model), operators_(&operators), arena_(arena),
        arena_bytes_(arena_bytes),
        interpreter_(tflite::GetModel(model), operators, arena, arena_bytes) {}

  // Lays out the arena. False if it is too small, an operator is missing, or an
  // input or output is not int8; TFLM's log says which.
  bool Prepare() {
    if (interpreter_.initialization_status() != kTfLiteOk ||
        interpreter_.AllocateTensors() != kTfLiteOk ||
        interpreter_.inputs_size() > kMost ||
        interpreter_.outputs_size() > kMost) {
      return false;
    }
    for (size_t i = 0; i < interpreter_.inputs_size(); i++) {
      inputs_[i] = interpreter_.input(i);
      if (!IsInt8(inputs_[i])) return false;
    }
    for (size_t i = 0; i < interpreter_.outputs_size(); i++) {
      outputs_[i] = interpreter_.output(i);
      if (!IsInt8(outputs_[i])) return false;
    }
    return true;
  }

  // Makes the interpreter anew, for kernels that keep what they made of the
  // weights when they were prepared, as CMSIS-NN does on Cortex-M55.
  bool Rebuild() {
    interpreter_.~MicroInterpreter();
    new (&interpreter_) tflite::MicroInterpreter(
        tflite::GetModel(data_), *operators_, arena_, arena_bytes_);
    return Prepare();
  }

  // Runs one sample.
  //
  // sample: what the first inputs take, one behind the other.
  // flows: what the last inputs take, an int8 array each: trained numbers that
  //   flow into the model as data.
  // outputs: all outputs, one behind the other.
  bool Run(const int8_t* sample, void* const* flows, size_t num_flows,
           int8_t* outputs) {
    const size_t own = interpreter_.inputs_size() - num_flows;
    for (size_t i = 0; i < interpreter_.inputs_size(); i++) {
      // TFLM uses the inputs' memory again while it runs: fill all of them.
      if (i < own) {
        std::memcpy(inputs_[i]->data.int8, sample, inputs_[i]->bytes);
        sample += inputs_[i]->bytes;
      } else {
        std::memcpy(inputs_[i]->data.int8, flows[i - own], inputs_[i]->bytes);
      }
    }
    if (interpreter_.Invoke() != kTfLiteOk) return false;
    for (size_t i = 0; i < interpreter_.outputs_size(); i++) {
      std::memcpy(outputs, outputs_[i]->data.int8, outputs_[i]->bytes);
      outputs += outputs_[i]->bytes;
    }
    return true;
  }

  // Bytes of the arena that are in use, to make it as small as can be.
  size_t arena_used() const { return interpreter_.arena_used_bytes(); }

 private:
  static bool IsInt8(const TfLiteTensor* tensor) {
    return tensor != nullptr && tensor->type == kTfLiteInt8;
  }

  static constexpr size_t kMost = 16;
  const void* data_;
  const tflite::MicroOpResolver* operators_;
  uint8_t* arena_;
  size_t arena_bytes_;
  tflite::MicroInterpreter interpreter_;
  TfLiteTensor* inputs_[kMost] = {};
  TfLiteTensor* outputs_[kMost] = {};
};

// The trained part of a model, as the trainer runs it.
class Engine {
 public:
  // model: what `forward` runs.
  // tensors: the trainable tensors, in the order of the blob.
  // num_flows: how many of them flow in as inputs: all, or 0.
  // sample_bytes: of one sample in `samples`.
  // rebuilds: whether the model is made anew before every run.
  Engine(Model* model, void* const* tensors, size_t num_flows,
         size_t sample_bytes, bool rebuilds = false)
      : model_(model), num_flows_(num_flows), sample_bytes_(sample_bytes),
        rebuilds_(rebuilds) {
    engine_.context = this;
    engine_.forward = &Engine::Forward;
    engine_.tensors = tensors;
  }

  const fg_engine* engine() const { return &engine_; }

  // The samples that the trainer's indices mean, one behind the other.
  void SetSamples(const int8_t* samples) { samples_ = samples; }

  // Runs one sample with the tensors as they are.
  bool Run(const int8_t* sample, int8_t* logits) {
    return (!rebuilds_ || model_->Rebuild()) &&
           model_->Run(sample, engine_.tensors, num_flows_, logits);
  }

 private:
  static int Forward(void* context, uint32_t sample, int8_t* logits) {
    Engine* self = static_cast<Engine*>(context);
    if (self->samples_ == nullptr) return 1;
    const int8_t* at = self->samples_ + sample * self->sample_bytes_;
    return self->Run(at, logits) ? 0 : 1;
  }

  Model* model_;
  size_t num_flows_, sample_bytes_;
  bool rebuilds_;
  const int8_t* samples_ = nullptr;
  fg_engine engine_ = {};
};

}  // namespace tflm_fg

#endif  // TFLM_FG_TFLM_ENGINE_H_
