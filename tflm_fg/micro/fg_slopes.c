/* Slopes from pairs of passes: gradients/spsa.py and sample_slopes.py.
 *
 * Directions are vectors of +1 and -1 that are drawn again wherever they are
 * needed, 64 numbers of a tensor at a time, and never stored.
 */
#include "fg_core.h"

/* How far a number is moved by a perturbation, in units. */
static int64_t reach_of(const fg_trainer *t, const uint32_t *tensor,
                        uint32_t i) {
  int64_t units = fg_step_units(t->blob, tensor, i);
  return fg_round_shift(units * t->blob[FG_W_EPSILON], 8);
}

/* Writes the masters plus side * epsilon * z to the engine's tensors. */
static void perturb(const fg_trainer *t, fg_key key, int side) {
  uint32_t number, i;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    uint64_t bits = 0;
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      int64_t away = side * reach_of(t, tensor, i);
      if (i % 64 == 0) bits = fg_sign_bits(key, tensor[FG_T_INDEX], i / 64);
      if (!(bits >> (i % 64) & 1)) away = -away;
      if (fg_is_bias(tensor)) {
        ((int32_t *)t->engine.tensors[number])[i] = (int32_t)fg_clip(
            fg_biases(t, number)[i] + away, INT32_MIN, INT32_MAX);
      } else {
        ((int8_t *)t->engine.tensors[number])[i] =
            fg_narrow(fg_master(t, number, i) + (int32_t)away);
      }
    }
  }
}

/* The loss of the step's batch with the tensors as they are. */
static fg_status run_batch(fg_trainer *t, int64_t *total) {
  uint32_t place, count = fg_batch_count(t);
  size_t outputs = t->blob[FG_W_OUTPUTS];
  int stores = fg_needs_means(&t->loss);
  fg_batch_means means = fg_means(t, 0);
  fg_status status;
  *total = 0;
  for (place = 0; place < count; place++) {
    uint32_t sample = fg_sample_of(t, place);
    int8_t *row = t->logits + (stores ? place * outputs : 0);
    status = fg_forward(t, sample, row);
    if (status) return status;
    if (stores) continue;
    *total += fg_loss_of(&t->loss, row, fg_label_of(t, sample), NULL);
  }
  if (!stores) return FG_OK;
  fg_measure_means(&t->loss, t->logits, count, &means);
  for (place = 0; place < count; place++) {
    *total += fg_loss_of(&t->loss, t->logits + place * outputs, NULL, &means);
  }
  return FG_OK;
}

/* Adds a direction, times a weight, to the sums of up to 64 numbers. */
static void add_direction(fg_trainer *t, fg_key key, uint32_t index,
                          uint32_t block, uint32_t count, int64_t weight) {
  uint64_t bits = fg_sign_bits(key, index, block);
  uint32_t i;
  for (i = 0; i < count; i++) t->sums[i] += bits >> i & 1 ? weight : -weight;
}

/* Moves all numbers along the mean of the directions by their signs. */
void fg_apply_signs(fg_trainer *t, const int8_t *signs) {
  uint32_t number, at, i, m, directions = t->blob[FG_W_DIRECTIONS];
  int64_t rate = fg_rate_at(t->blob, t->progress.step);
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    uint32_t size = tensor[FG_T_SIZE];
    for (at = 0; at < size; at += 64) {
      uint32_t count = size - at < 64 ? size - at : 64;
      for (i = 0; i < count; i++) t->sums[i] = 0;
      for (m = 0; m < directions; m++) {
        fg_key key = fg_key_of(t->blob, t->progress.step, m);
        add_direction(t, key, tensor[FG_T_INDEX], at / 64, count, signs[m]);
      }
      for (i = 0; i < count; i++) {
        int64_t mean = fg_round_divide(t->sums[i] * 65536, directions);
        fg_move(t, number, at + i, mean, rate, 0);
      }
    }
  }
}

static void record_signs(fg_trainer *t, const int8_t *signs) {
  uint32_t m, directions = t->blob[FG_W_DIRECTIONS];
  for (m = 0; m < directions; m++) {
    uint64_t place = (uint64_t)t->progress.step * directions + m;
    unsigned code = signs[m] > 0 ? 1 : signs[m] < 0 ? 2 : 0;
    unsigned bits = 2 * (unsigned)(place % 4);
    uint8_t *byte = t->journal + place / 4;
    *byte = (uint8_t)((*byte & ~(3u << bits)) | code << bits);
  }
}

fg_status fg_sign_step(fg_trainer *t) {
  int8_t signs[FG_MAX_DIRECTIONS];
  uint32_t m;
  int64_t all = 0;
  fg_choose_batch(t);
  for (m = 0; m < t->blob[FG_W_DIRECTIONS]; m++) {
    fg_key key = fg_key_of(t->blob, t->progress.step, m);
    int64_t plus, minus;
    fg_status status;
    perturb(t, key, 1);
    status = run_batch(t, &plus);
    if (status) return status;
    perturb(t, key, -1);
    status = run_batch(t, &minus);
    if (status) return status;
    signs[m] = (int8_t)((plus > minus) - (plus < minus));
    all += plus + minus;
  }
  t->progress.loss = all;
  if (t->journal) record_signs(t, signs);
  fg_apply_signs(t, signs);
  fg_write_engine(t);
  return FG_OK;
}

