#include "forward.h"

#include <stddef.h>

/* C99 leaves the right shift of a negative number to the compiler. */
typedef char fg_forward_shifts_are_arithmetic[((-1) >> 1) == -1 ? 1 : -1];

int32_t fg_rescale(int32_t sum, int32_t multiplier, int shift) {
  int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  int32_t wide = (int32_t)((uint32_t)sum << left);
  int64_t product = (int64_t)wide * multiplier;
  int64_t half = product < 0 ? 1 - ((int64_t)1 << 30) : (int64_t)1 << 30;
  /* First to the nearest 1 / 2^31, ties away from zero; then by the shift. */
  int32_t high = (int32_t)((product + half) / ((int64_t)1 << 31));
  int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
  int32_t rest = high & mask, most = (mask >> 1) + (high < 0);
  return (high >> right) + (rest > most);
}

int32_t fg_rescale_once(int32_t sum, int32_t multiplier, int shift) {
  int right = 31 - shift;
  int64_t half = (int64_t)1 << (right - 1);
  return (int32_t)(((int64_t)sum * multiplier + half) >> right);
}

#ifdef FG_LITERT_ROUNDING
#define DENSE_RESCALE fg_rescale_once
#else
#define DENSE_RESCALE fg_rescale
#endif

static int8_t clipped(int32_t value, const fg_layer *layer) {
  if (value < layer->low) value = layer->low;
  if (value > layer->high) value = layer->high;
  return (int8_t)value;
}

static uint32_t size_of(const fg_values *tensor) {
  return (uint32_t)tensor->height * tensor->width * tensor->channels;
}

int8_t *fg_network_tensor(const fg_network *network, uint16_t tensor,
                          int8_t *arena) {
  return arena + network->tensors[tensor].offset;
}

static const int8_t *read(const fg_network *network, uint8_t tensor,
                          const int8_t *arena) {
  const fg_values *facts = network->tensors + tensor;
  return facts->held != NULL ? facts->held : arena + facts->offset;
}

/* What a layer reads and writes. */
typedef struct ends {
  const fg_values *from, *other, *to;
  const int8_t *x, *y;
  int8_t *out;
} ends;

static int8_t finished(const fg_layer *layer, const fg_values *to,
                       int32_t sum, uint32_t channel) {
  uint32_t scale = layer->scales > 1 ? channel : 0;
  int32_t multiplier = layer->multipliers[scale];
  int shift = layer->shifts[scale];
  if (layer->bias != NULL) sum += layer->bias[channel];
  sum = layer->kind == FG_FULLY_CONNECTED
            ? DENSE_RESCALE(sum, multiplier, shift)
            : fg_rescale(sum, multiplier, shift);
  return clipped(sum + to->zero_point, layer);
}

/* Sum of (x - zero) * k over `count` pairs that lie so many bytes apart. */
static int32_t dot(const int8_t *x, const int8_t *k, uint32_t count,
                   uint32_t x_step, uint32_t k_step, int32_t zero) {
  int32_t sum = 0;
  for (; count; count--, x += x_step, k += k_step) sum += (*x - zero) * *k;
  return sum;
}

/* The same of neighbours, which is most of the work. */
static int32_t dot_row(const int8_t *x, const int8_t *k, uint32_t count,
                       int32_t zero) {
  int32_t sum = 0;
  for (; count >= 4; count -= 4, x += 4, k += 4) {
    sum += (x[0] - zero) * k[0] + (x[1] - zero) * k[1] +
           (x[2] - zero) * k[2] + (x[3] - zero) * k[3];
  }
  return sum + dot(x, k, count, 1, 1, zero);
}

static void fully_connected(const fg_layer *layer, const ends *e) {
  uint32_t inputs = layer->depth, outputs = e->to->channels;
  uint32_t rows = size_of(e->from) / inputs, row, c;
  for (row = 0; row < rows; row++) {
    const int8_t *x = e->x + row * inputs;
    for (c = 0; c < outputs; c++) {
      int32_t sum = dot_row(x, layer->kernel + c * inputs, inputs,
                            e->from->zero_point);
      e->out[row * outputs + c] = finished(layer, e->to, sum, c);
    }
  }
}

/* The part of a filter's window that lies inside the input. */
typedef struct window {
  int32_t top, left;                      /* of the window, in the input */
  int32_t first_y, end_y, first_x, end_x; /* of the filter's rows, columns */
} window;

