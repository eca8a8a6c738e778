/* Integer logits and targets to one integer a sample: tflm_fg/losses.
 *
 * A loss is in Q16 bits: base-2 logarithms, so that powers are shifts and
 * tables. The tables of powers come with the blob, as they depend on the scale
 * of the logits; that of logarithms is the same for all.
 */
#include "fg_core.h"

/* log2(1 + i / 256) in Q30, rounded. */
static const int32_t log2_table[257] = {
    0, 6039314, 12055174, 18047761, 24017256, 29963836, 35887675, 41788947,
    47667823, 53524472, 59359063, 65171760, 70962728, 76732128, 82480119,
    88206862, 93912511, 99597222, 105261148, 110904440, 116527248, 122129721,
    127712004, 133274244, 138816582, 144339162, 149842124, 155325606, 160789745,
    166234679, 171660541, 177067464, 182455581, 187825021, 193175914, 198508388,
    203822568, 209118580, 214396548, 219656594, 224898839, 230123404, 235330407,
    240519966, 245692198, 250847218, 255985140, 261106077, 266210141, 271297442,
    276368092, 281422197, 286459867, 291481207, 296486323, 301475319, 306448299,
    311405366, 316346620, 321272163, 326182095, 331076513, 335955515, 340819199,
    345667660, 350500993, 355319292, 360122651, 364911162, 369684916, 374444004,
    379188517, 383918542, 388634168, 393335482, 398022572, 402695523, 407354420,
    411999347, 416630388, 421247625, 425851141, 430441017, 435017334, 439580170,
    444129607, 448665721, 453188592, 457698295, 462194908, 466678506, 471149164,
    475606957, 480051959, 484484242, 488903880, 493310944, 497705506, 502087636,
    506457405, 510814882, 515160136, 519493235, 523814248, 528123241, 532420281,
    536705435, 540978767, 545240343, 549490228, 553728485, 557955178, 562170370,
    566374123, 570566499, 574747559, 578917365, 583075977, 587223455, 591359858,
    595485245, 599599675, 603703206, 607795895, 611877800, 615948977, 620009483,
    624059373, 628098702, 632127527, 636145900, 640153876, 644151509, 648138853,
    652115959, 656082880, 660039669, 663986377, 667923055, 671849754, 675766525,
    679673418, 683570481, 687457766, 691335320, 695203192, 699061430, 702910083,
    706749198, 710578822, 714399001, 718209783, 722011213, 725803337, 729586201,
    733359850, 737124328, 740879680, 744625951, 748363183, 752091421, 755810707,
    759521085, 763222597, 766915285, 770599192, 774274358, 777940826, 781598637,
    785247830, 788888448, 792520529, 796144114, 799759243, 803365955, 806964289,
    810554283, 814135978, 817709409, 821274617, 824831638, 828380510, 831921271,
    835453956, 838978604, 842495250, 846003931, 849504683, 852997541, 856482542,
    859959719, 863429109, 866890747, 870344666, 873790901, 877229486, 880660455,
    884083842, 887499680, 890908003, 894308843, 897702233, 901088206, 904466794,
    907838029, 911201944, 914558569, 917907937, 921250079, 924585025, 927912807,
    931233456, 934547002, 937853475, 941152905, 944445323, 947730758, 951009239,
    954280797, 957545460, 960803257, 964054218, 967298370, 970535742, 973766362,
    976990259, 980207461, 983417995, 986621888, 989819169, 993009864, 996194001,
    999371606, 1002542707, 1005707329, 1008865499, 1012017244, 1015162589,
    1018301561, 1021434185, 1024560487, 1027680492, 1030794226, 1033901713,
    1037002979, 1040098049, 1043186948, 1046269699, 1049346328, 1052416858,
    1055481314, 1058539720, 1061592099, 1064638476, 1067678873, 1070713315,
    1073741824,
};

static const int64_t one = 1 << 16; /* Q16 */
static const int64_t ln2 = 45426;   /* Q16 */

int fg_is_binary(fg_loss_kind kind) {
  return kind == FG_BINARY || kind == FG_BINARY_INFORMATION;
}

int fg_takes_labels(fg_loss_kind kind) {
  return kind == FG_CROSS_ENTROPY || kind == FG_BINARY;
}

int fg_needs_means(const fg_loss *loss) {
  return !fg_takes_labels(loss->kind);
}

int64_t fg_log2(uint64_t x) {
  int places = fg_bit_length(x) - 1, index;
  int64_t rest, start;
  x <<= 63 - places;
  index = (int)(x >> 55) & 255;
  rest = (int64_t)(x >> 39) & 0xFFFF;
  start = ((int64_t)(places - 24) << 30) + log2_table[index];
  rest *= log2_table[index + 1] - log2_table[index];
  return (start + (rest >> 16)) >> 14;
}

