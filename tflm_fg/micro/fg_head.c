/* The exact gradient of a last layer, from one pass a sample:
 * gradients/closed_form.py, gradients/pull.py and fixed_point/spread.py.
 *
 * Sums over the batch are made for one output at a time, so that a row of them
 * is kept and not a matrix. The residuals of that output come anew from the
 * logits, which are kept as bytes.
 */
#include "fg_core.h"

static const int8_t *features_of(const fg_trainer *t, uint32_t sample) {
  return t->samples.features + (size_t)sample * t->blob[FG_W_DIM];
}

/* The mean square of an input around its centre, Q16, rounded down. */
static int64_t measure_input(fg_trainer *t, uint32_t d) {
  int64_t zero = (int32_t)t->blob[FG_W_INPUT_ZERO], sum = 0;
  uint32_t n, count = fg_fit_count(t);
  for (n = 0; n < count; n++) sum += features_of(t, n)[d] - zero;
  t->centre[d] = 0;
  if (t->blob[FG_W_CENTRED]) {
    t->centre[d] = (int16_t)fg_round_divide(sum, count);
  }
  for (sum = 0, n = 0; n < count; n++) {
    int64_t away = features_of(t, n)[d] - zero - t->centre[d];
    sum += away * away;
  }
  return sum / count * 65536 + sum % count * 65536 / count;
}

void fg_measure_head(fg_trainer *t) {
  uint32_t d, dim = t->blob[FG_W_DIM];
  uint64_t largest = 0, length = 1 << 12;
  for (d = 0; d < dim; d++) {
    uint64_t root;
    t->sums[d] = measure_input(t, d);
    root = fg_root((uint64_t)t->sums[d]);
    if (root > largest) largest = root;
  }
  for (d = 0; d < dim; d++) {
    uint64_t spread = fg_root((uint64_t)t->sums[d]) + largest / 20;
    int bits = (fg_bit_length(spread * spread) - 16) >> 1;
    if (bits < 0) bits = 0;
    t->spread[d] = (uint8_t)bits;
    length += (uint64_t)t->sums[d] >> (2 * bits);
  }
  t->mean_square = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}

static fg_status run_batch(fg_trainer *t) {
  uint32_t place, count = fg_batch_count(t);
  size_t outputs = t->blob[FG_W_OUTPUTS];
  fg_batch_means means = fg_means(t, 0);
  int64_t total = 0;
  for (place = 0; place < count; place++) {
    fg_status status =
        fg_forward(t, fg_sample_of(t, place), t->logits + place * outputs);
    if (status) return status;
  }
  if (fg_needs_means(&t->loss)) {
    fg_measure_means(&t->loss, t->logits, count, &means);
  }
  for (place = 0; place < count; place++) {
    total += fg_loss_of(&t->loss, t->logits + place * outputs,
                        fg_label_of(t, fg_sample_of(t, place)), &means);
  }
  t->progress.loss = total;
  if (fg_needs_means(&t->loss)) {
    fg_measure_means(&t->sloped, t->logits, count, &means);
  }
  return FG_OK;
}

/* Sums an output's residuals, and their products with the centred features
 * into t->sums where a kernel trains. */
static int64_t sum_up(fg_trainer *t, int32_t output, int has_kernel) {
  uint32_t place, d, count = fg_batch_count(t), dim = t->blob[FG_W_DIM];
  int32_t zero = (int32_t)t->blob[FG_W_INPUT_ZERO];
  fg_batch_means means = fg_means(t, 0);
  int64_t total = 0;
  for (d = 0; d < dim; d++) t->sums[d] = 0;
  for (place = 0; place < count; place++) {
    uint32_t sample = fg_sample_of(t, place);
    const int8_t *x = features_of(t, sample);
    const int8_t *row = t->logits + (size_t)place * t->blob[FG_W_OUTPUTS];
    fg_row read = fg_read_row(&t->sloped, row, &means);
    int64_t residual = fg_residual(&t->sloped, row, &read, output,
                                   fg_label_of(t, sample), &means);
    total += residual;
    if (!residual || !has_kernel) continue;
    for (d = 0; d < dim; d++) {
      t->sums[d] += residual * (x[d] - zero - t->centre[d]);
    }
  }
  return total;
}

