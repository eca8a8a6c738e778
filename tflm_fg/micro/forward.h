/* A small int8 network that runs without an inference engine.
 *
 * It runs one sample at a time through a table of layers. The numbers are those
 * of TensorFlow Lite Micro's reference kernels, bit for bit. Built with
 * FG_LITERT_ROUNDING they are those of LiteRT's reference kernels: these round
 * once in a FULLY_CONNECTED, and twice, as TensorFlow Lite Micro, elsewhere.
 * There is no allocation, no float, and nothing global. `tflm_fg.micro` writes
 * the tables from a .tflite.
 */
#ifndef FG_FORWARD_H_
#define FG_FORWARD_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The kinds of layers. */
enum {
  FG_FULLY_CONNECTED = 0,
  FG_CONV_2D = 1,
  FG_DEPTHWISE_CONV_2D = 2,
  FG_AVERAGE_POOL_2D = 3,
  FG_MAX_POOL_2D = 4,
  FG_MEAN = 5, /* over height and width */
  FG_RESHAPE = 6,
  FG_ADD = 7,
  FG_MUL = 8
};

/* One sample's values, int8, channels last. */
typedef struct fg_values {
  uint16_t height, width, channels;
  int16_t zero_point;
  uint32_t offset;    /* where the values lie in the arena, in bytes */
  const int8_t *held; /* a constant's values; NULL for all others */
} fg_values;

/* One layer. What a kind does not need is 0 or NULL. */
typedef struct fg_layer {
  uint8_t kind;
  uint8_t inputs[2]; /* indices of tensors; the second of ADD and MUL only */
  uint8_t output;    /* index of a tensor */
  uint8_t filter_height, filter_width;
  uint8_t stride_height, stride_width;
  uint8_t dilation_height, dilation_width;
  uint8_t pad_top, pad_left;
  int16_t low, high; /* the output is clipped to these */
  uint16_t depth;    /* input channels that a filter reads; of a depthwise
                        layer, output channels for each input channel */
  uint16_t scales;   /* how many multipliers: 1, or one an output channel */
  const int8_t *kernel; /* as in the .tflite; may lie in RAM and change */
  const int32_t *bias;  /* one an output channel, or NULL; may change too */
  const int32_t *multipliers; /* Q31; of ADD: first, second, output */
  const int8_t *shifts;       /* of the multipliers; positive is to the left */
} fg_layer;

/* A network: layers in the order in which they run. */
typedef struct fg_network {
  const fg_values *tensors;
  const fg_layer *layers;
  uint16_t num_tensors, num_layers;
  uint32_t arena_bytes; /* that `fg_network_run` needs */
} fg_network;

/* Where a tensor's values lie.
 *
 * Fill the inputs before every run: their memory is used again by later layers.
 */
int8_t *fg_network_tensor(const fg_network *network, uint16_t tensor,
                          int8_t *arena);

/* Runs all layers for one sample.
 *
 * arena: `arena_bytes` bytes; the inputs are filled in.
 * Returns 0, or -1 for a kind of layer that is unknown.
 */
int fg_network_run(const fg_network *network, int8_t *arena);

/* sum * multiplier / 2^31 * 2^shift, rounded twice or once.
 *
 * sum: any; the product with 2^shift must fit in 32 bits.
 * multiplier: not negative. shift: -31 to 30.
 */
int32_t fg_rescale(int32_t sum, int32_t multiplier, int shift);
int32_t fg_rescale_once(int32_t sum, int32_t multiplier, int shift);

#ifdef __cplusplus
}
#endif

#endif /* FG_FORWARD_H_ */
