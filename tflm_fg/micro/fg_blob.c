/* Reads and checks a blob. Nothing in it is trusted: whatever its checksum
 * says, no place outside of it and no number out of its range is used. */
#include "fg_core.h"

const uint32_t *fg_tensor_of(const uint32_t *blob, uint32_t number) {
  return blob + blob[FG_W_TENSOR_TABLE] + number * FG_TENSOR_WORDS;
}

int32_t fg_step_units(const uint32_t *blob, const uint32_t *tensor,
                      uint32_t i) {
  const uint32_t *steps = blob + tensor[FG_T_STEPS];
  return (int32_t)steps[i / tensor[FG_T_INNER] % tensor[FG_T_CHANNELS]];
}

int32_t fg_start_of(const uint32_t *blob, const uint32_t *tensor, uint32_t i) {
  const uint32_t *start = blob + tensor[FG_T_START];
  uint32_t byte;
  if (fg_is_bias(tensor)) return (int32_t)start[i];
  byte = start[i / 4] >> (8 * (i % 4)) & 255;
  return byte < 128 ? (int32_t)byte : (int32_t)byte - 256;
}

void fg_read_loss(const uint32_t *blob, int gained, fg_loss *loss) {
  const uint32_t *tables = blob + blob[gained ? FG_W_GAIN_TABLES : FG_W_TABLES];
  loss->kind = (fg_loss_kind)blob[FG_W_LOSS];
  loss->outputs = (int32_t)blob[FG_W_OUTPUTS];
  loss->zero_point = (int32_t)blob[FG_W_ZERO_POINT];
  loss->distance = (const int32_t *)tables;
  loss->power = loss->distance + 256;
  loss->sure = loss->distance + 512;
  loss->bits_a_step = blob[FG_W_BITS_A_STEP];
}

/* Whether `count` words from a place lie in the blob, behind its header. */
static int lies_in(const uint32_t *blob, uint32_t place, uint32_t count) {
  uint32_t words = blob[FG_W_BYTES] / 4;
  return place >= FG_HEADER_WORDS && place <= words &&
         count <= words - place;
}

static int is_int8(uint32_t word) {
  int32_t value = (int32_t)word;
  return value >= -128 && value <= 127;
}

static int is_within(uint32_t value, uint32_t low, uint32_t high) {
  return value >= low && value <= high;
}

static int all_within(const uint32_t *words, uint32_t count, uint32_t most) {
  while (count--) {
    if (words[count] > most) return 0;
  }
  return 1;
}

static int has_good_tables(const uint32_t *blob, uint32_t place) {
  uint32_t count = fg_is_binary((fg_loss_kind)blob[FG_W_LOSS]) ? 768 : 512;
  const uint32_t *tables = blob + place;
  if (!lies_in(blob, place, count)) return 0;
  /* The largest logit's own power is 1, so that no sum of them is zero. */
  if (count == 512 && tables[256] != 1u << 24) return 0;
  return all_within(tables, 256, 1u << 30) &&
         all_within(tables + 256, 256, 1u << 24) &&
         (count == 512 || all_within(tables + 512, 256, 1u << 16));
}

static int has_good_tensors(const uint32_t *blob) {
  uint32_t number, firsts[2] = {0, 0};
  if (!is_within(blob[FG_W_TENSORS], 1, FG_MAX_TENSORS)) return 0;
  if (!lies_in(blob, blob[FG_W_TENSOR_TABLE],
               blob[FG_W_TENSORS] * FG_TENSOR_WORDS)) {
    return 0;
  }
  for (number = 0; number < blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(blob, number);
    uint32_t size = tensor[FG_T_SIZE], bias = (uint32_t)fg_is_bias(tensor);
    if (tensor[FG_T_ROLE] > FG_GAIN || !is_within(size, 1, 1u << 24) ||
        tensor[FG_T_FIRST] != firsts[bias] ||
        !is_within(tensor[FG_T_INNER], 1, size) ||
        !is_within(tensor[FG_T_CHANNELS], 1, size) ||
        !lies_in(blob, tensor[FG_T_STEPS], tensor[FG_T_CHANNELS]) ||
        !all_within(blob + tensor[FG_T_STEPS], tensor[FG_T_CHANNELS],
                    bias ? INT32_MAX : 256) ||
        !lies_in(blob, tensor[FG_T_START], bias ? size : (size + 3) / 4)) {
      return 0;
    }
    firsts[bias] += size;
    if (firsts[bias] > 1u << 24) return 0;
  }
  return firsts[0] == blob[FG_W_KERNELS] && firsts[1] == blob[FG_W_BIASES];
}