/* -log2 of a share in Q16, which counts as one unit at least, in Q16 bits. */
static int64_t surprise_of(int64_t share) {
  uint64_t counted = share > 1 ? (uint64_t)share : 1;
  return (16 << 16) - fg_log2(counted << 24);
}

static int32_t gap_of(int32_t top, int8_t logit) { return (top - logit) & 255; }

static int32_t top_of(const fg_loss *loss, const int8_t *row) {
  int32_t top = row[0], i;
  for (i = 1; i < loss->outputs; i++) {
    if (row[i] > top) top = row[i];
  }
  return top;
}

/* Steps from the zero point, and how many either way, at most 255. */
static int32_t steps_of(const fg_loss *loss, int8_t logit) {
  return logit - loss->zero_point;
}

static int32_t away_of(int32_t steps) {
  return (steps < 0 ? -steps : steps) & 255;
}

/* The sigmoid of steps from the zero point, Q16. */
static int64_t sigmoid_of(const fg_loss *loss, int32_t steps) {
  int64_t sure = loss->sure[away_of(steps)];
  return steps < 0 ? one - sure : sure;
}

static int64_t share_of(const fg_loss *loss, const fg_row *read, int8_t logit) {
  return ((int64_t)loss->power[gap_of(read->top, logit)] << 16) / read->total;
}

/* -log2 of that share, not of its rounding. */
static int64_t own_of(const fg_loss *loss, const fg_row *read, int8_t logit) {
  return loss->distance[gap_of(read->top, logit)] + read->log_total;
}

fg_row fg_read_row(const fg_loss *loss, const int8_t *row,
                   const fg_batch_means *means) {
  fg_row read = {0, 1, 0, 0};
  int32_t i;
  if (fg_is_binary(loss->kind)) return read;
  read.top = top_of(loss, row);
  read.total = 0;
  for (i = 0; i < loss->outputs; i++) {
    read.total += loss->power[gap_of(read.top, row[i])];
  }
  if (loss->kind != FG_INFORMATION) return read;
  read.log_total = fg_log2((uint64_t)read.total);
  if (!means) return read;
  for (i = 0; i < loss->outputs; i++) {
    int64_t excess = own_of(loss, &read, row[i]) - means->of_mean[i];
    read.expected += (share_of(loss, &read, row[i]) * excess) >> 16;
  }
  return read;
}

void fg_measure_means(const fg_loss *loss, const int8_t *rows, uint32_t count,
                      const fg_batch_means *means) {
  uint32_t n;
  int32_t i;
  for (i = 0; i < loss->outputs; i++) means->mean[i] = 0;
  for (n = 0; n < count; n++) {
    const int8_t *row = rows + (size_t)n * (size_t)loss->outputs;
    fg_row read = fg_read_row(loss, row, NULL);
    for (i = 0; i < loss->outputs; i++) {
      int64_t answer = loss->kind == FG_INFORMATION
                           ? share_of(loss, &read, row[i])
                           : sigmoid_of(loss, steps_of(loss, row[i]));
      means->mean[i] += (uint32_t)answer;
    }
  }
  for (i = 0; i < loss->outputs; i++) {
    int64_t mean = means->mean[i] /= count;
    means->of_mean[i] = (int32_t)(
        loss->kind == FG_INFORMATION
            ? surprise_of(mean)
            : surprise_of(one - mean) - surprise_of(mean));
  }
}

static int64_t cross_entropy(const fg_loss *loss, const int8_t *row,
                             uint8_t label) {
  fg_row read = fg_read_row(loss, row, NULL);
  return fg_log2((uint64_t)read.total) +
         loss->distance[gap_of(read.top, row[label])];
}

static int64_t binary_cross_entropy(const fg_loss *loss, const int8_t *row,
                                    const uint8_t *label) {
  int64_t sum = 0;
  int32_t i;
  for (i = 0; i < loss->outputs; i++) {
    int32_t steps = steps_of(loss, row[i]), away = away_of(steps);
    sum += loss->power[away];
    if ((steps > 0) != (label[i] != 0)) sum += loss->distance[away];
  }
  return fg_round_divide(sum, loss->outputs);
}

static int64_t information(const fg_loss *loss, const int8_t *row,
                           const fg_batch_means *means) {
  fg_row read = fg_read_row(loss, row, NULL);
  int64_t own = 0, of_mean = 0;
  int32_t i;
  for (i = 0; i < loss->outputs; i++) {
    own += (share_of(loss, &read, row[i]) * own_of(loss, &read, row[i])) >> 16;
    of_mean += (int64_t)means->mean[i] * means->of_mean[i];
  }
  return own - (of_mean >> 16);
}

