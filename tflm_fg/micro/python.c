/* The hot loops of training for Python, with the trainer's own arithmetic.
 *
 * Every function does what a function of NumPy does in tflm_fg, bit for bit,
 * and writes to arrays that the caller made. Arrays are contiguous and of the
 * widths that are named; lengths are checked, as nothing else would. Python
 * loads this through tflm_fg/fixed_point/native.py, and does without it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fg_core.h"

#ifndef FG_SOURCES
#define FG_SOURCES ""
#endif

/* Arrays of a call. The first fault is kept; every buffer is released. */
enum { FG_MOST_BUFFERS = 12 };
typedef struct fg_arrays {
  Py_buffer views[FG_MOST_BUFFERS];
  int count;
  int failed;
} fg_arrays;

/* An array of `items` of a width; of any count for -1, which `items` becomes.
 * NULL where it failed. */
static void *taken(fg_arrays *arrays, PyObject *object, Py_ssize_t *items,
                   Py_ssize_t width, int writable) {
  Py_buffer *view = arrays->views + arrays->count;
  if (arrays->failed) return NULL;
  if (PyObject_GetBuffer(object, view,
                         writable ? PyBUF_WRITABLE : PyBUF_SIMPLE)) {
    arrays->failed = 1;
    return NULL;
  }
  arrays->count++;
  if (*items < 0) *items = view->len / width;
  if (view->len != *items * width) {
    PyErr_Format(PyExc_ValueError, "an array of %zd bytes, need %zd", view->len,
                 *items * width);
    arrays->failed = 1;
  }
  return view->buf;
}

/* The same, or NULL for None. */
static void *taken_if_any(fg_arrays *arrays, PyObject *object,
                          Py_ssize_t *items, Py_ssize_t width, int writable) {
  if (object == Py_None) return NULL;
  return taken(arrays, object, items, width, writable);
}

