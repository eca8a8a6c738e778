/* A phase from its buffer to its end: training/trainer.py and callbacks.py. */
#include "fg_core.h"

#define FG_CHECKED_SAMPLES 32

/* Hands out the caller's buffer piece by piece; without one it only counts. */
typedef struct fg_room {
  uint8_t *start;
  uint64_t used;
} fg_room;

static void *taken(fg_room *room, uint64_t count, uint32_t size) {
  uint64_t at = (room->used + size - 1) / size * size;
  room->used = at + count * size;
  if (!count || !room->start) return NULL;
  return room->start + at;
}

static uint32_t rows_needed(const uint32_t *blob, uint32_t samples) {
  uint32_t batch = blob[FG_W_BATCH] < samples ? blob[FG_W_BATCH] : samples;
  int all = !fg_takes_labels((fg_loss_kind)blob[FG_W_LOSS]);
  uint32_t rows = 2; /* for the check of writes */
  if (all) rows = samples;
  if (blob[FG_W_METHOD] == FG_CLOSED_FORM && batch > rows) rows = batch;
  if (blob[FG_W_METHOD] == FG_PER_SAMPLE && all && 2 * batch > rows) {
    rows = 2 * batch;
  }
  return rows > 2 ? rows : 2;
}

/* Places all that a trainer keeps, the widest numbers first. */
static void lay_out(fg_trainer *t, const uint32_t *blob, uint32_t samples,
                    fg_room *room) {
  uint32_t kernels = blob[FG_W_KERNELS], biases = blob[FG_W_BIASES];
  uint32_t dim = blob[FG_W_DIM], outputs = blob[FG_W_OUTPUTS];
  uint32_t batch = blob[FG_W_BATCH] < samples ? blob[FG_W_BATCH] : samples;
  int shared = blob[FG_W_METHOD] == FG_CLOSED_FORM;
  int shuffles = blob[FG_W_BATCH] < samples;
  int has_velocity = blob[FG_W_MOMENTUM] != 0;
  int best = blob[FG_W_KEEPER] == FG_KEEP_BEST;
  int means = !fg_takes_labels((fg_loss_kind)blob[FG_W_LOSS]);
  t->sums = taken(room, dim > 64 || shared ? dim : 64, 8);
  t->biases = taken(room, shared ? 0 : biases, 4);
  t->bias_velocity = taken(room, has_velocity ? biases : 0, 4);
  t->best_biases = taken(room, best ? biases : 0, 4);
  t->mean = taken(room, means ? 2 * outputs : 0, 4);
  t->of_mean = taken(room, means ? 2 * outputs : 0, 4);
  t->slopes = taken(room, blob[FG_W_METHOD] == FG_PER_SAMPLE ? batch : 0, 4);
  t->keys = taken(room, shuffles ? samples : 0, 4);
  t->kernel_velocity = taken(room, has_velocity ? kernels : 0, 2);
  t->centre = taken(room, dim, 2);
  t->order = taken(room, shuffles ? samples : 0, 2);
  t->batch = taken(room, shuffles ? batch : 0, 2);
  t->high = taken(room, shared ? 0 : kernels, 1);
  t->low = taken(room, kernels, 1);
  t->best_high = taken(room, best ? kernels : 0, 1);
  t->best_low = taken(room, best ? kernels : 0, 1);
  t->spread = taken(room, dim, 1);
  t->logits = taken(room, (uint64_t)rows_needed(blob, samples) * outputs, 1);
}

fg_status fg_required_bytes(const void *blob, uint32_t blob_bytes,
                            uint32_t samples, uint32_t *bytes) {
  fg_status status = fg_check_blob(blob, blob_bytes);
  fg_trainer unused;
  fg_room room;
  if (status) return status;
  if (!bytes) return FG_BAD_ARGUMENT;
  if (!samples || samples > 65535) return FG_BAD_SAMPLES;
  room.start = NULL;
  room.used = sizeof(fg_trainer);
  lay_out(&unused, blob, samples, &room);
  if (room.used > UINT32_MAX) return FG_BAD_SAMPLES;
  *bytes = (uint32_t)room.used;
  return FG_OK;
}

