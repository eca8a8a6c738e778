"""Stand-ins for TFLM's headers, declared as an adapter sees them.

None of it is TFLM's text. The interpreter runs a `fg_network` of `forward.c`
that a test names for each model, so that an exported folder can be run.
"""

from __future__ import annotations

SCHEMA = """
#pragma once
namespace tflite {
struct Model;
const Model* GetModel(const void* buffer);
}
"""

INTERPRETER = """
#pragma once
#include <cstddef>
#include <cstdint>
#include "tensorflow/lite/schema/schema_generated.h"

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteInt8 = 9 };
union TfLitePtrUnion { int8_t* int8; float* f; void* data; };
struct TfLiteTensor {
  TfLiteType type;
  TfLitePtrUnion data;
  size_t bytes;
};

namespace tflite {
class MicroOpResolver {
 public:
  virtual ~MicroOpResolver() {}
};
class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& op_resolver,
                   uint8_t* tensor_arena, size_t tensor_arena_size,
                   MicroResourceVariables* resource_variables = nullptr,
                   MicroProfilerInterface* profiler = nullptr,
                   bool preserve_all_tensors = false);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor* input(size_t index);
  size_t inputs_size() const;
  TfLiteTensor* output(size_t index);
  size_t outputs_size() const;
  TfLiteStatus initialization_status() const;
  size_t arena_used_bytes() const;

 private:
  const void* network_;
  int8_t* arena_;
  size_t size_;
  TfLiteTensor ends_[8];
};
}
"""

RESOLVER = """
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
@ADDED@
 private:
  TfLiteStatus Added() { return used_++ < tOpCount ? kTfLiteOk : kTfLiteError; }
  unsigned int used_ = 0;
};
}
"""

RUNNING = """
#include <cstring>
#include "forward.h"
#include "fg_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#ifdef FAKE_KEEPS_COPY  // of the trained piece, from AllocateTensors on
static uint8_t fake_copy[FAKE_KEEPS_COPY];
#define FAKE_TRAINED fake_copy
#else
#define FAKE_TRAINED fg_trained_model
#endif
@NETWORKS@
struct Known {
  const void* model;
  const fg_network* network;
  size_t inputs;
  uint16_t ends[8];
};
static const Known known[] = {@KNOWN@};

static const Known* Of(const void* network) {
  return static_cast<const Known*>(network);
}

namespace tflite {
const Model* GetModel(const void* buffer) {
  return static_cast<const Model*>(buffer);
}
MicroInterpreter::MicroInterpreter(const Model* model, const MicroOpResolver&,
                                   uint8_t* arena, size_t size,
                                   MicroResourceVariables*,
                                   MicroProfilerInterface*, bool)
    : network_(nullptr), arena_(reinterpret_cast<int8_t*>(arena)), size_(size) {
  for (const Known& one : known) {
    if (one.model == model) network_ = &one;
  }
}
MicroInterpreter::~MicroInterpreter() {}
TfLiteStatus MicroInterpreter::initialization_status() const {
  return network_ != nullptr ? kTfLiteOk : kTfLiteError;
}
TfLiteStatus MicroInterpreter::AllocateTensors() {
  const Known* own = Of(network_);
  if (size_ < own->network->arena_bytes) return kTfLiteError;
#ifdef FAKE_KEEPS_COPY
  std::memcpy(fake_copy, fg_trained_model, sizeof fake_copy);
#endif
  for (size_t i = 0; i <= own->inputs; i++) {
    const fg_values* facts = own->network->tensors + own->ends[i];
    ends_[i].type = kTfLiteInt8;
    ends_[i].bytes = size_t(facts->height) * facts->width * facts->channels;
    ends_[i].data.int8 = fg_network_tensor(own->network, own->ends[i], arena_);
  }
  return kTfLiteOk;
}
TfLiteStatus MicroInterpreter::Invoke() {
  const Known* own = Of(network_);
  int failed = fg_network_run(own->network, arena_);
  for (size_t i = 0; i < own->inputs; i++) {  // as TFLM, it keeps no inputs
    if (ends_[i].data.int8 != ends_[own->inputs].data.int8) {
      ends_[i].data.int8[0] = static_cast<int8_t>(ends_[i].data.int8[0] ^ 85);
    }
  }
  return failed ? kTfLiteError : kTfLiteOk;
}
size_t MicroInterpreter::inputs_size() const { return Of(network_)->inputs; }
size_t MicroInterpreter::outputs_size() const { return 1; }
TfLiteTensor* MicroInterpreter::input(size_t i) { return ends_ + i; }
TfLiteTensor* MicroInterpreter::output(size_t i) {
  return ends_ + Of(network_)->inputs + i;
}
size_t MicroInterpreter::arena_used_bytes() const { return size_; }
}
"""


def write_headers(folder, added):
  """Headers for an adapter; `added` are the ends of names of `Add...`."""
  methods = "\n".join(
    f"  TfLiteStatus Add{name}() {{ return Added(); }}" for name in added
  )
  lite = folder / "tensorflow" / "lite"
  (lite / "micro").mkdir(parents=True)
  (lite / "schema").mkdir()
  (lite / "schema" / "schema_generated.h").write_text(SCHEMA)
  (lite / "micro" / "micro_interpreter.h").write_text(INTERPRETER)
  (lite / "micro" / "micro_mutable_op_resolver.h").write_text(
    RESOLVER.replace("@ADDED@", methods)
  )