static PyObject *done(fg_arrays *arrays) {
  int i;
  for (i = 0; i < arrays->count; i++) PyBuffer_Release(arrays->views + i);
  if (arrays->failed || PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

static int has_arguments(Py_ssize_t given, Py_ssize_t wanted) {
  if (given == wanted) return 1;
  PyErr_Format(PyExc_TypeError, "%zd arguments, need %zd", given, wanted);
  return 0;
}

/* The largest logit of a row, and the sum of all powers. */
static int64_t sum_of_powers(const int64_t *power, const int8_t *row,
                             Py_ssize_t outputs, int *top) {
  int64_t total = 0;
  Py_ssize_t i;
  int most = row[0];
  for (i = 1; i < outputs; i++) most = row[i] > most ? row[i] : most;
  for (i = 0; i < outputs; i++) total += power[(most - row[i]) & 255];
  *top = most;
  return total;
}

/* cross_entropy(distance, power, logits, labels, out, sums): the loss of every
 * sample under every array of `logits`, or their sums a pass.
 *
 * distance, power: int64 [256]. logits: a sequence of int8 [N, C]. labels:
 * int64 [N]. out: int64 [P, N], or [P] for sums. */
static PyObject *cross_entropy(PyObject *self, PyObject *const *args,
                               Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t table = 256, samples = -1, passes, outs, pass, n;
  const int64_t *distance, *power, *labels;
  int64_t *out;
  int sums;
  (void)self;
  if (!has_arguments(given, 6)) return NULL;
  sums = PyObject_IsTrue(args[5]);
  passes = PySequence_Size(args[2]);
  if (passes < 0) return NULL;
  distance = taken(&arrays, args[0], &table, 8, 0);
  power = taken(&arrays, args[1], &table, 8, 0);
  labels = taken(&arrays, args[3], &samples, 8, 0);
  outs = sums ? passes : passes * samples;
  out = taken(&arrays, args[4], &outs, 8, 1);
  for (pass = 0; !arrays.failed && pass < passes; pass++) {
    PyObject *rows = PySequence_GetItem(args[2], pass);
    int kept = arrays.count;
    Py_ssize_t count = -1, outputs;
    const int8_t *row;
    int64_t total = 0;
    if (!rows) {
      arrays.failed = 1;
      break;
    }
    row = taken(&arrays, rows, &count, 1, 0);
    Py_DECREF(rows); /* the buffer holds it */
    if (arrays.failed) break;
    outputs = samples ? count / samples : 0;
    if (!samples || outputs * samples != count || outputs < 1) {
      PyErr_SetString(PyExc_ValueError, "logits and labels of other samples");
      arrays.failed = 1;
      break;
    }
    for (n = 0; n < samples; n++, row += outputs) {
      int top;
      int64_t loss;
      uint64_t powers =
          (uint64_t)sum_of_powers(power, row, outputs, &top);
      if (labels[n] < 0 || labels[n] >= outputs) {
        PyErr_SetString(PyExc_ValueError, "a label that is no class");
        arrays.failed = 1;
        break;
      }
      loss = fg_log2(powers) + distance[(top - row[labels[n]]) & 255];
      total += loss;
      if (!sums) out[pass * samples + n] = loss;
    }
    if (sums && !arrays.failed) out[pass] = total;
    PyBuffer_Release(arrays.views + kept);
    arrays.count = kept;
  }
  return done(&arrays);
}

/* residual(power, logits, labels, out): softmax minus the one-hot label.
 *
 * power: int64 [256]. logits: int8 [N, C]. labels: int64 [N]. out: int64
 * [N, C], Q16. */
static PyObject *residual(PyObject *self, PyObject *const *args,
                          Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t table = 256, samples = -1, count = -1, outputs, n, i;
  const int64_t *power, *labels;
  const int8_t *row;
  int64_t *out;
  (void)self;
  if (!has_arguments(given, 4)) return NULL;
  power = taken(&arrays, args[0], &table, 8, 0);
  row = taken(&arrays, args[1], &count, 1, 0);
  labels = taken(&arrays, args[2], &samples, 8, 0);
  out = taken(&arrays, args[3], &count, 8, 1);
  outputs = arrays.failed || !samples ? 0 : count / samples;
  for (n = 0; outputs && n < samples; n++, row += outputs, out += outputs) {
    int top;
    int64_t total = sum_of_powers(power, row, outputs, &top);
    if (labels[n] < 0 || labels[n] >= outputs) {
      PyErr_SetString(PyExc_ValueError, "a label that is no class");
      arrays.failed = 1;
      break;
    }
    for (i = 0; i < outputs; i++) {
      out[i] = (int64_t)(((uint64_t)power[(top - row[i]) & 255] << 16) /
                         (uint64_t)total);
    }
    out[labels[n]] -= 1 << 16;
  }
  return done(&arrays);
}

/* perturb(kernels, biases, drawn, kernel_units, bias_units, out_kernels,
 * out_biases): the engine's numbers at params + z units and params - z units.
 *
 * kernels: int16 [K]. biases: int32 [B]. drawn: int8 [m, K + B]. kernel_units:
 * int32 [K]. bias_units: int64 [B]. Out: int8 [m, 2, K] and int32 [m, 2, B]. */
static PyObject *perturb(PyObject *self, PyObject *const *args,
                         Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t kernels = -1, biases = -1, numbers = -1, outs, i, m, directions;
  const int16_t *kernel;
  const int32_t *bias, *kernel_unit;
  const int64_t *bias_unit;
  const int8_t *z;
  int8_t *out_kernel;
  int32_t *out_bias;
  (void)self;
  if (!has_arguments(given, 7)) return NULL;
  kernel = taken(&arrays, args[0], &kernels, 2, 0);
  bias = taken(&arrays, args[1], &biases, 4, 0);
  z = taken(&arrays, args[2], &numbers, 1, 0);
  kernel_unit = taken(&arrays, args[3], &kernels, 4, 0);
  bias_unit = taken(&arrays, args[4], &biases, 8, 0);
  directions = arrays.failed || kernels + biases == 0
                   ? 0
                   : numbers / (kernels + biases);
  outs = 2 * directions * kernels;
  out_kernel = taken(&arrays, args[5], &outs, 1, 1);
  outs = 2 * directions * biases;
  out_bias = taken(&arrays, args[6], &outs, 4, 1);
  if (arrays.failed) return done(&arrays);
  for (m = 0; m < directions; m++) {
    int8_t *plus = out_kernel + 2 * m * kernels, *minus = plus + kernels;
    int32_t *up = out_bias + 2 * m * biases, *down = up + biases;
    for (i = 0; i < kernels; i++) {
      int32_t away = kernel_unit[i] * z[i];
      int32_t high = (kernel[i] + away + 128) >> 8;
      int32_t low = (kernel[i] - away + 128) >> 8;
      high = high > 127 ? 127 : high;
      low = low > 127 ? 127 : low;
      plus[i] = (int8_t)(high < -127 ? -127 : high);
      minus[i] = (int8_t)(low < -127 ? -127 : low);
    }
    z += kernels;
    for (i = 0; i < biases; i++) {
      int64_t away = bias_unit[i] * z[i];
      up[i] = (int32_t)fg_clip(bias[i] + away, INT32_MIN, INT32_MAX);
      down[i] = (int32_t)fg_clip(bias[i] - away, INT32_MIN, INT32_MAX);
    }
    z += biases;
  }
  return done(&arrays);
}

/* mean_direction(drawn, slopes, divisor, out): sums of directions by slopes,
 * divided and rounded.
 *
 * drawn: int8 [m, n]. slopes: int64 [m]. out: int64 [n]. */
static PyObject *mean_direction(PyObject *self, PyObject *const *args,
                                Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t directions = -1, count = -1, numbers = -1, i, m;
  const int8_t *drawn;
  const int64_t *slopes;
  int64_t *out, divisor;
  (void)self;
  if (!has_arguments(given, 4)) return NULL;
  divisor = PyLong_AsLongLong(args[2]);
  if (PyErr_Occurred()) return NULL;
  slopes = taken(&arrays, args[1], &directions, 8, 0);
  out = taken(&arrays, args[3], &numbers, 8, 1);
  count = directions * numbers;
  drawn = taken(&arrays, args[0], &count, 1, 0);
  if (!arrays.failed && divisor < 1) {
    PyErr_SetString(PyExc_ValueError, "a divisor under 1");
    arrays.failed = 1;
  }
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < numbers; i++) out[i] = 0;
  for (m = 0; m < directions; m++, drawn += numbers) {
    for (i = 0; i < numbers; i++) out[i] += drawn[i] * slopes[m];
  }
  if (divisor > 1) {
    for (i = 0; i < numbers; i++) out[i] = fg_round_divide(out[i], divisor);
  }
  return done(&arrays);
}

static int64_t moved(int64_t gradient, int64_t units, int64_t rate,
                     int64_t momentum, int by_sign, int64_t *velocity,
                     int64_t low, int64_t high) {
  int64_t move;
  if (by_sign && !momentum) {
    move = -gradient;
  } else {
    move = fg_scaled_move(gradient, -units, by_sign ? 1 << 16 : rate);
  }
  if (momentum) {
    move = fg_clip(move + fg_decayed(*velocity, momentum), low, high);
    *velocity = move;
  }
  if (by_sign) {
    move = fg_scaled_move(((move > 0) - (move < 0)) * (int64_t)65536, units,
                          rate);
  }
  return fg_round_shift(move, 4);
}

/* step(gradient_kernels, gradient_biases, units, rate, momentum, by_sign,
 * velocity_kernels, velocity_biases, out_kernels, out_biases,
 * new_velocity_kernels, new_velocity_biases): updates in whole units, and the
 * new velocity.
 *
 * Gradients: int64 [K] and [B], Q16. units: int64 [K + B]. rate: Q16.
 * Velocities: int16 [K] and int32 [B], None without momentum. Updates: int64
 * [K] and [B]. */
static PyObject *step(PyObject *self, PyObject *const *args,
                      Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t kernels = -1, biases = -1, all, i;
  const int64_t *kernel_slope, *bias_slope, *units;
  const int16_t *kernel_before;
  const int32_t *bias_before;
  int16_t *kernel_after;
  int32_t *bias_after;
  int64_t *kernel_out, *bias_out, rate, momentum, velocity = 0;
  int by_sign;
  (void)self;
  if (!has_arguments(given, 12)) return NULL;
  rate = PyLong_AsLongLong(args[3]);
  momentum = PyLong_AsLongLong(args[4]);
  by_sign = PyObject_IsTrue(args[5]);
  if (PyErr_Occurred()) return NULL;
  kernel_slope = taken(&arrays, args[0], &kernels, 8, 0);
  bias_slope = taken(&arrays, args[1], &biases, 8, 0);
  all = kernels + biases;
  units = taken(&arrays, args[2], &all, 8, 0);
  kernel_before = taken_if_any(&arrays, args[6], &kernels, 2, 0);
  bias_before = taken_if_any(&arrays, args[7], &biases, 4, 0);
  kernel_out = taken(&arrays, args[8], &kernels, 8, 1);
  bias_out = taken(&arrays, args[9], &biases, 8, 1);
  kernel_after = taken_if_any(&arrays, args[10], &kernels, 2, 1);
  bias_after = taken_if_any(&arrays, args[11], &biases, 4, 1);
  if (!arrays.failed && momentum &&
      (!kernel_before || !bias_before || !kernel_after || !bias_after)) {
    PyErr_SetString(PyExc_ValueError, "momentum without a velocity");
    arrays.failed = 1;
  }
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < kernels; i++) {
    if (momentum) velocity = kernel_before[i];
    kernel_out[i] = moved(kernel_slope[i], units[i], rate, momentum, by_sign,
                          &velocity, INT16_MIN, INT16_MAX);
    if (momentum) kernel_after[i] = (int16_t)velocity;
  }
  for (i = 0; i < biases; i++) {
    if (momentum) velocity = bias_before[i];
    bias_out[i] = moved(bias_slope[i], units[kernels + i], rate, momentum,
                        by_sign, &velocity, INT32_MIN, INT32_MAX);
    if (momentum) bias_after[i] = (int32_t)velocity;
  }
  return done(&arrays);
}

