"""What was learned outlasts a loss of power at any byte of a save."""

from __future__ import annotations

from tests.micro.compiling import MICRO, compiled, needs_gcc, output_of

MAIN = r"""
#include <stdio.h>
#include <string.h>
#include "fg_slots.h"

enum { SLOT = 160 };
static uint8_t memory[2][SLOT];
static int written[2][SLOT]; /* since the last erasure */
static long budget;          /* bytes until the power fails */
static int erased[2];

static int flash_read(void *context, int slot, uint32_t offset, void *data,
                      uint32_t size) {
  (void)context;
  if (offset + size > SLOT) return 1;
  memcpy(data, memory[slot] + offset, size);
  return 0;
}
static int flash_erase(void *context, int slot) {
  int i;
  (void)context;
  erased[slot]++;
  for (i = 0; i < SLOT; i++, budget--) {
    if (budget <= 0) return 1;
    memory[slot][i] = 0xFF;
    written[slot][i] = 0;
  }
  return 0;
}
static int flash_write(void *context, int slot, uint32_t offset,
                       const void *data, uint32_t size) {
  uint32_t i;
  (void)context;
  if (offset % 32 || size % 32 || offset + size > SLOT) return 1;
  for (i = 0; i < size; i++, budget--) {
    if (budget <= 0) return 1;
    if (written[slot][offset + i]++) return 1;
    memory[slot][offset + i] = ((const uint8_t *)data)[i];
  }
  return 0;
}
static const fg_flash flash = {NULL, SLOT, flash_read, flash_erase,
                               flash_write};

static int holds(const char *text) {
  char out[SLOT];
  uint32_t size = 0;
  return fg_slots_load(&flash, out, sizeof out, &size) == FG_SLOTS_OK &&
         size == strlen(text) && memcmp(out, text, size) == 0;
}
static int save(const char *text) {
  return (int)fg_slots_save(&flash, text, (uint32_t)strlen(text));
}
static const char old[] = "what was learned on the first day, at home";
static const char new[] = "what was learned on the second day, in the car";

int main(void) {
  char big[SLOT] = {0};
  uint32_t size = 0;
  long cut;
  int i, olds = 0, news = 0;
  memset(memory, 0xFF, sizeof memory);
  budget = 1000000;
  if (fg_slots_load(&flash, big, SLOT, &size) != FG_SLOTS_EMPTY) return 1;
  if (save(old) || !holds(old)) return 2;
  if (save(new) || !holds(new)) return 3;
  if (fg_slots_load(&flash, big, 10, &size) != FG_SLOTS_TOO_BIG) return 4;
  if (fg_slots_save(&flash, big, SLOT - 31) != FG_SLOTS_TOO_BIG) return 5;
  if (!holds(new)) return 6;
  for (cut = 0; cut < 400; cut++) { /* the power fails after so many bytes */
    budget = 1000000;
    if (save(old) || !holds(old)) return 7;
    budget = cut;
    i = save(new);
    if (i == 0 ? !holds(new) : !holds(old) && !holds(new)) return 8;
    olds += holds(old);
    news += holds(new);
  }
  if (olds < 200 || news < 100 || olds + news != 400) return 9;
  budget = 1000000;
  memset(erased, 0, sizeof erased);
  for (i = 0; i < 10; i++) {
    if (save(i % 2 ? old : new)) return 10;
  }
  if (erased[0] != 5 || erased[1] != 5) return 11;
  memory[0][40] ^= 1; /* a bit falls in both */
  memory[1][40] ^= 1;
  if (fg_slots_load(&flash, big, SLOT, &size) != FG_SLOTS_EMPTY) return 12;
  memory[0][40] ^= 1;
  if (!holds(old) && !holds(new)) return 13;
  if (fg_slots_clear(&flash) || holds(old) || holds(new)) return 14;
  printf("%d %d", olds, news);
  return 0;
}
"""


@needs_gcc
def test_a_save_that_is_cut_off_at_any_byte_leaves_what_was_there(tmp_path):
  program = compiled(
    tmp_path, MAIN, ["fg_slots.c"], "-fsanitize=undefined,address", "-g"
  )
  before, after = map(int, output_of(program).split())
  # 160 bytes are erased, 64 of content written, then 20 of the header.
  assert (before, after) == (244, 156)


@needs_gcc
def test_sequence_numbers_of_slots_may_wrap_around(tmp_path):
  start = "last.sequence = 0;"
  text = (MICRO / "fg_slots.c").read_text()
  assert text.count(start) == 1
  wrapped = tmp_path / "wrapped.c"
  wrapped.write_text(text.replace(start, "last.sequence = 0xFFFFFFF0u;"))
  assert output_of(compiled(tmp_path, MAIN, [str(wrapped)])) == b"244 156"
