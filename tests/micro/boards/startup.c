/* From reset to main on a Cortex-M under QEMU, and its end by semihosting. */
#include <stdint.h>

#include "host.h"

extern uint64_t data_in_flash[], data_start[], data_end[];
extern uint64_t bss_start[], bss_end[], stack_top[];
int main(void);
void reset(void);
void fault(void);

static void start_timer(void) {
#ifdef BOARD_TIMER /* CMSDK timer 0 counts down at 25 MHz */
  volatile uint32_t *timer = (volatile uint32_t *)BOARD_TIMER;
  timer[2] = 0xFFFFFFFFu;
  timer[1] = 0xFFFFFFFFu;
  timer[0] = 1;
#endif
}

uint32_t host_ticks(void) {
#ifdef BOARD_TIMER
  return 0xFFFFFFFFu - ((volatile uint32_t *)BOARD_TIMER)[1];
#else
  return 0;
#endif
}

void reset(void) {
  const uint64_t *from = data_in_flash;
  uint64_t *to;
  for (to = data_start; to < data_end; to++) *to = *from++;
  for (to = bss_start; to < bss_end; to++) *to = 0;
  start_timer();
  host_exit(main());
}

void fault(void) {
  host_print("fault\n");
  host_exit(3);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)reset, (void *)fault, (void *)fault,
    (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