/* The pull's part of a slope, Q16 steps. */
static int64_t pulled(int64_t units, int64_t factor, int64_t step) {
  const int64_t far = (int64_t)1 << 36;
  int64_t whole = (step > 1 ? step : 1) * 256;
  return fg_round_divide(fg_clip(units, -far, far) * factor, whole);
}

static int64_t kernel_factor_of_pull(const fg_trainer *t) {
  uint64_t constant = t->blob[FG_W_PULL_KERNEL];
  return (int64_t)(((constant << 16) + t->mean_square / 2) / t->mean_square);
}

static int64_t as_slope(int64_t x) { return fg_clip(x, INT32_MIN, INT32_MAX); }

/* Moves an output's row of the kernel; gives what that moves the output by at
 * the mean input. `away_at_mean` becomes how far it was from the start there.
 */
static int64_t move_row(fg_trainer *t, int32_t output, int64_t rate,
                        int64_t *away_at_mean) {
  const uint32_t *blob = t->blob, *tensor = fg_tensor_of(blob, 0);
  uint32_t d, dim = blob[FG_W_DIM];
  int64_t at_mean = 0, pull = kernel_factor_of_pull(t);
  fg_factor factor = fg_over(
      (int32_t)blob[blob[FG_W_KERNEL_FACTORS] + (uint32_t)output],
      (int32_t)blob[FG_W_KERNEL_BITS],
      (uint64_t)t->mean_square * fg_batch_count(t), 16);
  *away_at_mean = 0;
  for (d = 0; d < dim; d++) {
    uint32_t i = (uint32_t)output * dim + d;
    int64_t slope = fg_scaled(t->sums[d], factor, 2 * t->spread[d]);
    if (pull) {
      int64_t away = fg_master(t, 0, i) - fg_start_of(blob, tensor, i) * 256;
      slope += pulled(away, pull, fg_step_units(blob, tensor, i));
      *away_at_mean += away * t->centre[d];
    }
    at_mean += fg_move(t, 0, i, as_slope(slope), rate, 0) * t->centre[d];
  }
  return at_mean;
}

fg_status fg_closed_form_step(fg_trainer *t) {
  const uint32_t *blob = t->blob;
  int has_kernel = !fg_is_bias(fg_tensor_of(blob, 0));
  uint32_t bias = blob[FG_W_TENSORS] - 1;
  int has_bias = fg_is_bias(fg_tensor_of(blob, bias));
  int64_t rate = fg_rate_at(blob, t->progress.step);
  int32_t output, outputs = (int32_t)blob[FG_W_OUTPUTS];
  fg_status status;
  fg_choose_batch(t);
  status = run_batch(t);
  if (status) return status;
  for (output = 0; output < outputs; output++) {
    int64_t residuals = sum_up(t, output, has_kernel);
    int64_t carried = 0, away = 0, slope;
    if (has_kernel) {
      carried = fg_round_shift(move_row(t, output, rate, &away), 8);
      away = fg_round_shift(away, 8);
    }
    if (!has_bias) continue;
    slope = fg_scaled(
        residuals,
        fg_over((int32_t)blob[blob[FG_W_BIAS_FACTORS] + (uint32_t)output],
                (int32_t)blob[FG_W_BIAS_BITS], fg_batch_count(t), 0),
        0);
    if (blob[FG_W_PULL_BIAS]) {
      const uint32_t *tensor = fg_tensor_of(blob, bias);
      away += (int64_t)fg_biases(t, bias)[output] -
              fg_start_of(blob, tensor, (uint32_t)output);
      slope += pulled(away, blob[FG_W_PULL_BIAS],
                      fg_step_units(blob, tensor, (uint32_t)output));
    }
    fg_move(t, bias, (uint32_t)output, as_slope(slope), rate, carried);
  }
  return FG_OK;
}