static int32_t first_inside(int32_t start, int32_t step) {
  return start < 0 ? (-start + step - 1) / step : 0;
}

static int32_t end_inside(int32_t start, int32_t step, int32_t size,
                          int32_t filter) {
  int32_t left = size - start, end;
  if (left <= 0) return 0;
  end = (left + step - 1) / step;
  return end < filter ? end : filter;
}

static window window_at(const fg_layer *layer, const fg_values *from, int32_t y,
                        int32_t x) {
  window w;
  w.top = y * layer->stride_height - layer->pad_top;
  w.left = x * layer->stride_width - layer->pad_left;
  w.first_y = first_inside(w.top, layer->dilation_height);
  w.first_x = first_inside(w.left, layer->dilation_width);
  w.end_y = end_inside(w.top, layer->dilation_height, from->height,
                       layer->filter_height);
  w.end_x = end_inside(w.left, layer->dilation_width, from->width,
                       layer->filter_width);
  return w;
}

/* The input's values at a row and a column of the filter. */
static const int8_t *under(const fg_layer *layer, const ends *e,
                           const window *w, int32_t fy, int32_t fx) {
  int32_t y = w->top + fy * layer->dilation_height;
  int32_t x = w->left + fx * layer->dilation_width;
  return e->x + ((uint32_t)y * e->from->width + (uint32_t)x) *
                    e->from->channels;
}

static int32_t conv_sum(const fg_layer *layer, const ends *e, const window *w,
                        uint32_t channel) {
  uint32_t depth = layer->depth, groups = e->from->channels / depth;
  uint32_t first = channel / (e->to->channels / groups) * depth;
  uint32_t row = layer->filter_width * depth;
  int32_t sum = 0, zero = e->from->zero_point, fy, fx;
  const int8_t *kernel = layer->kernel + channel * layer->filter_height * row;
  if (w->end_x <= w->first_x) return 0;
  for (fy = w->first_y; fy < w->end_y; fy++) {
    const int8_t *k = kernel + (uint32_t)fy * row;
    if (groups == 1 && layer->dilation_width == 1) { /* a row without gaps */
      uint32_t count = (uint32_t)(w->end_x - w->first_x) * depth;
      sum += dot_row(under(layer, e, w, fy, w->first_x),
                     k + (uint32_t)w->first_x * depth, count, zero);
      continue;
    }
    for (fx = w->first_x; fx < w->end_x; fx++) {
      sum += dot_row(under(layer, e, w, fy, fx) + first,
                     k + (uint32_t)fx * depth, depth, zero);
    }
  }
  return sum;
}

static int32_t depthwise_sum(const fg_layer *layer, const ends *e,
                             const window *w, uint32_t channel) {
  uint32_t channels = e->to->channels, from = channel / layer->depth;
  int32_t sum = 0, fy;
  if (w->end_x <= w->first_x) return 0;
  for (fy = w->first_y; fy < w->end_y; fy++) {
    uint32_t at = (uint32_t)fy * layer->filter_width + (uint32_t)w->first_x;
    sum += dot(under(layer, e, w, fy, w->first_x) + from,
               layer->kernel + at * channels + channel,
               (uint32_t)(w->end_x - w->first_x),
               (uint32_t)layer->dilation_width * e->from->channels, channels,
               e->from->zero_point);
  }
  return sum;
}

static int8_t average(const fg_layer *layer, const ends *e, const window *w,
                      uint32_t channel) {
  int32_t sum = 0, count = 0, fy, fx;
  for (fy = w->first_y; fy < w->end_y; fy++) {
    for (fx = w->first_x; fx < w->end_x; fx++, count++) {
      sum += under(layer, e, w, fy, fx)[channel];
    }
  }
  if (count == 0) return clipped(0, layer);
  sum += sum > 0 ? count / 2 : -(count / 2);
  return clipped(sum / count, layer);
}

static int8_t largest(const fg_layer *layer, const ends *e, const window *w,
                      uint32_t channel) {
  int32_t most = -128, fy, fx;
  for (fy = w->first_y; fy < w->end_y; fy++) {
    for (fx = w->first_x; fx < w->end_x; fx++) {
      int8_t value = under(layer, e, w, fy, fx)[channel];
      if (value > most) most = value;
    }
  }
  return clipped(most, layer);
}