static int64_t binary_information(const fg_loss *loss, const int8_t *row,
                                  const fg_batch_means *means) {
  int64_t sum = 0;
  int32_t i;
  for (i = 0; i < loss->outputs; i++) {
    int32_t away = away_of(steps_of(loss, row[i]));
    int64_t mean = means->mean[i], rest = one - mean, unsure, own;
    unsure = one - loss->sure[away];
    own = loss->power[away] + ((unsure * loss->distance[away]) >> 16);
    sum += own - ((mean * surprise_of(mean) + rest * surprise_of(rest)) >> 16);
  }
  return fg_round_divide(sum, loss->outputs);
}

int64_t fg_loss_of(const fg_loss *loss, const int8_t *row, const uint8_t *label,
                   const fg_batch_means *means) {
  switch (loss->kind) {
    case FG_CROSS_ENTROPY:
      return cross_entropy(loss, row, *label);
    case FG_BINARY:
      return binary_cross_entropy(loss, row, label);
    case FG_INFORMATION:
      return information(loss, row, means);
    default:
      return binary_information(loss, row, means);
  }
}

/* Of an output that stands alone: the exact gradient, Q16 nats. */
static int64_t binary_gradient(const fg_loss *loss, int8_t logit,
                               int64_t of_mean) {
  int32_t steps = steps_of(loss, logit);
  int64_t p = sigmoid_of(loss, steps), own = loss->distance[away_of(steps)];
  int64_t slope = (p * (one - p)) >> 16;
  if (steps < 0) own = -own;
  return (((slope * (of_mean - own)) >> 16) * ln2) >> 16;
}

int64_t fg_residual(const fg_loss *loss, const int8_t *row, const fg_row *read,
                    int32_t output, const uint8_t *label,
                    const fg_batch_means *means) {
  int64_t share, excess;
  switch (loss->kind) {
    case FG_CROSS_ENTROPY:
      share = share_of(loss, read, row[output]);
      return output == *label ? share - one : share;
    case FG_BINARY:
      share = sigmoid_of(loss, steps_of(loss, row[output]));
      return 2 * (label[output] ? share - one : share);
    case FG_INFORMATION:
      share = share_of(loss, read, row[output]);
      excess = own_of(loss, read, row[output]) - means->of_mean[output];
      return (((share * (excess - read->expected)) >> 16) * ln2) >> 16;
    default:
      return 2 * binary_gradient(loss, row[output], means->of_mean[output]);
  }
}

int64_t fg_loss_difference(const fg_loss *loss, const int8_t *some,
                           const int8_t *others, const uint8_t *label,
                           const fg_batch_means *means_of_some,
                           const fg_batch_means *means_of_others) {
  fg_row first, second;
  int64_t sum = 0;
  int32_t i;
  if (fg_takes_labels(loss->kind)) {
    return fg_loss_of(loss, some, label, NULL) -
           fg_loss_of(loss, others, label, NULL);
  }
  first = fg_read_row(loss, some, means_of_some);
  second = fg_read_row(loss, others, means_of_others);
  for (i = 0; i < loss->outputs; i++) {
    int64_t nats =
        fg_residual(loss, some, &first, i, label, means_of_some) +
        fg_residual(loss, others, &second, i, label, means_of_others);
    if (fg_is_binary(loss->kind)) nats >>= 1; /* each was doubled */
    sum += nats * (some[i] - others[i]);
  }
  sum = (sum * loss->bits_a_step) >> 31;
  return fg_is_binary(loss->kind) ? fg_round_divide(sum, loss->outputs) : sum;
}

/* The first of the largest. */
static int32_t answer_of(const fg_loss *loss, const int8_t *row) {
  int32_t i, best = 0;
  for (i = 1; i < loss->outputs; i++) {
    if (row[i] > row[best]) best = i;
  }
  return best;
}

uint32_t fg_right(const fg_loss *loss, const int8_t *row,
                  const uint8_t *label) {
  uint32_t right = 0;
  int32_t i;
  if (loss->kind == FG_CROSS_ENTROPY) {
    return answer_of(loss, row) == (int32_t)*label;
  }
  if (loss->kind != FG_BINARY) return 0;
  for (i = 0; i < loss->outputs; i++) {
    right += (steps_of(loss, row[i]) > 0) == (label[i] != 0);
  }
  return right;
}

uint32_t fg_answers(const fg_loss *loss, const int8_t *rows, uint32_t count) {
  uint32_t found = 0, n;
  int32_t i;
  for (i = 0; i < loss->outputs; i++) {
    int yes = 0, no = 0;
    for (n = 0; n < count; n++) {
      const int8_t *row = rows + (size_t)n * (size_t)loss->outputs;
      if (fg_is_binary(loss->kind) ? steps_of(loss, row[i]) > 0
                                   : answer_of(loss, row) == i) {
        yes = 1;
      } else {
        no = 1;
      }
    }
    found += (uint32_t)yes;
    if (fg_is_binary(loss->kind)) found += (uint32_t)no;
  }
  return found;
}
