/* A board that is none: it plays a user who says each class a few times.
 *
 * Replace this file. A sample of class c is noise around a pattern of c, which
 * is enough to see the example learn; the flash is memory, and forgets all at
 * the end.
 */
#include "board.h"

#include <stdio.h>
#include <string.h>

#include "fg_model.h"

enum {
  SLOT = (FG_SAVED_BYTES + FG_SLOTS_HEADER + 31) / 32 * 32 + 32,
  SHOWN = FG_MAX_SAMPLES /* samples that the user labels */
};

static uint32_t state = 1;
static int shown = -1; /* samples so far, less one */

static uint32_t draw(void) {
  state = state * 1664525u + 1013904223u;
  return state >> 16;
}

int board_sample(int8_t *x, uint32_t size) {
  uint32_t i, pattern;
  shown++;
  pattern = (uint32_t)shown % FG_CLASSES;
  for (i = 0; i < size; i++) {
    uint32_t value = (i * (2 * pattern + 3) + i / 7 * pattern) % 97;
    x[i] = (int8_t)((int32_t)(value + draw() % 32) - 64);
  }
  return 0;
}

int board_button(void) {
  if (shown < SHOWN) return shown % FG_CLASSES;
  if (shown == SHOWN) return BOARD_TRAIN;
  return shown < SHOWN + FG_CLASSES ? BOARD_NONE : BOARD_OFF;
}

void board_show(const char *text, int32_t number) {
  printf("%s %ld\n", text, (long)number);
}

static uint8_t flash[2][SLOT];

static int flash_read(void *context, int slot, uint32_t offset, void *data,
                      uint32_t size) {
  (void)context;
  memcpy(data, flash[slot] + offset, size);
  return 0;
}

static int flash_erase(void *context, int slot) {
  (void)context;
  memset(flash[slot], 0xFF, SLOT);
  return 0;
}

static int flash_write(void *context, int slot, uint32_t offset,
                       const void *data, uint32_t size) {
  (void)context;
  memcpy(flash[slot] + offset, data, size);
  return 0;
}

const fg_flash *board_flash(void) {
  static const fg_flash slots = {NULL, SLOT, flash_read, flash_erase,
                                 flash_write};
  return &slots;
}