/* The sum of two rows' worth of losses of a sample, and the slope between. */
static void take_slope(fg_trainer *t, uint32_t place, const int8_t *plus,
                       const int8_t *minus, const uint8_t *label,
                       const fg_batch_means *first,
                       const fg_batch_means *second) {
  int64_t epsilon = t->blob[FG_W_EPSILON], nats;
  int64_t difference =
      fg_loss_difference(&t->loss, plus, minus, label, first, second);
  nats = fg_round_shift(difference * 45426, 8); /* log 2 in Q16 */
  t->slopes[place] = (int32_t)fg_clip(fg_round_divide(nats, 2 * epsilon),
                                      INT32_MIN, INT32_MAX);
  t->progress.loss += fg_loss_of(&t->loss, plus, label, first) +
                      fg_loss_of(&t->loss, minus, label, second);
}

/* Runs both passes of every sample of the batch along its own direction. */
static fg_status run_pairs(fg_trainer *t, uint32_t step) {
  uint32_t place, count = fg_batch_count(t);
  size_t outputs = t->blob[FG_W_OUTPUTS];
  int stores = fg_needs_means(&t->loss);
  int8_t *minus = t->logits + (stores ? count : 1) * outputs;
  fg_batch_means first = fg_means(t, 0), second = fg_means(t, 1);
  t->progress.loss = 0;
  for (place = 0; place < count; place++) {
    uint32_t sample = fg_sample_of(t, place);
    size_t at = stores ? place * outputs : 0;
    fg_key key = fg_key_of(t->blob, step, place);
    fg_status status;
    perturb(t, key, 1);
    status = fg_forward(t, sample, t->logits + at);
    if (status) return status;
    perturb(t, key, -1);
    status = fg_forward(t, sample, minus + at);
    if (status) return status;
    if (!stores) {
      take_slope(t, place, t->logits, minus, fg_label_of(t, sample), NULL,
                 NULL);
    }
  }
  if (!stores) return FG_OK;
  fg_measure_means(&t->loss, t->logits, count, &first);
  fg_measure_means(&t->loss, minus, count, &second);
  for (place = 0; place < count; place++) {
    take_slope(t, place, t->logits + place * outputs, minus + place * outputs,
               NULL, &first, &second);
  }
  return FG_OK;
}

/* Moves all numbers along the mean of the samples' directions by slopes. */
static void apply_slopes(fg_trainer *t, uint32_t step) {
  uint32_t number, at, i, n, samples = fg_batch_count(t);
  int64_t rate = fg_rate_at(t->blob, step);
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    uint32_t size = tensor[FG_T_SIZE];
    for (at = 0; at < size; at += 64) {
      uint32_t count = size - at < 64 ? size - at : 64;
      for (i = 0; i < count; i++) t->sums[i] = 0;
      for (n = 0; n < samples; n++) {
        fg_key key = fg_key_of(t->blob, step, n);
        int64_t slope = t->slopes[n];
        add_direction(t, key, tensor[FG_T_INDEX], at / 64, count, slope);
      }
      for (i = 0; i < count; i++) {
        fg_move(t, number, at + i, fg_round_divide(t->sums[i], samples), rate,
                0);
      }
    }
  }
}

/* Puts all gains to a value, in whole steps, other numbers where they are. */
static void place_gains(fg_trainer *t, int32_t value, int keep) {
  uint32_t number, i;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    int is_gain = tensor[FG_T_ROLE] == FG_GAIN;
    int8_t *held = t->engine.tensors[number];
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      int32_t master = fg_master(t, number, i);
      int32_t units = fg_step_units(t->blob, tensor, i);
      if (is_gain && units) master += (value - (master >> 8)) * units;
      held[i] = fg_narrow(master);
      if (!keep) continue;
      fg_set_master(t, number, i,
                    (int32_t)fg_clip(master, -FG_MASTER_MAX, FG_MASTER_MAX));
    }
  }
}

/* The first step: the value of the gains with the lowest loss. */
static fg_status scan(fg_trainer *t) {
  const uint32_t *starts = t->blob + t->blob[FG_W_SCAN_TABLE];
  uint32_t i, best = 0;
  int64_t lowest = 0, all = 0;
  for (i = 0; i < t->blob[FG_W_SCANS]; i++) {
    int64_t total;
    fg_status status;
    place_gains(t, (int32_t)starts[i], 0);
    status = run_batch(t, &total);
    if (status) return status;
    if (i == 0 || total < lowest) {
      lowest = total;
      best = i;
    }
    all += total;
  }
  t->progress.loss = all;
  place_gains(t, (int32_t)starts[best], 1);
  return FG_OK;
}

fg_status fg_per_sample_step(fg_trainer *t) {
  uint32_t step = t->progress.step;
  fg_status status;
  fg_choose_batch(t);
  if (t->blob[FG_W_SCANS]) {
    if (step == 0) return scan(t);
    step--; /* directions and rates count from behind the scan */
  }
  status = run_pairs(t, step);
  if (status) return status;
  apply_slopes(t, step);
  fg_write_engine(t);
  return FG_OK;
}
