/* What the files of the trainer share; users include fg.h alone.
 *
 * Numbers: Qn is a number in units of 2**-n. Every product fits 64 bits; where
 * it could not, a bound is named beside it. Python's files hold the definitions
 * and docs/reference.md the widths.
 */
#ifndef FG_CORE_H_
#define FG_CORE_H_

#include <stddef.h>

#include "fg.h"

/* C99 leaves it to the compiler what >> makes of a negative number. All that
 * compile this for a microcontroller keep the sign; one that does not must fail
 * here, and not train something else. */
typedef char fg_shifts_keep_the_sign
    [(((int32_t)-5 >> 1) == -3 && ((int64_t)-5 >> 33) == -1) ? 1 : -1];
typedef char fg_bytes_have_eight_bits[(unsigned char)-1 == 255 ? 1 : -1];

/* The blob: 32-bit words in the device's own order. */
enum {
  FG_W_MAGIC,
  FG_W_VERSION,
  FG_W_BYTES,
  FG_W_CRC, /* of all words behind it */
  FG_W_METHOD,
  FG_W_LOSS,
  FG_W_OUTPUTS,
  FG_W_ZERO_POINT, /* of the logits */
  FG_W_SEED_LOW,
  FG_W_SEED_HIGH,
  FG_W_STEPS,
  FG_W_BATCH,
  FG_W_VALIDATE_EVERY,
  FG_W_RATE,     /* the first learning rate, Q16, below 2**32 */
  FG_W_DECAY,    /* 0 constant, 1 linear */
  FG_W_MOMENTUM, /* Q8, 0 to 255 */
  FG_W_OPTIMIZER,
  FG_W_DIRECTIONS,
  FG_W_EPSILON, /* Q8 steps */
  FG_W_KEEPER,
  FG_W_TENSORS,
  FG_W_TENSOR_TABLE, /* places are in words from the blob's start */
  FG_W_KERNELS,      /* numbers with a master */
  FG_W_BIASES,
  FG_W_TABLES,      /* of the loss: 512 words, 768 of binary losses */
  FG_W_GAIN_TABLES, /* of the loss whose gradient is taken */
  FG_W_BITS_A_STEP, /* of a logit, Q30 */
  FG_W_DIM,
  FG_W_INPUT_ZERO,
  FG_W_CENTRED, /* whether the mean input is taken off */
  FG_W_KERNEL_FACTORS,
  FG_W_KERNEL_BITS,
  FG_W_BIAS_FACTORS,
  FG_W_BIAS_BITS,
  FG_W_PULL_KERNEL, /* Q24, see gradients/pull.py */
  FG_W_PULL_BIAS,
  FG_W_SCANS, /* gains that the first step chooses among */
  FG_W_SCAN_TABLE,
  FG_W_RESERVED0,
  FG_W_RESERVED1,
  FG_HEADER_WORDS
};

enum { /* of a tensor */
  FG_T_ROLE,
  FG_T_INDEX,
  FG_T_SIZE,
  FG_T_FIRST, /* its first number among all masters, or all biases */
  FG_T_CHANNELS,
  FG_T_INNER, /* numbers in a row that share a channel */
  FG_T_STEPS, /* place of one step a channel, in units */
  FG_T_START, /* place of the start: int8, four a word, or int32 */
  FG_TENSOR_WORDS
};

typedef enum {
  FG_CROSS_ENTROPY,
  FG_BINARY,
  FG_INFORMATION,
  FG_BINARY_INFORMATION
} fg_loss_kind;
typedef enum { FG_SGD, FG_SIGN } fg_optimizer;
typedef enum { FG_KEEP_LAST, FG_KEEP_UNLESS_WORSE, FG_KEEP_BEST } fg_keeper;

#define FG_MASTER_MAX 32512 /* 127 steps */

