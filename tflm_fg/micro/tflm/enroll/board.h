/* What the example asks of a board. Write it for yours in place of board.c. */
#ifndef BOARD_H_
#define BOARD_H_

#include <stdint.h>

#include "fg_slots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What board_button gives beside labels, which are class indices from 0. */
enum { BOARD_NONE = -1, BOARD_TRAIN = -2, BOARD_FORGET = -3, BOARD_OFF = -4 };

/* Waits for the next sample and writes it: int8, the model's whole input, in
 * the order and on the scale of the model. Returns 0, or -1 if there is none. */
int board_sample(int8_t *x, uint32_t size);

/* What the user says of the sample that was shown last. */
int board_button(void);

/* Shows a text and a number: on a display, by a light, or on a serial line. */
void board_show(const char *text, int32_t number);

/* Two slots of flash that nothing else uses. */
const fg_flash *board_flash(void);

#ifdef __cplusplus
}
#endif
#endif /* BOARD_H_ */
