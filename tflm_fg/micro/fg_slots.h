/* Keeps what was learned in flash, so that a loss of power loses nothing.
 *
 * Two slots take turns. A save erases and fills the older one, and writes its
 * header last; until then the newer one is what is read. A slot counts only if
 * its checksum fits, so that a save that was cut off at any byte leaves what
 * was there before. There is no allocation, and nothing global.
 *
 * Where there are files, tflm_fg/slots.py is the same idea for whole models,
 * with a trial for new ones: the words (slot, sequence, magic) mean the same.
 *
 * Flash wears out: each save erases one slot once, so that a flash of 10,000
 * erasures lasts for 20,000 saves. Save at the end of a phase, not at a step.
 */
#ifndef FG_SLOTS_H_
#define FG_SLOTS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FG_SLOTS_MAGIC 0x31534746u /* "FGS1" in little-endian bytes */
#define FG_SLOTS_HEADER 32u        /* bytes in front of the content */

typedef enum fg_slots_status {
  FG_SLOTS_OK = 0,
  FG_SLOTS_EMPTY = 1,   /* neither slot holds anything sound */
  FG_SLOTS_TOO_BIG = 2, /* the content fits neither the slot nor `out` */
  FG_SLOTS_FAILED = 3   /* the flash said so */
} fg_slots_status;

/* The flash. Each function returns 0, or anything else if it failed.
 *
 * slot_bytes: of one slot, a multiple of what is erased at once.
 * read: `size` bytes from `offset` of slot 0 or 1.
 * erase: a whole slot, so that it can be written.
 * write: `size` bytes, a multiple of 32, at an `offset` that is one too, to
 *   erased flash. Every byte is written once between two erasures.
 */
typedef struct fg_flash {
  void *context;
  uint32_t slot_bytes;
  int (*read)(void *context, int slot, uint32_t offset, void *data,
              uint32_t size);
  int (*erase)(void *context, int slot);
  int (*write)(void *context, int slot, uint32_t offset, const void *data,
               uint32_t size);
} fg_flash;

/* Writes `size` bytes to the older slot. After FG_SLOTS_FAILED the newer slot
 * still holds what was saved before. */
fg_slots_status fg_slots_save(const fg_flash *flash, const void *data,
                              uint32_t size);

/* Reads the newer sound slot into `out` and says how many bytes it holds. */
fg_slots_status fg_slots_load(const fg_flash *flash, void *out,
                              uint32_t out_bytes, uint32_t *size);

/* Erases both slots: forgets everything. */
fg_slots_status fg_slots_clear(const fg_flash *flash);

#ifdef __cplusplus
}
#endif
#endif /* FG_SLOTS_H_ */