uint32_t fg_fit_count(const fg_trainer *t) {
  return t->samples.count - t->samples.kept;
}

uint32_t fg_batch_count(const fg_trainer *t) {
  uint32_t fit = fg_fit_count(t);
  return t->blob[FG_W_BATCH] < fit ? t->blob[FG_W_BATCH] : fit;
}

/* A batch as large as the set is the whole set, in its own order. Others go
 * through shuffles, one an epoch, and may straddle two. */
void fg_choose_batch(fg_trainer *t) {
  uint32_t fit = fg_fit_count(t), size = fg_batch_count(t), i;
  uint64_t place = (uint64_t)t->progress.step * size;
  if (size == fit) return;
  for (i = 0; i < size; i++, place++) {
    uint32_t epoch = (uint32_t)(place / fit);
    if (epoch != t->epoch) {
      fg_permutation(t->blob, epoch, fit, t->keys, t->order);
      t->epoch = epoch;
    }
    t->batch[i] = t->order[place % fit];
  }
}

uint32_t fg_sample_of(const fg_trainer *t, uint32_t place) {
  return fg_batch_count(t) == fg_fit_count(t) ? place : t->batch[place];
}

static uint32_t labels_a_sample(const uint32_t *blob) {
  fg_loss_kind kind = (fg_loss_kind)blob[FG_W_LOSS];
  if (!fg_takes_labels(kind)) return 0;
  return fg_is_binary(kind) ? blob[FG_W_OUTPUTS] : 1;
}

const uint8_t *fg_label_of(const fg_trainer *t, uint32_t sample) {
  uint32_t each = labels_a_sample(t->blob);
  return each ? t->samples.labels + (size_t)sample * each : NULL;
}

fg_status fg_forward(fg_trainer *t, uint32_t sample, int8_t *logits) {
  t->progress.passes++;
  return t->engine.forward(t->engine.context, sample, logits) ? FG_ENGINE_FAILED
                                                               : FG_OK;
}

fg_batch_means fg_means(const fg_trainer *t, uint32_t which) {
  fg_batch_means means = {NULL, NULL};
  if (t->mean) {
    means.mean = t->mean + which * t->blob[FG_W_OUTPUTS];
    means.of_mean = t->of_mean + which * t->blob[FG_W_OUTPUTS];
  }
  return means;
}

/* The start of every number, in the masters and in the engine. */
static void take_start(fg_trainer *t) {
  uint32_t number, i;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      int32_t start = fg_start_of(t->blob, tensor, i);
      if (fg_is_bias(tensor)) {
        fg_biases(t, number)[i] = start;
      } else {
        fg_set_master(t, number, i, start * 256);
      }
    }
  }
  fg_write_engine(t);
}

fg_status fg_forget(const void *blob, uint32_t blob_bytes,
                    const fg_engine *engine) {
  const uint32_t *words = blob;
  fg_status status = fg_check_blob(blob, blob_bytes);
  uint32_t number, i;
  if (status) return status;
  status = fg_check_engine(words, engine);
  if (status) return status;
  for (number = 0; number < words[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(words, number);
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      int32_t start = fg_start_of(words, tensor, i);
      if (fg_is_bias(tensor)) {
        ((int32_t *)engine->tensors[number])[i] = start;
      } else {
        ((int8_t *)engine->tensors[number])[i] = (int8_t)start;
      }
    }
  }
  return FG_OK;
}

fg_status fg_check_engine(const uint32_t *blob, const fg_engine *engine) {
  uint32_t number;
  if (!engine || !engine->tensors) return FG_BAD_ARGUMENT;
  for (number = 0; number < blob[FG_W_TENSORS]; number++) {
    uintptr_t place = (uintptr_t)engine->tensors[number];
    if (!place || (fg_is_bias(fg_tensor_of(blob, number)) && place % 4)) {
      return FG_BAD_ARGUMENT;
    }
  }
  return FG_OK;
}

