/* Runs what vectors.h holds and says how much of it differs from Python. */
#include <stddef.h>

#include "forward.h"
#include "host.h"
#include "vectors.h"

static void told(const char *name, uint32_t wrong, uint32_t of,
                 const char *what) {
  host_print(name);
  host_print(": ");
  host_number(wrong);
  host_print(" of ");
  host_number(of);
  host_print(what);
  host_print(" differ\n");
}

static uint32_t check_logits(void) {
  static int8_t arena[LOGITS_ARENA];
  const fg_network *network = &logits_net;
  const int8_t *x = logits_x, *wanted = logits_wanted;
  uint32_t sample, i, wrong = 0, ticks = host_ticks();
  for (sample = 0; sample < LOGITS_SAMPLES; sample++) {
    int8_t *in = fg_network_tensor(network, LOGITS_INPUT, arena);
    const int8_t *out = fg_network_tensor(network, LOGITS_OUTPUT, arena);
    for (i = 0; i < LOGITS_INPUT_BYTES; i++) in[i] = *x++;
    if (fg_network_run(network, arena)) return 1;
    for (i = 0; i < LOGITS_OUTPUTS; i++) wrong += out[i] != *wanted++;
  }
  ticks = host_ticks() - ticks;
  told("spotter", wrong, LOGITS_SAMPLES * LOGITS_OUTPUTS, " logits");
  if (ticks) {
    host_print("spotter: ");
    host_number((int64_t)ticks * 40 / 1000 / LOGITS_SAMPLES);
    host_print(" thousand instructions a sample\n");
  }
  return wrong;
}

int main(void) {
  uint32_t wrong = 0;
  wrong += check_logits();
  return wrong != 0;
}