/* apply(kernels, biases, kernel_updates, bias_updates, out_kernels,
 * out_biases): the masters behind a step.
 *
 * kernels: int16 [K]. biases: int32 [B]. Updates: int64. Out: as they are. */
static PyObject *apply(PyObject *self, PyObject *const *args,
                       Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t kernels = -1, biases = -1, i;
  const int16_t *kernel;
  const int32_t *bias;
  const int64_t *kernel_update, *bias_update;
  int16_t *new_kernel;
  int32_t *new_bias;
  (void)self;
  if (!has_arguments(given, 6)) return NULL;
  kernel = taken(&arrays, args[0], &kernels, 2, 0);
  bias = taken(&arrays, args[1], &biases, 4, 0);
  kernel_update = taken(&arrays, args[2], &kernels, 8, 0);
  bias_update = taken(&arrays, args[3], &biases, 8, 0);
  new_kernel = taken(&arrays, args[4], &kernels, 2, 1);
  new_bias = taken(&arrays, args[5], &biases, 4, 1);
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < kernels; i++) {
    new_kernel[i] = (int16_t)fg_clip(kernel[i] + kernel_update[i],
                                     -FG_MASTER_MAX, FG_MASTER_MAX);
  }
  for (i = 0; i < biases; i++) {
    new_bias[i] =
        (int32_t)fg_clip(bias[i] + bias_update[i], INT32_MIN, INT32_MAX);
  }
  return done(&arrays);
}