static inline int64_t fg_clip(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

/* Divides by 2**bits, 1 to 62, and rounds half away from zero. */
static inline int64_t fg_round_shift(int64_t x, int bits) {
  return (x + (x < 0 ? -1 : 0) + ((int64_t)1 << (bits - 1))) >> bits;
}

/* Divides by a number above 0 and rounds half away from zero. */
static inline int64_t fg_round_divide(int64_t x, int64_t divisor) {
  if (divisor == 1) return x;
  return x < 0 ? -((-x + divisor / 2) / divisor) : (x + divisor / 2) / divisor;
}

/* rate (Q16) * gradient (Q16) * units, in 1/16 of a unit; both are saturated,
 * so that a product needs 64 bits and no more. */
static inline int64_t fg_scaled_move(int64_t gradient, int64_t units,
                                     int64_t rate) {
  const int64_t most = (int64_t)1 << 31;
  int64_t steps = fg_clip(gradient, 1 - most, most - 1) * rate;
  steps = fg_clip(steps >> 16, -most, most);
  return fg_round_shift(steps * units, 12);
}

/* A velocity times momentum (Q8), towards zero. */
static inline int64_t fg_decayed(int64_t velocity, int64_t momentum) {
  return velocity < 0 ? -((-velocity * momentum) >> 8)
                      : (velocity * momentum) >> 8;
}

/* What an engine holds of a master of any size. */
static inline int8_t fg_narrow(int32_t master) {
  return (int8_t)fg_clip((master + 128) >> 8, -127, 127);
}

/* Bits of a number without its leading zeros; 0 has none. */
static inline int fg_bit_length(uint64_t x) {
#ifdef __GNUC__
  return x ? 64 - __builtin_clzll(x) : 0;
#else
  int bits = 0;
  while (x) {
    x >>= 1;
    bits++;
  }
  return bits;
#endif
}

uint64_t fg_root(uint64_t x); /* the largest whole number not above it */
uint32_t fg_crc(uint32_t crc, const void *bytes, uint32_t count);

/* fg_random.c: bits by address, as fixed_point/random_bits.py. */
#define FG_BATCH_TENSOR 0xFFFFFFFFu

typedef struct fg_key {
  uint32_t low, high;
} fg_key;

void fg_threefry(uint32_t key_low, uint32_t key_high, uint32_t counter[2]);
fg_key fg_key_of(const uint32_t *blob, uint32_t step, uint32_t direction);
/* 64 signs of a tensor: bit 1 is +1. */
uint64_t fg_sign_bits(fg_key key, uint32_t tensor, uint32_t block);
/* Shuffles 0 to count - 1; keys and order have count elements. */
void fg_permutation(const uint32_t *blob, uint32_t epoch, uint32_t count,
                    uint32_t *keys, uint16_t *order);

/* fg_losses.c */
typedef struct fg_loss {
  fg_loss_kind kind;
  int32_t outputs;
  int32_t zero_point;
  const int32_t *distance; /* [256] Q16 bits */
  const int32_t *power;    /* [256] Q24; or of binary losses the tail, Q16 */
  const int32_t *sure;     /* [256] Q16, of binary losses */
  int64_t bits_a_step;     /* Q30 */
} fg_loss;

/* What information maximisation must know of a batch: the mean answer of each
 * output, and what it costs; NULL for other losses. */
typedef struct fg_batch_means {
  uint32_t *mean;    /* [outputs] Q16 */
  int32_t *of_mean;  /* [outputs] Q16 bits */
} fg_batch_means;

int fg_takes_labels(fg_loss_kind kind);
int fg_is_binary(fg_loss_kind kind);
int64_t fg_log2(uint64_t x); /* of x / 2**24, 1 to below 2**23, in Q16 */
void fg_measure_means(const fg_loss *loss, const int8_t *rows, uint32_t count,
                      const fg_batch_means *means);
/* A sample's loss. label: its own, or [outputs] of them. */
int64_t fg_loss_of(const fg_loss *loss, const int8_t *row, const uint8_t *label,
                   const fg_batch_means *means);
/* What a sample's loss differs by at two rows of logits. */
int64_t fg_loss_difference(const fg_loss *loss, const int8_t *some,
                           const int8_t *others, const uint8_t *label,
                           const fg_batch_means *means_of_some,
                           const fg_batch_means *means_of_others);
/* What all outputs of a sample share of its residual. */
typedef struct fg_row {
  int32_t top;
  int64_t total;    /* Q24 */
  int64_t log_total;
  int64_t expected; /* of information maximisation */
} fg_row;
fg_row fg_read_row(const fg_loss *loss, const int8_t *row,
                   const fg_batch_means *means);
/* The loss's gradient by one output, Q16, as Loss.residual has it. */
int64_t fg_residual(const fg_loss *loss, const int8_t *row, const fg_row *read,
                    int32_t output, const uint8_t *label,
                    const fg_batch_means *means);
/* Right answers of a sample: 0 or 1, or of all outputs of a binary loss. */
uint32_t fg_right(const fg_loss *loss, const int8_t *row, const uint8_t *label);
/* How many different answers some samples give. */
uint32_t fg_answers(const fg_loss *loss, const int8_t *rows, uint32_t count);

/* fg_blob.c */
fg_status fg_check_blob(const void *blob, uint32_t blob_bytes);
const uint32_t *fg_tensor_of(const uint32_t *blob, uint32_t number);
int32_t fg_step_units(const uint32_t *blob, const uint32_t *tensor, uint32_t i);
void fg_read_loss(const uint32_t *blob, int gained, fg_loss *loss);
int32_t fg_start_of(const uint32_t *blob, const uint32_t *tensor, uint32_t i);

/* Whether all tensors are there, and aligned. */
fg_status fg_check_engine(const uint32_t *blob, const fg_engine *engine);

static inline int fg_is_bias(const uint32_t *tensor) {
  return tensor[FG_T_ROLE] == FG_BIAS;
}

/* fg_measure.c: as fixed_point/spread.py. */
typedef struct fg_factor {
  int64_t mantissa;
  int bits;
} fg_factor;
fg_factor fg_over(int64_t mantissa, int bits, uint64_t divisor, int fraction);
int64_t fg_scaled(int64_t sum, fg_factor factor, int more_bits);

/* fg_trainer.c */
typedef enum { FG_OPENED, FG_BEGUN, FG_ENDED, FG_FAILED } fg_stage;

struct fg_trainer {
  const uint32_t *blob;
  fg_engine engine;
  fg_samples samples;
  fg_progress progress;
  fg_loss loss;    /* what is lowered */
  fg_loss sloped;  /* what the closed form takes the gradient of */
  uint32_t stage;
  uint32_t epoch;  /* of the order; FG_NO_EPOCH for none */
  uint32_t answers_before;
  uint32_t mean_square; /* of the head's input, Q16 */
  uint8_t *journal;     /* of signs; NULL for none */
  /* Masters. A number's master is 256 * high + low. The closed form's high
   * bytes are the engine's own tensors, and its biases too: see fg_high. */
  int8_t *high, *low;
  int32_t *biases;
  int16_t *kernel_velocity; /* 1/16 of a unit; NULL without momentum */
  int32_t *bias_velocity;
  int8_t *best_high, *best_low; /* of FG_KEEP_BEST */
  int32_t *best_biases;
  int8_t *logits;         /* rows of outputs */
  uint32_t *mean;         /* [2][outputs], of information maximisation */
  int32_t *of_mean;       /* [2][outputs] */
  int64_t *sums;          /* [dim], at least 64 */
  int32_t *slopes;        /* [batch], of FG_PER_SAMPLE */
  int16_t *centre;        /* [dim] */
  uint8_t *spread;        /* [dim] */
  uint32_t *keys;         /* of the shuffle */
  uint16_t *order, *batch; /* [samples], [batch] */
};

#define FG_NO_EPOCH 0xFFFFFFFFu

uint32_t fg_fit_count(const fg_trainer *t);
uint32_t fg_batch_count(const fg_trainer *t);
/* Chooses the samples of a step, before fg_sample_of tells them. */
void fg_choose_batch(fg_trainer *t);
uint32_t fg_sample_of(const fg_trainer *t, uint32_t place);
const uint8_t *fg_label_of(const fg_trainer *t, uint32_t sample);
fg_status fg_forward(fg_trainer *t, uint32_t sample, int8_t *logits);
fg_batch_means fg_means(const fg_trainer *t, uint32_t which);
int fg_needs_means(const fg_loss *loss);

/* fg_update.c */
int8_t *fg_high(const fg_trainer *t, uint32_t number);
int32_t *fg_biases(const fg_trainer *t, uint32_t number);
int32_t fg_master(const fg_trainer *t, uint32_t number, uint32_t i);
void fg_set_master(fg_trainer *t, uint32_t number, uint32_t i, int32_t master);
void fg_write_engine(const fg_trainer *t); /* narrows all masters */
int64_t fg_rate_at(const uint32_t *blob, uint32_t step);
/* Moves one number against its gradient (Q16) and takes `carried` off; gives
 * what it moved by, in units. */
int64_t fg_move(fg_trainer *t, uint32_t number, uint32_t i, int64_t gradient,
                int64_t rate, int64_t carried);

/* fg_head.c, fg_slopes.c: one step each. */
void fg_measure_head(fg_trainer *t);
fg_status fg_closed_form_step(fg_trainer *t);
fg_status fg_sign_step(fg_trainer *t);
fg_status fg_per_sample_step(fg_trainer *t);
void fg_apply_signs(fg_trainer *t, const int8_t *signs);

#endif /* FG_CORE_H_ */
