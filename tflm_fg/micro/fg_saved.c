/* What was learned, as bytes: seven words, the masters of all tensors in their
 * order, and a checksum of all of it. All numbers are little-endian. */
#include "fg_core.h"

#define FG_SAVED_HEADER 28u

static void put(uint8_t *out, uint32_t value, uint32_t bytes) {
  while (bytes--) {
    *out++ = (uint8_t)value;
    value >>= 8;
  }
}

static uint32_t get(const uint8_t *in, uint32_t bytes) {
  uint32_t value = 0;
  while (bytes--) value = value << 8 | in[bytes];
  return value;
}

static uint64_t saved_bytes_of(const uint32_t *blob) {
  return FG_SAVED_HEADER + 2 * (uint64_t)blob[FG_W_KERNELS] +
         4 * (uint64_t)blob[FG_W_BIASES] + 4;
}

fg_status fg_saved_bytes(const void *blob, uint32_t blob_bytes,
                         uint32_t *bytes) {
  fg_status status = fg_check_blob(blob, blob_bytes);
  if (status) return status;
  if (!bytes) return FG_BAD_ARGUMENT;
  *bytes = (uint32_t)saved_bytes_of(blob);
  return FG_OK;
}

fg_status fg_save(const fg_trainer *t, void *out, uint32_t out_bytes) {
  uint8_t *at = out;
  uint32_t number, i, bytes;
  if (!t || !out) return FG_BAD_ARGUMENT;
  if (t->stage != FG_ENDED) return FG_WRONG_ORDER;
  bytes = (uint32_t)saved_bytes_of(t->blob);
  if (out_bytes < bytes) return FG_SMALL_BUFFER;
  put(at, FG_SAVED_MAGIC, 4);
  put(at + 4, FG_VERSION, 4);
  put(at + 8, bytes, 4);
  put(at + 12, t->blob[FG_W_CRC], 4);
  put(at + 16, t->blob[FG_W_METHOD], 4);
  put(at + 20, t->progress.step, 4);
  put(at + 24, t->progress.kept_step, 4);
  at += FG_SAVED_HEADER;
  for (number = 0; number < t->blob[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(t->blob, number);
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      if (fg_is_bias(tensor)) {
        put(at, (uint32_t)fg_biases(t, number)[i], 4);
        at += 4;
      } else {
        put(at, (uint32_t)fg_master(t, number, i), 2);
        at += 2;
      }
    }
  }
  put(at, fg_crc(0, out, bytes - 4), 4);
  return FG_OK;
}

fg_status fg_restore(const void *blob, uint32_t blob_bytes,
                     const fg_engine *engine, const void *saved,
                     uint32_t saved_bytes) {
  const uint32_t *words = blob;
  const uint8_t *at = saved;
  uint32_t number, i, bytes;
  fg_status status = fg_check_blob(blob, blob_bytes);
  if (status) return status;
  status = fg_check_engine(words, engine);
  if (status) return status;
  if (!saved) return FG_BAD_ARGUMENT;
  bytes = (uint32_t)saved_bytes_of(words);
  if (saved_bytes < bytes || get(at, 4) != FG_SAVED_MAGIC ||
      get(at + 4, 4) != FG_VERSION || get(at + 8, 4) != bytes ||
      get(at + 12, 4) != words[FG_W_CRC] ||
      get(at + bytes - 4, 4) != fg_crc(0, saved, bytes - 4)) {
    return FG_BAD_SAVED;
  }
  at += FG_SAVED_HEADER;
  for (number = 0; number < words[FG_W_TENSORS]; number++) {
    const uint32_t *tensor = fg_tensor_of(words, number);
    for (i = 0; i < tensor[FG_T_SIZE]; i++) {
      if (fg_is_bias(tensor)) {
        ((int32_t *)engine->tensors[number])[i] = (int32_t)get(at, 4);
        at += 4;
      } else {
        int32_t master = (int16_t)get(at, 2);
        ((int8_t *)engine->tensors[number])[i] =
            master == -32768 ? -128 : fg_narrow(master);
        at += 2;
      }
    }
  }
  return FG_OK;
}