/* Wider vectors where the machine has them; a sum of integers is the same. */
#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && \
    !defined(__clang__)
#define FG_WIDER __attribute__((target_clones("avx2", "default")))
#else
#define FG_WIDER
#endif

enum { FG_CHUNK = 256 }; /* products of 22 bits, summed in 31 */

FG_WIDER static int32_t dot(const int16_t *x, const int16_t *y,
                            Py_ssize_t count) {
  int32_t sum = 0;
  Py_ssize_t i;
  for (i = 0; i < count; i++) sum += x[i] * y[i];
  return sum;
}

/* product(residual, x, high, low, out, samples): residual.T @ x, exact.
 *
 * residual: int64 [N, C]. x: int16 [D, N], at most 511 either way. high, low:
 * int16 [C, N], to work in. out: int64 [C, D]. False, and nothing of use, where
 * a residual has more than 21 bits. */
static PyObject *product(PyObject *self, PyObject *const *args,
                         Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t all = -1, count = -1, both, samples, outputs, dim, n, c, d, at;
  const int64_t *residual;
  const int16_t *x;
  int16_t *high, *low;
  int64_t *out;
  PyObject *ended;
  int fits = 1;
  (void)self;
  if (!has_arguments(given, 6)) return NULL;
  samples = PyLong_AsSsize_t(args[5]);
  if (PyErr_Occurred()) return NULL;
  residual = taken(&arrays, args[0], &all, 8, 0);
  x = taken(&arrays, args[1], &count, 2, 0);
  high = taken(&arrays, args[2], &all, 2, 1);
  low = taken(&arrays, args[3], &all, 2, 1);
  outputs = samples > 0 ? all / samples : 0;
  dim = samples > 0 ? count / samples : 0;
  both = outputs * dim;
  out = taken(&arrays, args[4], &both, 8, 1);
  if (!arrays.failed && (outputs * samples != all || dim * samples != count)) {
    PyErr_SetString(PyExc_ValueError, "arrays of other samples");
    arrays.failed = 1;
  }
  if (arrays.failed) return done(&arrays);
  for (n = 0; n < samples; n++) {
    for (c = 0; c < outputs; c++) {
      int64_t own = residual[n * outputs + c];
      fits &= own > -(1 << 21) && own < 1 << 21;
      high[c * samples + n] = (int16_t)(own >> 8);
      low[c * samples + n] = (int16_t)(own & 255);
    }
  }
  for (c = 0; fits && c < outputs; c++) {
    for (d = 0; d < dim; d++) {
      int64_t sum = 0;
      for (at = 0; at < samples; at += FG_CHUNK) {
        Py_ssize_t some = samples - at < FG_CHUNK ? samples - at : FG_CHUNK;
        const int16_t *column = x + d * samples + at;
        sum += (int64_t)dot(high + c * samples + at, column, some) * 256;
        sum += dot(low + c * samples + at, column, some);
      }
      out[c * dim + d] = sum;
    }
  }
  ended = done(&arrays);
  if (!ended) return NULL;
  Py_DECREF(ended);
  return PyBool_FromLong(fits);
}

