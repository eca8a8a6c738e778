/* Runs what vectors.h holds and says how much of it differs from Python. */
#include <stddef.h>

#include "check.h"
#include "fg.h"
#include "forward.h"
#include "host.h"
#include "vectors.h"

static int8_t arena[CHECK_ARENA];
static uint64_t buffer[(CHECK_BUFFER + 7) / 8];
static int16_t masters[CHECK_MASTERS];
static int32_t biases[CHECK_MASTERS];

static void told(const char *name, uint32_t wrong, uint32_t of,
                 const char *what) {
  host_print(name);
  host_print(": ");
  host_number(wrong);
  host_print(" of ");
  host_number(of);
  host_print(what);
  host_print(" differ\n");
}

static void thousands(const char *name, uint64_t ticks, uint32_t count,
                      const char *what) {
  if (!ticks || !count) return;
  host_print(name);
  host_print(": ");
  host_number((int64_t)(ticks * 40 / 1000 / count));
  host_print(" thousand instructions ");
  host_print(what);
  host_print("\n");
}

/* Feeds a sample, and what trains where it flows in, and runs the network. */
static int forward(void *context, uint32_t sample, int8_t *logits) {
  const check_case *c = (const check_case *)context;
  const int8_t *x = c->samples + sample * c->sample_bytes;
  int8_t *in = fg_network_tensor(c->network, c->input, arena);
  const int8_t *out = fg_network_tensor(c->network, c->output, arena);
  uint32_t i, flow;
  for (i = 0; i < c->sample_bytes; i++) in[i] = x[i];
  for (flow = 0; flow < c->num_flows; flow++) {
    const fg_values *facts = c->network->tensors + c->flows[flow];
    const int8_t *value = (const int8_t *)c->tensors[flow];
    in = fg_network_tensor(c->network, c->flows[flow], arena);
    for (i = 0; i < facts->channels * (uint32_t)facts->width * facts->height;
         i++) {
      in[i] = value[i];
    }
  }
  if (fg_network_run(c->network, arena)) return 1;
  for (i = 0; i < c->outputs; i++) logits[i] = out[i];
  return 0;
}

static uint32_t right(const check_case *c, uint32_t first, uint32_t count) {
  uint32_t sample, found = 0;
  for (sample = first; sample < first + count; sample++) {
    int8_t logits[FG_MAX_OUTPUTS];
    uint32_t best = 0, i;
    if (forward((void *)(uintptr_t)c, sample, logits)) return 0;
    for (i = 1; i < c->outputs; i++) {
      if (logits[i] > logits[best]) best = i;
    }
    found += best == c->labels[sample];
  }
  return found;
}

/* Features of all samples, by the frozen layers, into the case's own memory. */
static uint32_t check_features(const check_case *c) {
  uint32_t sample, i, wrong = 0, all = c->count + c->tests;
  uint32_t ticks = host_ticks();
  for (sample = 0; sample < all; sample++) {
    const int8_t *x = c->raw + sample * c->raw_bytes;
    int8_t *in = fg_network_tensor(c->prefix, c->prefix_input, arena);
    const int8_t *out = fg_network_tensor(c->prefix, c->prefix_output, arena);
    for (i = 0; i < c->raw_bytes; i++) in[i] = x[i];
    if (fg_network_run(c->prefix, arena)) return 1;
    for (i = 0; i < c->sample_bytes; i++) {
      wrong += out[i] != c->samples[sample * c->sample_bytes + i];
      c->own_samples[sample * c->sample_bytes + i] = out[i];
    }
  }
  told(c->name, wrong, all * c->sample_bytes, " features");
  thousands(c->name, host_ticks() - ticks, all, "a sample's features");
  return wrong;
}

static uint32_t compared(const check_case *c, const fg_trainer *trainer) {
  uint32_t number, i, wrong = 0, of = 0;
  const int16_t *m = c->masters;
  const int32_t *b = c->biases;
  for (number = 0; number < c->num_tensors; number++) {
    fg_tensor facts;
    if (fg_tensor_info(c->blob, c->blob_bytes, number, &facts)) return 1;
    if (facts.role == FG_BIAS) {
      if (fg_masters(trainer, number, NULL, biases)) return 1;
      for (i = 0; i < facts.size; i++) wrong += biases[i] != *b++;
    } else {
      if (fg_masters(trainer, number, masters, NULL)) return 1;
      for (i = 0; i < facts.size; i++) wrong += masters[i] != *m++;
    }
    of += facts.size;
  }
  told(c->name, wrong, of, " masters");
  return wrong;
}

