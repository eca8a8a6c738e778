/* Masters, and how a gradient moves them: optimizers/transforms.py.
 *
 * fg_move is the one place where a master changes, fg_narrow the one where it
 * is rounded to what the engine holds.
 */
#include "fg_core.h"

/* In the closed form the weights that run are always the masters' high bytes,
 * so that the engine's own tensors keep them. */
static int is_shared(const fg_trainer *t) {
  return t->blob[FG_W_METHOD] == FG_CLOSED_FORM;
}

int8_t *fg_high(const fg_trainer *t, uint32_t number) {
  if (is_shared(t)) return t->engine.tensors[number];
  return t->high + fg_tensor_of(t->blob, number)[FG_T_FIRST];
}

int32_t *fg_biases(const fg_trainer *t, uint32_t number) {
  if (is_shared(t)) return t->engine.tensors[number];
  return t->biases + fg_tensor_of(t->blob, number)[FG_T_FIRST];
}

static int8_t *low_of(const fg_trainer *t, uint32_t number) {
  return t->low + fg_tensor_of(t->blob, number)[FG_T_FIRST];
}

int32_t fg_master(const fg_trainer *t, uint32_t number, uint32_t i) {
  return fg_high(t, number)[i] * 256 + low_of(t, number)[i];
}

void fg_set_master(fg_trainer *t, uint32_t number, uint32_t i, int32_t master) {
  /* A file's own -128 stays what it is until it is moved. */
  int8_t high = master == -32768 ? -128 : fg_narrow(master);
  fg_high(t, number)[i] = high;
  low_of(t, number)[i] = (int8_t)(master - high * 256);
}

void fg_write_engine(const fg_trainer *t) {
  uint32_t number, i;
  if (is_shared(t)) return;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    if (fg_is_bias(tensor)) {
      int32_t *held = t->engine.tensors[number];
      const int32_t *own = fg_biases(t, number);
      for (i = 0; i < tensor[FG_T_SIZE]; i++) held[i] = own[i];
    } else {
      int8_t *held = t->engine.tensors[number];
      const int8_t *own = fg_high(t, number);
      for (i = 0; i < tensor[FG_T_SIZE]; i++) held[i] = own[i];
    }
  }
}

int64_t fg_rate_at(const uint32_t *blob, uint32_t step) {
  uint64_t rate = blob[FG_W_RATE], steps = blob[FG_W_STEPS];
  if (!blob[FG_W_DECAY]) return (int64_t)rate;
  return (int64_t)(rate * (step < steps ? steps - step : 0) / steps);
}

/* Adds a move to what is kept of the velocity. */
static int64_t accelerated(fg_trainer *t, int is_bias, uint32_t at,
                           int64_t move) {
  int64_t momentum = t->blob[FG_W_MOMENTUM];
  if (!momentum) return move;
  if (is_bias) {
    move = fg_clip(move + fg_decayed(t->bias_velocity[at], momentum), INT32_MIN,
                   INT32_MAX);
    t->bias_velocity[at] = (int32_t)move;
  } else {
    move = fg_clip(move + fg_decayed(t->kernel_velocity[at], momentum), INT16_MIN,
                   INT16_MAX);
    t->kernel_velocity[at] = (int16_t)move;
  }
  return move;
}

int64_t fg_move(fg_trainer *t, uint32_t number, uint32_t i, int64_t gradient,
                int64_t rate, int64_t carried) {
  const uint32_t *tensor = fg_tensor_of(t->blob, number);
  int64_t units = fg_step_units(t->blob, tensor, i), move, before, after;
  int is_bias = fg_is_bias(tensor);
  uint32_t at = tensor[FG_T_FIRST] + i;
  if (t->blob[FG_W_OPTIMIZER] == FG_SGD) {
    move = accelerated(t, is_bias, at, fg_scaled_move(gradient, -units, rate));
  } else {
    move = t->blob[FG_W_MOMENTUM]
               ? accelerated(t, is_bias, at,
                             fg_scaled_move(gradient, -units, 1 << 16))
               : -gradient;
    move = fg_scaled_move(((move > 0) - (move < 0)) * (int64_t)65536, units, rate);
  }
  move = fg_round_shift(move, 4) - carried;
  if (is_bias) {
    int32_t *own = fg_biases(t, number) + i;
    before = *own;
    after = fg_clip(before + move, INT32_MIN, INT32_MAX);
    *own = (int32_t)after;
  } else {
    before = fg_master(t, number, i);
    after = fg_clip(before + move, -FG_MASTER_MAX, FG_MASTER_MAX);
    fg_set_master(t, number, i, (int32_t)after);
  }
  return after - before;
}