/* scaled(sums, factors, bits, out): sums times factors / 2**bits, rounded.
 *
 * All int64 [n]; factors have up to 17 bits. */
static PyObject *scaled(PyObject *self, PyObject *const *args,
                        Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t count = -1, i;
  const int64_t *sums, *factors, *bits;
  int64_t *out;
  (void)self;
  if (!has_arguments(given, 4)) return NULL;
  sums = taken(&arrays, args[0], &count, 8, 0);
  factors = taken(&arrays, args[1], &count, 8, 0);
  bits = taken(&arrays, args[2], &count, 8, 0);
  out = taken(&arrays, args[3], &count, 8, 1);
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < count; i++) {
    fg_factor factor;
    factor.mantissa = factors[i];
    factor.bits = 0;
    out[i] = fg_scaled(sums[i], factor, (int)bits[i]);
  }
  return done(&arrays);
}

/* pulled(kernels, biases, start_kernels, start_biases, centre, units,
 * kernel_factor, bias_factor, slopes): adds a pull to slopes.
 *
 * kernels: int16 [C, D]. biases: int32 [C]. The starts as they are. centre:
 * int64 [D], empty for none. units: int64 [K + B]. slopes: int64 [K + B]. */
static PyObject *pulled(PyObject *self, PyObject *const *args,
                        Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t kernels = -1, biases = -1, dim = -1, all, c, d, i;
  const int16_t *kernel, *kernel_start;
  const int32_t *bias, *bias_start;
  const int64_t *centre, *units;
  int64_t *slopes, kernel_factor, bias_factor;
  const int64_t far = (int64_t)1 << 36;
  (void)self;
  if (!has_arguments(given, 9)) return NULL;
  kernel_factor = PyLong_AsLongLong(args[6]);
  bias_factor = PyLong_AsLongLong(args[7]);
  if (PyErr_Occurred()) return NULL;
  kernel = taken(&arrays, args[0], &kernels, 2, 0);
  bias = taken(&arrays, args[1], &biases, 4, 0);
  kernel_start = taken(&arrays, args[2], &kernels, 2, 0);
  bias_start = taken(&arrays, args[3], &biases, 4, 0);
  centre = taken(&arrays, args[4], &dim, 8, 0);
  all = kernels + biases;
  units = taken(&arrays, args[5], &all, 8, 0);
  slopes = taken(&arrays, args[8], &all, 8, 1);
  if (!arrays.failed && dim && dim * biases != kernels) {
    PyErr_SetString(PyExc_ValueError, "a centre of another head");
    arrays.failed = 1;
  }
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < kernels; i++) {
    int64_t away = fg_clip((int64_t)kernel[i] - kernel_start[i], -far, far);
    int64_t whole = (units[i] > 1 ? units[i] : 1) * 256;
    slopes[i] += fg_round_divide(away * kernel_factor, whole);
  }
  for (c = 0; c < biases; c++) {
    int64_t away = (int64_t)bias[c] - bias_start[c], at_mean = 0, whole;
    for (d = 0; d < dim; d++) {
      i = c * dim + d;
      at_mean += ((int64_t)kernel[i] - kernel_start[i]) * centre[d];
    }
    if (dim) away += fg_round_shift(at_mean, 8);
    whole = (units[kernels + c] > 1 ? units[kernels + c] : 1) * 256;
    slopes[kernels + c] +=
        fg_round_divide(fg_clip(away, -far, far) * bias_factor, whole);
  }
  return done(&arrays);
}