static fg_status check_samples(const uint32_t *blob,
                               const fg_samples *samples) {
  uint32_t each = labels_a_sample(blob), i;
  uint32_t most = each > 1 || blob[FG_W_LOSS] == FG_BINARY
                      ? 1
                      : blob[FG_W_OUTPUTS] - 1;
  if (!samples->count || samples->count > 65535 ||
      samples->kept >= samples->count || (each && !samples->labels) ||
      (blob[FG_W_DIM] && !samples->features)) {
    return FG_BAD_SAMPLES;
  }
  for (i = 0; each && i < samples->count * each; i++) {
    if (samples->labels[i] > most) return FG_BAD_LABEL;
  }
  return FG_OK;
}

fg_status fg_open(fg_trainer **trainer, const void *blob, uint32_t blob_bytes,
                  const fg_engine *engine, const fg_samples *samples,
                  void *buffer, uint32_t buffer_bytes) {
  static const fg_progress nothing = {0, 0, 0, 0, 0, 0, 0, 0, 0};
  const uint32_t *words = blob;
  fg_trainer *t = buffer;
  fg_status status = fg_check_blob(blob, blob_bytes);
  uint32_t required, i;
  fg_room room;
  if (status) return status;
  if (!trainer || !samples || !buffer || (uintptr_t)buffer % 8) {
    return FG_BAD_ARGUMENT;
  }
  status = fg_check_engine(words, engine);
  if (status) return status;
  if (!engine->forward) return FG_BAD_ARGUMENT;
  status = check_samples(words, samples);
  if (status) return status;
  status = fg_required_bytes(blob, blob_bytes, samples->count, &required);
  if (status) return status;
  if (buffer_bytes < required) return FG_SMALL_BUFFER;
  room.start = buffer;
  room.used = sizeof(fg_trainer);
  lay_out(t, words, samples->count, &room);
  t->blob = words;
  t->engine = *engine;
  t->samples = *samples;
  t->progress = nothing;
  t->progress.steps = words[FG_W_STEPS];
  fg_read_loss(words, 0, &t->loss);
  t->sloped = t->loss;
  t->stage = FG_OPENED;
  t->epoch = FG_NO_EPOCH;
  t->answers_before = 0;
  t->mean_square = 1 << 12;
  t->journal = NULL;
  for (i = 0; t->kernel_velocity && i < words[FG_W_KERNELS]; i++) {
    t->kernel_velocity[i] = 0;
  }
  for (i = 0; t->bias_velocity && i < words[FG_W_BIASES]; i++) {
    t->bias_velocity[i] = 0;
  }
  if (words[FG_W_METHOD] == FG_CLOSED_FORM) {
    fg_read_loss(words, 1, &t->sloped);
    fg_measure_head(t);
  }
  take_start(t);
  *trainer = t;
  return FG_OK;
}

/* Another value for every number of a tensor, far from what it is: `turn` 0 to
 * 3. False where there is no such turn. */
static int write_others(const fg_trainer *t, uint32_t number, uint32_t turn) {
  static const int32_t far[] = {60, -60, 6000, -6000};
  const uint32_t *tensor = fg_tensor_of(t->blob, number);
  uint32_t i;
  for (i = 0; i < tensor[FG_T_SIZE]; i++) {
    int32_t start = fg_start_of(t->blob, tensor, i);
    if (fg_is_bias(tensor)) {
      int64_t away = (int64_t)far[turn] * fg_step_units(t->blob, tensor, i);
      ((int32_t *)t->engine.tensors[number])[i] = (int32_t)fg_clip(
          i % 2 ? start + away : start - away, INT32_MIN, INT32_MAX);
    } else {
      int8_t other = turn == 1 || (turn == 0 && start <= 0) ? 127 : -127;
      if (turn > 2) return 0;
      ((int8_t *)t->engine.tensors[number])[i] = other;
    }
  }
  return 1;
}

