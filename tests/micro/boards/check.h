/* One case of check.c: a phase of training, and how Python ended it. */
#ifndef CHECK_H_
#define CHECK_H_

#include "fg.h"
#include "forward.h"

typedef struct check_case {
  const char *name;
  const char *journal; /* a file for what was saved, or NULL */
  const uint32_t *blob;
  uint32_t blob_bytes;
  /* What trains. */
  const fg_network *network;
  uint16_t input, output;
  const uint16_t *flows; /* inputs of the network that take tensors */
  uint32_t num_flows, num_tensors;
  void *const *tensors;
  /* Samples to train on, then tests. */
  const int8_t *samples;
  uint32_t sample_bytes, outputs, count, kept, tests;
  const uint8_t *labels;
  int features; /* whether the trainer looks at samples as features */
  /* What is frozen; NULL where samples are given. */
  const fg_network *prefix;
  uint16_t prefix_input, prefix_output;
  const int8_t *raw;
  uint32_t raw_bytes;
  int8_t *own_samples;
  /* Python's end. */
  const int16_t *masters;
  const int32_t *biases;
  uint32_t right_before, right_after;
} check_case;

#endif
