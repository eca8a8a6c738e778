// Learns on the board: the user names samples by buttons, then lets it train.
//
// Every sample is classified and shown. A button with a class's label keeps the
// sample; the train button trains on all that are kept, saves what came of it
// in flash, and goes on with it; the forget button goes back to the factory's
// model. What a board has to bring is in board.h.
#include <cstdint>

#include "board.h"
#include "fg.h"
#include "fg_model.h"
#include "fg_operators.h"
#include "fg_slots.h"
#include "tflm_engine.h"

// 1 for kernels that keep sums of weights, as CMSIS-NN on Cortex-M55 and M85.
#ifndef FG_REBUILD
#define FG_REBUILD 0
#endif

namespace {

#if FG_HAS_PREFIX
alignas(16) uint8_t prefix_arena[FG_PREFIX_ARENA_BYTES];
#endif
alignas(16) uint8_t trained_arena[FG_TRAINED_ARENA_BYTES];
alignas(8) uint8_t buffer[FG_BUFFER_BYTES];
uint8_t saved[FG_SAVED_BYTES];

int8_t x[FG_INPUT_BYTES];
int8_t samples[FG_MAX_SAMPLES + 1][FG_SAMPLE_BYTES];  // one is always free
uint8_t labels[FG_MAX_SAMPLES][FG_LABELS ? FG_LABELS : 1];
uint32_t count = 0;

// The class that a sample is taken for. One output says no or yes.
int Best(const int8_t* logits) {
  int best = 0;
  if (FG_OUTPUTS == 1) return logits[0] > FG_ZERO_POINT;
  for (int c = 1; c < FG_OUTPUTS; c++) {
    if (logits[c] > logits[best]) best = c;
  }
  return best;
}

// Keeps the free sample under a label.
void Name(int label) {
  for (int i = 0; i < FG_LABELS; i++) {  // several outputs that stand alone
    labels[count][i] = FG_LABELS > 1 ? i == label : static_cast<uint8_t>(label);
  }
  count++;
}

// Puts what an earlier run has saved into the engine, if anything is sound.
void Restore(const fg_engine* engine) {
  uint32_t size = 0;
  if (fg_slots_load(board_flash(), saved, sizeof saved, &size) != FG_SLOTS_OK) {
    return;
  }
  const fg_status status =
      fg_restore(fg_blob, fg_blob_bytes, engine, saved, size);
  board_show(fg_status_text(status), status);
}

// Whether kernels use what they made of the weights when they were prepared,
// such as sums: then a write and a rebuilt model answer differently. A sample of
// zeros tells, as it leaves little but such sums.
bool KeepsSums(tflm_fg::Model* model, tflm_fg::Engine* trained) {
  if (FG_FLOWS || FG_REBUILD) return false;
  int8_t written[FG_OUTPUTS], rebuilt[FG_OUTPUTS];
  for (uint32_t n = 0; n < FG_TENSORS; n++) {
    fg_tensor facts;
    if (fg_tensor_info(fg_blob, fg_blob_bytes, n, &facts) != FG_OK) return true;
    int8_t* weights = static_cast<int8_t*>(fg_tensors[n]);
    for (uint32_t i = 0; facts.role == FG_KERNEL && i < facts.size; i++) {
      weights[i] = static_cast<int8_t>(weights[i] == -128 ? 127 : -weights[i]);
    }
  }
  bool same = trained->Run(samples[0], written) && model->Rebuild() &&
              trained->Run(samples[0], rebuilt);
  for (int i = 0; same && i < FG_OUTPUTS; i++) same = written[i] == rebuilt[i];
  fg_forget(fg_blob, fg_blob_bytes, trained->engine());
  return !model->Rebuild() || !same;
}

// Trains on the samples that are kept, and saves what came of it.
fg_status Train(const fg_engine* engine) {
  fg_samples all = {};
  all.count = count;
  all.kept = count / FG_KEPT_SHARE;
  all.labels = FG_LABELS ? &labels[0][0] : nullptr;
  all.features = FG_HAS_FEATURES ? &samples[0][0] : nullptr;
  fg_trainer* trainer = nullptr;
  fg_status status = fg_open(&trainer, fg_blob, fg_blob_bytes, engine, &all,
                             buffer, sizeof buffer);
  if (status != FG_OK) return status;
  status = fg_train(trainer);
  if (status != FG_OK && status != FG_DONE) return status;
  fg_progress progress;
  status = fg_read_progress(trainer, &progress);
  if (status != FG_OK) return status;
  board_show("right before, of those kept aside:",
             static_cast<int32_t>(progress.correct_before));
  board_show("right after:", static_cast<int32_t>(progress.correct_after));
  status = fg_save(trainer, saved, sizeof saved);
  if (status != FG_OK) return status;
  if (fg_slots_save(board_flash(), saved, sizeof saved) != FG_SLOTS_OK) {
    board_show("the flash cannot be written", 0);
  }
  return FG_OK;
}

// One sample: shown, and kept, or trained on, as the user wishes.
bool Next(tflm_fg::Engine* trained, tflm_fg::Model* prefix) {
  int8_t* sample = samples[count];
  int8_t logits[FG_OUTPUTS];
  if (board_sample(x, sizeof x) != 0) return false;
  if (prefix != nullptr) {
    if (!prefix->Run(x, nullptr, 0, sample)) return false;
  } else {
    for (uint32_t i = 0; i < FG_SAMPLE_BYTES; i++) sample[i] = x[i];
  }
  if (!trained->Run(sample, logits)) return false;
  board_show(fg_class_names[Best(logits)], Best(logits));
  const int said = board_button();
  if (said == BOARD_OFF) return false;
  if (said >= 0 && said < FG_CLASSES && count == FG_MAX_SAMPLES) {
    board_show("full: train, or forget", static_cast<int32_t>(count));
  } else if (said >= 0 && said < FG_CLASSES) {
    Name(said);
  } else if (said == BOARD_TRAIN) {
    trained->SetSamples(&samples[0][0]);
    const fg_status status = Train(trained->engine());
    board_show(fg_status_text(status), status);
  } else if (said == BOARD_FORGET) {
    count = 0;
    fg_forget(fg_blob, fg_blob_bytes, trained->engine());
    fg_slots_clear(board_flash());
  }
  return true;
}

int Enroll() {
  tflite::MicroMutableOpResolver<FG_TRAINED_OPERATORS> trained_operators;
  if (!FgAddTrainedOperators(&trained_operators)) return 1;
  tflm_fg::Model model(fg_trained_model, trained_operators, trained_arena,
                       sizeof trained_arena);
  if (!model.Prepare()) return 1;
  tflm_fg::Engine trained(&model, fg_tensors, FG_FLOWS, FG_SAMPLE_BYTES,
                          FG_REBUILD != 0);
  tflm_fg::Model* prefix = nullptr;
#if FG_HAS_PREFIX
  tflite::MicroMutableOpResolver<FG_PREFIX_OPERATORS> prefix_operators;
  if (!FgAddPrefixOperators(&prefix_operators)) return 1;
  tflm_fg::Model frozen(fg_prefix_model, prefix_operators, prefix_arena,
                        sizeof prefix_arena);
  if (!frozen.Prepare()) return 1;
  prefix = &frozen;
#endif
  if (KeepsSums(&model, &trained)) {
    board_show("these kernels keep sums of weights: set FG_REBUILD to", 1);
    return 1;
  }
  Restore(trained.engine());
  while (Next(&trained, prefix)) {
  }
  return 0;
}

}  // namespace

#if defined(ARDUINO)
void setup() { Enroll(); }
void loop() {}
#elif defined(ESP_PLATFORM)
extern "C" void app_main(void) { Enroll(); }
#else
int main() { return Enroll(); }
#endif