static fg_status is_seen(fg_trainer *t, uint32_t number, uint32_t samples,
                         int *seen) {
  uint32_t fit = fg_fit_count(t), outputs = t->blob[FG_W_OUTPUTS], turn, n, i;
  int8_t *quiet = t->logits, *other = t->logits + outputs;
  if (samples > fit) samples = fit;
  *seen = 0;
  for (n = 0; n < samples; n++) {
    uint32_t sample =
        samples > 1 ? (uint32_t)((uint64_t)n * (fit - 1) / (samples - 1)) : 0;
    fg_status status = fg_forward(t, sample, quiet);
    for (turn = 0; !status && turn < 4; turn++) {
      if (!write_others(t, number, turn)) break;
      status = fg_forward(t, sample, other);
      for (i = 0; i < outputs; i++) *seen |= quiet[i] != other[i];
      if (*seen) break;
    }
    take_start(t);
    if (status || *seen) return status;
  }
  return FG_OK;
}

fg_status fg_check_writes(fg_trainer *t, uint32_t samples) {
  uint32_t number;
  if (!t) return FG_BAD_ARGUMENT;
  if (t->stage != FG_OPENED) return FG_WRONG_ORDER;
  if (!samples) return FG_BAD_SAMPLES;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    int seen;
    fg_status status = is_seen(t, number, samples, &seen);
    if (!status && !seen) status = FG_NOT_SEEN;
    if (status) {
      t->stage = FG_FAILED;
      return status;
    }
  }
  return FG_OK;
}

typedef struct fg_score {
  int64_t total;
  uint32_t correct, answers;
} fg_score;

static fg_status score_kept(fg_trainer *t, fg_score *score) {
  uint32_t n, kept = t->samples.kept;
  size_t outputs = t->blob[FG_W_OUTPUTS];
  int stores = fg_needs_means(&t->loss);
  fg_batch_means means = fg_means(t, 0);
  score->total = 0;
  score->correct = score->answers = 0;
  for (n = 0; n < kept; n++) {
    uint32_t sample = fg_fit_count(t) + n;
    const uint8_t *label = fg_label_of(t, sample);
    int8_t *row = t->logits + (stores ? n * outputs : 0);
    fg_status status = fg_forward(t, sample, row);
    if (status) return status;
    if (stores) continue;
    score->total += fg_loss_of(&t->loss, row, label, NULL);
    score->correct += fg_right(&t->loss, row, label);
  }
  if (!stores) return FG_OK;
  fg_measure_means(&t->loss, t->logits, kept, &means);
  for (n = 0; n < kept; n++) {
    score->total += fg_loss_of(&t->loss, t->logits + n * outputs, NULL, &means);
  }
  score->answers = fg_answers(&t->loss, t->logits, kept);
  return FG_OK;
}

/* Copies the masters into the best, or back from there. */
static void copy_best(fg_trainer *t, int back) {
  uint32_t number, i;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    uint32_t first = tensor[FG_T_FIRST];
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      if (fg_is_bias(tensor)) {
        int32_t *own = fg_biases(t, number) + i;
        int32_t *best = t->best_biases + first + i;
        *(back ? own : best) = back ? *best : *own;
      } else if (back) {
        fg_set_master(t, number, i,
                      t->best_high[first + i] * 256 + t->best_low[first + i]);
      } else {
        t->best_high[first + i] = fg_high(t, number)[i];
        t->best_low[first + i] = t->low[first + i];
      }
    }
  }
}

/* Whether fewer samples are right than at the start, or too few answers are
 * left of those that the start gave. */
static int is_refused(const fg_trainer *t, const fg_score *score) {
  if (fg_takes_labels(t->loss.kind)) {
    return score->correct < t->progress.correct_before;
  }
  return 4 * (uint64_t)score->answers < 3 * (uint64_t)t->answers_before;
}

