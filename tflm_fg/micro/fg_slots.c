#include "fg_slots.h"

#define UNIT 32u
#define POLYNOMIAL 0xEDB88320u

/* In flash as five words in little-endian bytes: magic, sequence, size, the
 * content's checksum, and the checksum of these four. */
typedef struct header {
  uint32_t sequence, size, content;
} header;

static uint32_t checksum(uint32_t so_far, const uint8_t *data, uint32_t size) {
  uint32_t i;
  int bit;
  so_far = ~so_far;
  for (i = 0; i < size; i++) {
    so_far ^= data[i];
    for (bit = 0; bit < 8; bit++) {
      so_far = (so_far >> 1) ^ (so_far & 1u ? POLYNOMIAL : 0u);
    }
  }
  return ~so_far;
}

static void put(uint8_t *at, uint32_t value) {
  int i;
  for (i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
         (uint32_t)at[3] << 24;
}

/* Whether a slot holds a sound header and content. FG_SLOTS_EMPTY if not. */
static fg_slots_status examine(const fg_flash *flash, int slot, header *found) {
  uint8_t raw[UNIT];
  uint32_t sum = 0, at;
  if (flash->read(flash->context, slot, 0, raw, UNIT)) return FG_SLOTS_FAILED;
  if (get(raw) != FG_SLOTS_MAGIC) return FG_SLOTS_EMPTY;
  if (get(raw + 16) != checksum(0, raw, 16)) return FG_SLOTS_EMPTY;
  found->sequence = get(raw + 4);
  found->size = get(raw + 8);
  found->content = get(raw + 12);
  if (found->size > flash->slot_bytes - FG_SLOTS_HEADER) return FG_SLOTS_EMPTY;
  for (at = 0; at < found->size; at += UNIT) {
    uint32_t left = found->size - at, some = left < UNIT ? left : UNIT;
    if (flash->read(flash->context, slot, FG_SLOTS_HEADER + at, raw, some)) {
      return FG_SLOTS_FAILED;
    }
    sum = checksum(sum, raw, some);
  }
  return sum == found->content ? FG_SLOTS_OK : FG_SLOTS_EMPTY;
}

/* The newer sound slot. Sequence numbers may wrap around. */
static fg_slots_status newest(const fg_flash *flash, int *slot, header *found) {
  header both[2];
  fg_slots_status first = examine(flash, 0, &both[0]);
  fg_slots_status second = examine(flash, 1, &both[1]);
  if (first == FG_SLOTS_FAILED || second == FG_SLOTS_FAILED) {
    return FG_SLOTS_FAILED;
  }
  if (first != FG_SLOTS_OK && second != FG_SLOTS_OK) return FG_SLOTS_EMPTY;
  *slot = second == FG_SLOTS_OK &&
          (first != FG_SLOTS_OK ||
           both[1].sequence - both[0].sequence < 0x80000000u);
  *found = both[*slot];
  return FG_SLOTS_OK;
}

fg_slots_status fg_slots_save(const fg_flash *flash, const void *data,
                              uint32_t size) {
  const uint8_t *bytes = (const uint8_t *)data;
  uint8_t raw[UNIT];
  header last;
  uint32_t at, i;
  int slot = 1;
  fg_slots_status status;
  if (flash->slot_bytes < FG_SLOTS_HEADER + UNIT ||
      size > (flash->slot_bytes - FG_SLOTS_HEADER) / UNIT * UNIT) {
    return FG_SLOTS_TOO_BIG;
  }
  last.sequence = 0;
  status = newest(flash, &slot, &last);
  if (status == FG_SLOTS_FAILED) return status;
  slot = 1 - slot;
  if (flash->erase(flash->context, slot)) return FG_SLOTS_FAILED;
  for (at = 0; at < size; at += UNIT) {
    for (i = 0; i < UNIT; i++) raw[i] = at + i < size ? bytes[at + i] : 0xFFu;
    if (flash->write(flash->context, slot, FG_SLOTS_HEADER + at, raw, UNIT)) {
      return FG_SLOTS_FAILED;
    }
  }
  for (i = 0; i < UNIT; i++) raw[i] = 0xFFu;
  put(raw, FG_SLOTS_MAGIC);
  put(raw + 4, last.sequence + 1);
  put(raw + 8, size);
  put(raw + 12, checksum(0, bytes, size));
  put(raw + 16, checksum(0, raw, 16));
  return flash->write(flash->context, slot, 0, raw, UNIT) ? FG_SLOTS_FAILED
                                                          : FG_SLOTS_OK;
}

fg_slots_status fg_slots_load(const fg_flash *flash, void *out,
                              uint32_t out_bytes, uint32_t *size) {
  header found;
  int slot = 0;
  fg_slots_status status = newest(flash, &slot, &found);
  if (status != FG_SLOTS_OK) return status;
  if (found.size > out_bytes) return FG_SLOTS_TOO_BIG;
  if (found.size && flash->read(flash->context, slot, FG_SLOTS_HEADER, out,
                                found.size)) {
    return FG_SLOTS_FAILED;
  }
  *size = found.size;
  return FG_SLOTS_OK;
}

fg_slots_status fg_slots_clear(const fg_flash *flash) {
  int failed = flash->erase(flash->context, 0);
  failed |= flash->erase(flash->context, 1);
  return failed ? FG_SLOTS_FAILED : FG_SLOTS_OK;
}