/* A head is a kernel [outputs][dim], its bias [outputs], or both. */
static int has_good_head(const uint32_t *blob) {
  uint32_t number, dim = blob[FG_W_DIM], outputs = blob[FG_W_OUTPUTS];
  if (!is_within(dim, 1, 1u << 16) || !is_int8(blob[FG_W_INPUT_ZERO]) ||
      blob[FG_W_CENTRED] > 1 || !is_within(blob[FG_W_TENSORS], 1, 2) ||
      blob[FG_W_PULL_KERNEL] > 1u << 29 || blob[FG_W_PULL_BIAS] > 1u << 29 ||
      !has_good_tables(blob, blob[FG_W_GAIN_TABLES])) {
    return 0;
  }
  for (number = 0; number < blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(blob, number);
    uint32_t bias = (uint32_t)fg_is_bias(tensor);
    uint32_t factors = blob[bias ? FG_W_BIAS_FACTORS : FG_W_KERNEL_FACTORS];
    int32_t bits = (int32_t)blob[bias ? FG_W_BIAS_BITS : FG_W_KERNEL_BITS];
    if (tensor[FG_T_ROLE] != (number ? FG_BIAS : tensor[FG_T_ROLE]) ||
        tensor[FG_T_ROLE] > FG_BIAS ||
        tensor[FG_T_SIZE] != (bias ? outputs : outputs * dim) ||
        !lies_in(blob, factors, outputs) ||
        !all_within(blob + factors, outputs, 1u << 17) || bits < -128 ||
        bits > 128) {
      return 0;
    }
  }
  return !(blob[FG_W_CENTRED] && blob[FG_W_TENSORS] != 2) &&
         !(blob[FG_W_TENSORS] == 2 && fg_is_bias(fg_tensor_of(blob, 0)));
}

static int has_good_method(const uint32_t *blob) {
  uint32_t number;
  switch (blob[FG_W_METHOD]) {
    case FG_CLOSED_FORM:
      return has_good_head(blob);
    case FG_SIGN_SPSA:
      return blob[FG_W_DIM] == 0 &&
             is_within(blob[FG_W_EPSILON], 1, 127u << 8) &&
             is_within(blob[FG_W_DIRECTIONS], 1, FG_MAX_DIRECTIONS);
    case FG_PER_SAMPLE:
      for (number = 0; number < blob[FG_W_TENSORS]; number++) {
        if (fg_tensor_of(blob, number)[FG_T_ROLE] < FG_OFFSET) return 0;
      }
      return blob[FG_W_DIM] == 0 &&
             is_within(blob[FG_W_EPSILON], 1, 127u << 8) &&
             blob[FG_W_SCANS] <= 64 &&
             (!blob[FG_W_SCANS] ||
              (lies_in(blob, blob[FG_W_SCAN_TABLE], blob[FG_W_SCANS]) &&
               all_within(blob + blob[FG_W_SCAN_TABLE], blob[FG_W_SCANS],
                          127)));
    default:
      return 0;
  }
}