static uint32_t failed(const char *name, fg_status status) {
  host_print(name);
  host_print(": ");
  host_print(fg_status_text(status));
  host_print("\n");
  return 1;
}

/* A whole phase, as an application runs it. */
static uint32_t check_phase(const check_case *c) {
  fg_engine engine;
  fg_samples samples;
  fg_trainer *trainer;
  fg_progress progress;
  fg_status status;
  uint32_t needed = 0, wrong = 0, began, before = 0, after = 0;
  uint64_t ticks = 0; /* the timer wraps around: sum up step by step */
  if (c->prefix != NULL) wrong += check_features(c);
  engine.context = (void *)(uintptr_t)c;
  engine.forward = forward;
  engine.tensors = c->tensors;
  samples.count = c->count;
  samples.kept = c->kept;
  samples.labels = c->labels;
  samples.features = c->features ? c->samples : NULL;
  status = fg_required_bytes(c->blob, c->blob_bytes, c->count, &needed);
  if (status) return failed(c->name, status);
  if (needed > sizeof buffer) return failed(c->name, FG_SMALL_BUFFER);
  status = fg_open(&trainer, c->blob, c->blob_bytes, &engine, &samples, buffer,
                   needed);
  if (status) return failed(c->name, status);
  if (c->tests) before = right(c, c->count, c->tests);
  status = fg_check_writes(trainer, 2);
  if (status) return failed(c->name, status);
  status = fg_begin(trainer);
  if (status) return failed(c->name, status);
  do {
    began = host_ticks();
    status = fg_step(trainer);
    ticks += (uint32_t)(host_ticks() - began);
  } while (status == FG_OK);
  if (status != FG_DONE) return failed(c->name, status);
  status = fg_end(trainer);
  if (status) return failed(c->name, status);
  wrong += compared(c, trainer);
  status = fg_read_progress(trainer, &progress);
  if (status) return failed(c->name, status);
  thousands(c->name, ticks, progress.step, "a step");
  if (c->tests) {
    after = right(c, c->count, c->tests);
    told(c->name, (before != c->right_before) + (after != c->right_after), 2,
         " test scores");
    host_print(c->name);
    host_print(": right before ");
    host_number(before);
    host_print(", after ");
    host_number(after);
    host_print(" of ");
    host_number(c->tests);
    host_print("; buffer ");
    host_number(needed);
    host_print(" bytes\n");
  }
  if (c->journal != NULL) {
    uint32_t size = 0;
    status = fg_saved_bytes(c->blob, c->blob_bytes, &size);
    if (!status) status = fg_save(trainer, masters, sizeof masters);
    if (status) return failed(c->name, status);
    wrong += host_file(c->journal, masters, size) != 0;
  }
  return wrong + (before != c->right_before) + (after != c->right_after);
}

#ifdef CHECK_LOGITS
static uint32_t check_logits(void) {
  const fg_network *network = &logits_net;
  const int8_t *x = logits_x, *wanted = logits_wanted;
  uint32_t sample, i, wrong = 0, ticks = host_ticks();
  for (sample = 0; sample < LOGITS_SAMPLES; sample++) {
    int8_t *in = fg_network_tensor(network, LOGITS_INPUT, arena);
    const int8_t *out = fg_network_tensor(network, LOGITS_OUTPUT, arena);
    for (i = 0; i < LOGITS_INPUT_BYTES; i++) in[i] = *x++;
    if (fg_network_run(network, arena)) return 1;
    for (i = 0; i < LOGITS_OUTPUTS; i++) wrong += out[i] != *wanted++;
  }
  told("spotter", wrong, LOGITS_SAMPLES * LOGITS_OUTPUTS, " logits");
  thousands("spotter", host_ticks() - ticks, LOGITS_SAMPLES, "a sample");
  return wrong;
}
#endif

int main(void) {
  uint32_t wrong = 0, i;
#ifdef CHECK_LOGITS
  wrong += check_logits();
#endif
  for (i = 0; i < sizeof check_cases / sizeof *check_cases; i++) {
    wrong += check_phase(&check_cases[i]);
  }
  return wrong != 0;
}