/* narrow(kernels, out): int8 kernels of int16 masters; a file's own -128 stays.
 */
static PyObject *narrow(PyObject *self, PyObject *const *args,
                        Py_ssize_t given) {
  fg_arrays arrays = {.count = 0, .failed = 0};
  Py_ssize_t count = -1, i;
  const int16_t *kernels;
  int8_t *out;
  (void)self;
  if (!has_arguments(given, 2)) return NULL;
  kernels = taken(&arrays, args[0], &count, 2, 0);
  out = taken(&arrays, args[1], &count, 1, 1);
  if (arrays.failed) return done(&arrays);
  for (i = 0; i < count; i++) {
    out[i] = kernels[i] == -32768 ? -128 : fg_narrow(kernels[i]);
  }
  return done(&arrays);
}

#define FG_FUNCTION(name) \
  {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

static PyMethodDef functions[] = {
    FG_FUNCTION(cross_entropy), FG_FUNCTION(residual),
    FG_FUNCTION(perturb),       FG_FUNCTION(mean_direction),
    FG_FUNCTION(step),          FG_FUNCTION(apply),
    FG_FUNCTION(product),       FG_FUNCTION(scaled),
    FG_FUNCTION(pulled),        FG_FUNCTION(narrow),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The hot loops of training in C; see native.py.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void) {
  PyObject *module = PyModule_Create(&definition);
  if (module && PyModule_AddStringConstant(module, "SOURCES", FG_SOURCES)) {
    Py_DECREF(module);
    return NULL;
  }
  return module;
}