static void keep(fg_trainer *t, const fg_score *score) {
  t->progress.kept_after = score->total;
  t->progress.correct_after = score->correct;
  t->progress.kept_step = t->progress.step;
}

static fg_status validate(fg_trainer *t) {
  uint32_t keeper = t->blob[FG_W_KEEPER];
  fg_score score;
  fg_status status;
  if (!t->samples.kept || keeper == FG_KEEP_LAST) return FG_OK;
  status = score_kept(t, &score);
  if (status) return status;
  if (!t->progress.step) {
    t->progress.kept_before = score.total;
    t->progress.correct_before = score.correct;
    t->answers_before = score.answers;
    keep(t, &score);
    if (keeper == FG_KEEP_BEST) copy_best(t, 0);
  } else if (keeper == FG_KEEP_BEST) {
    if (score.total < t->progress.kept_after && !is_refused(t, &score)) {
      keep(t, &score);
      copy_best(t, 0);
    }
  } else if (is_refused(t, &score) ||
             (!fg_takes_labels(t->loss.kind) &&
              score.total > t->progress.kept_before)) {
    t->progress.kept_step = 0;
    t->progress.kept_after = t->progress.kept_before;
    t->progress.correct_after = t->progress.correct_before;
  } else {
    keep(t, &score);
  }
  return FG_OK;
}

static fg_status failed(fg_trainer *t, fg_status status) {
  if (status == FG_ENGINE_FAILED) {
    t->stage = FG_FAILED;
    take_start(t);
  }
  return status;
}

fg_status fg_begin(fg_trainer *t) {
  fg_status status;
  if (!t) return FG_BAD_ARGUMENT;
  if (t->stage != FG_OPENED) return FG_WRONG_ORDER;
  status = validate(t);
  if (status) return failed(t, status);
  t->stage = FG_BEGUN;
  return FG_OK;
}

fg_status fg_step(fg_trainer *t) {
  fg_status status;
  if (!t) return FG_BAD_ARGUMENT;
  if (t->stage != FG_BEGUN) return FG_WRONG_ORDER;
  if (t->progress.step == t->progress.steps) return FG_DONE;
  switch (t->blob[FG_W_METHOD]) {
    case FG_CLOSED_FORM:
      status = fg_closed_form_step(t);
      break;
    case FG_SIGN_SPSA:
      status = fg_sign_step(t);
      break;
    default:
      status = fg_per_sample_step(t);
  }
  if (status) return failed(t, status);
  t->progress.step++;
  if (t->progress.step % t->blob[FG_W_VALIDATE_EVERY] == 0 ||
      t->progress.step == t->progress.steps) {
    status = validate(t);
    if (status) return failed(t, status);
  }
  return FG_OK;
}

fg_status fg_end(fg_trainer *t) {
  uint32_t last;
  fg_status status;
  if (!t) return FG_BAD_ARGUMENT;
  if (t->stage == FG_OPENED || t->stage == FG_ENDED) return FG_WRONG_ORDER;
  if (t->stage == FG_FAILED) {
    t->progress.kept_step = 0;
    take_start(t);
    t->stage = FG_ENDED;
    return FG_OK;
  }
  last = t->progress.step;
  if (last && last != t->progress.steps &&
      last % t->blob[FG_W_VALIDATE_EVERY]) {
    status = validate(t);
    if (status) return failed(t, status);
  }
  if (!t->samples.kept || t->blob[FG_W_KEEPER] == FG_KEEP_LAST) {
    t->progress.kept_step = last;
  } else if (t->blob[FG_W_KEEPER] == FG_KEEP_BEST) {
    copy_best(t, 1);
  } else if (!t->progress.kept_step) {
    take_start(t);
  }
  fg_write_engine(t);
  t->stage = FG_ENDED;
  return FG_OK;
}