fg_status fg_check_blob(const void *blob, uint32_t blob_bytes) {
  const uint32_t *words = blob;
  uint32_t bytes;
  if (!blob || (uintptr_t)blob % 4) return FG_BAD_ARGUMENT;
  if (blob_bytes < 4 * FG_HEADER_WORDS) return FG_BAD_BLOB;
  bytes = words[FG_W_BYTES];
  if (words[FG_W_MAGIC] != FG_BLOB_MAGIC || words[FG_W_VERSION] != FG_VERSION ||
      bytes % 4 || bytes > blob_bytes || bytes < 4 * FG_HEADER_WORDS ||
      words[FG_W_CRC] != fg_crc(0, words + FG_W_CRC + 1,
                                bytes - 4 * (FG_W_CRC + 1))) {
    return FG_BAD_BLOB;
  }
  if (words[FG_W_LOSS] > FG_BINARY_INFORMATION ||
      !is_within(words[FG_W_OUTPUTS], 1, FG_MAX_OUTPUTS) ||
      !is_int8(words[FG_W_ZERO_POINT]) ||
      !is_within(words[FG_W_STEPS], 1, INT32_MAX) ||
      !is_within(words[FG_W_BATCH], 1, INT32_MAX) ||
      !is_within(words[FG_W_VALIDATE_EVERY], 1, INT32_MAX) ||
      words[FG_W_DECAY] > 1 || words[FG_W_MOMENTUM] > 255 ||
      words[FG_W_OPTIMIZER] > FG_SIGN || words[FG_W_KEEPER] > FG_KEEP_BEST ||
      words[FG_W_BITS_A_STEP] > 1u << 31 ||
      !has_good_tables(words, words[FG_W_TABLES]) || !has_good_tensors(words) ||
      !has_good_method(words)) {
    return FG_BAD_BLOB;
  }
  return FG_OK;
}

fg_status fg_read_info(const void *blob, uint32_t blob_bytes, fg_info *info) {
  const uint32_t *words = blob;
  fg_status status = fg_check_blob(blob, blob_bytes);
  fg_loss_kind kind;
  if (status) return status;
  if (!info) return FG_BAD_ARGUMENT;
  kind = (fg_loss_kind)words[FG_W_LOSS];
  info->method = (fg_method)words[FG_W_METHOD];
  info->outputs = words[FG_W_OUTPUTS];
  info->dim = words[FG_W_DIM];
  info->tensors = words[FG_W_TENSORS];
  info->numbers = words[FG_W_KERNELS] + words[FG_W_BIASES];
  info->steps = words[FG_W_STEPS];
  info->batch = words[FG_W_BATCH];
  info->labels = !fg_takes_labels(kind) ? 0
                 : fg_is_binary(kind)   ? words[FG_W_OUTPUTS]
                                        : 1;
  return FG_OK;
}

fg_status fg_tensor_info(const void *blob, uint32_t blob_bytes, uint32_t number,
                         fg_tensor *tensor) {
  const uint32_t *words = blob;
  fg_status status = fg_check_blob(blob, blob_bytes);
  if (status) return status;
  if (!tensor || number >= words[FG_W_TENSORS]) return FG_BAD_ARGUMENT;
  words = fg_tensor_of(words, number);
  tensor->role = (fg_role)words[FG_T_ROLE];
  tensor->index = words[FG_T_INDEX];
  tensor->size = words[FG_T_SIZE];
  return FG_OK;
}

const char *fg_status_text(fg_status status) {
  static const char *const texts[] = {
      "ok",
      "all steps are taken",
      "a null pointer, or one that is not aligned",
      "not a blob, cut off, changed, or of another version",
      "a label that is no class, or not 0 or 1",
      "no samples, too many, or a part of them is missing",
      "the buffer is smaller than required",
      "the engine failed",
      "the engine does not see a write to a tensor",
      "not what was saved for this blob, cut off or changed",
      "called out of order",
  };
  return (unsigned)status < sizeof texts / sizeof *texts ? texts[status]
                                                         : "unknown status";
}