/* All layers that move a window over the input. */
static void windows(const fg_layer *layer, const ends *e) {
  int32_t y, x;
  uint32_t c, channels = e->to->channels;
  int8_t *out = e->out;
  for (y = 0; y < e->to->height; y++) {
    for (x = 0; x < e->to->width; x++) {
      window w = window_at(layer, e->from, y, x);
      for (c = 0; c < channels; c++) {
        switch (layer->kind) {
          case FG_CONV_2D:
            *out++ = finished(layer, e->to, conv_sum(layer, e, &w, c), c);
            break;
          case FG_DEPTHWISE_CONV_2D:
            *out++ = finished(layer, e->to, depthwise_sum(layer, e, &w, c), c);
            break;
          case FG_AVERAGE_POOL_2D:
            *out++ = average(layer, e, &w, c);
            break;
          default:
            *out++ = largest(layer, e, &w, c);
        }
      }
    }
  }
}

static void mean(const fg_layer *layer, const ends *e) {
  uint32_t channels = e->from->channels, c, i;
  uint32_t positions = (uint32_t)e->from->height * e->from->width;
  for (c = 0; c < channels; c++) {
    int32_t sum = 0;
    for (i = 0; i < positions; i++) sum += e->x[i * channels + c];
    sum -= (int32_t)positions * e->from->zero_point;
    e->out[c] = finished(layer, e->to, sum, 0);
  }
}

/* Steps in values from one row, column and channel to the next; 0 repeats. */
typedef struct steps {
  uint32_t row, column, channel;
} steps;

static steps steps_of(const fg_values *tensor) {
  steps s;
  s.row = tensor->height > 1 ? (uint32_t)tensor->width * tensor->channels : 0;
  s.column = tensor->width > 1 ? tensor->channels : 0;
  s.channel = tensor->channels > 1;
  return s;
}

static int8_t joined(const fg_layer *layer, const ends *e, int32_t x,
                     int32_t y) {
  const int32_t *m = layer->multipliers;
  x -= e->from->zero_point;
  y -= e->other->zero_point;
  if (layer->kind == FG_MUL) {
    x = fg_rescale(x * y, m[0], layer->shifts[0]);
  } else {
    x = fg_rescale(x * (1 << 20), m[0], layer->shifts[0]) +
        fg_rescale(y * (1 << 20), m[1], layer->shifts[1]);
    x = fg_rescale(x, m[2], layer->shifts[2]);
  }
  return clipped(x + e->to->zero_point, layer);
}

/* ADD and MUL; an input of size 1 along an axis is repeated along it. */
static void elementwise(const fg_layer *layer, const ends *e) {
  steps a = steps_of(e->from), b = steps_of(e->other);
  uint32_t y, x, c;
  int8_t *out = e->out;
  for (y = 0; y < e->to->height; y++) {
    for (x = 0; x < e->to->width; x++) {
      const int8_t *p = e->x + y * a.row + x * a.column;
      const int8_t *q = e->y + y * b.row + x * b.column;
      for (c = 0; c < e->to->channels; c++) {
        *out++ = joined(layer, e, p[c * a.channel], q[c * b.channel]);
      }
    }
  }
}

static void moved(const ends *e) {
  uint32_t i, count = size_of(e->to);
  for (i = 0; i < count; i++) e->out[i] = e->x[i];
}

int fg_network_run(const fg_network *network, int8_t *arena) {
  uint16_t i;
  for (i = 0; i < network->num_layers; i++) {
    const fg_layer *layer = network->layers + i;
    ends e;
    e.from = network->tensors + layer->inputs[0];
    e.other = network->tensors + layer->inputs[1];
    e.to = network->tensors + layer->output;
    e.x = read(network, layer->inputs[0], arena);
    e.y = read(network, layer->inputs[1], arena);
    e.out = arena + e.to->offset;
    switch (layer->kind) {
      case FG_FULLY_CONNECTED: fully_connected(layer, &e); break;
      case FG_CONV_2D:
      case FG_DEPTHWISE_CONV_2D:
      case FG_AVERAGE_POOL_2D:
      case FG_MAX_POOL_2D: windows(layer, &e); break;
      case FG_MEAN: mean(layer, &e); break;
      case FG_RESHAPE: moved(&e); break;
      case FG_ADD:
      case FG_MUL: elementwise(layer, &e); break;
      default: return -1;
    }
  }
  return 0;
}