fg_status fg_train(fg_trainer *t) {
  fg_status status = fg_check_writes(t, FG_CHECKED_SAMPLES);
  if (!status) status = fg_begin(t);
  while (!status) status = fg_step(t);
  return status == FG_DONE ? fg_end(t) : status;
}

fg_status fg_read_progress(const fg_trainer *t, fg_progress *progress) {
  if (!t || !progress) return FG_BAD_ARGUMENT;
  *progress = t->progress;
  return FG_OK;
}

fg_status fg_masters(const fg_trainer *t, uint32_t number, int16_t *masters,
                     int32_t *biases) {
  const uint32_t *tensor;
  uint32_t i;
  if (!t || number >= t->blob[FG_W_TENSORS]) return FG_BAD_ARGUMENT;
  tensor = fg_tensor_of(t->blob, number);
  if (fg_is_bias(tensor) ? !biases : !masters) return FG_BAD_ARGUMENT;
  for (i = 0; i < tensor[FG_T_SIZE]; i++) {
    if (fg_is_bias(tensor)) {
      biases[i] = fg_biases(t, number)[i];
    } else {
      masters[i] = (int16_t)fg_master(t, number, i);
    }
  }
  return FG_OK;
}

static uint64_t bytes_of_signs(const uint32_t *blob) {
  return ((uint64_t)blob[FG_W_STEPS] * blob[FG_W_DIRECTIONS] + 3) / 4;
}

fg_status fg_signs_bytes(const void *blob, uint32_t blob_bytes,
                         uint32_t *bytes) {
  const uint32_t *words = blob;
  fg_status status = fg_check_blob(blob, blob_bytes);
  if (status) return status;
  if (!bytes || words[FG_W_METHOD] != FG_SIGN_SPSA ||
      bytes_of_signs(words) > UINT32_MAX) {
    return FG_BAD_ARGUMENT;
  }
  *bytes = (uint32_t)bytes_of_signs(words);
  return FG_OK;
}

fg_status fg_write_signs(fg_trainer *t, uint8_t *signs, uint32_t signs_bytes) {
  if (!t || !signs || t->blob[FG_W_METHOD] != FG_SIGN_SPSA) {
    return FG_BAD_ARGUMENT;
  }
  if (t->stage != FG_OPENED) return FG_WRONG_ORDER;
  if (signs_bytes < bytes_of_signs(t->blob)) return FG_SMALL_BUFFER;
  t->journal = signs;
  return FG_OK;
}

fg_status fg_replay_signs(fg_trainer *t, const uint8_t *signs,
                          uint32_t signs_bytes, uint32_t steps) {
  uint32_t directions, m;
  uint64_t place;
  if (!t || !signs || t->blob[FG_W_METHOD] != FG_SIGN_SPSA) {
    return FG_BAD_ARGUMENT;
  }
  if (t->stage != FG_OPENED) return FG_WRONG_ORDER;
  directions = t->blob[FG_W_DIRECTIONS];
  if (steps > t->blob[FG_W_STEPS] ||
      signs_bytes < ((uint64_t)steps * directions + 3) / 4) {
    return FG_BAD_SAVED;
  }
  for (place = 0; place < (uint64_t)steps * directions; place++) {
    if ((signs[place / 4] >> (2 * (place % 4)) & 3) == 3) return FG_BAD_SAVED;
  }
  for (; t->progress.step < steps; t->progress.step++) {
    int8_t own[FG_MAX_DIRECTIONS];
    for (m = 0; m < directions; m++) {
      int code;
      place = (uint64_t)t->progress.step * directions + m;
      code = signs[place / 4] >> (2 * (place % 4)) & 3;
      own[m] = (int8_t)(code == 2 ? -1 : code);
    }
    fg_apply_signs(t, own);
  }
  t->progress.kept_step = steps;
  fg_write_engine(t);
  t->stage = FG_ENDED;
  return FG_OK;
}
