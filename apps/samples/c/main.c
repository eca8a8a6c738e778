/* A .tflite that trains itself, from C: the whole story in one program.
 *
 *   teach train MODEL DATA WEIGHTS     remember, train, save
 *   teach restore MODEL DATA WEIGHTS   a new process: load
 *
 * Both print the accuracy before and after.
 *
 * MODEL is what tflm-fg-export --target=signatures wrote. DATA is a folder with
 * train_x.bin, train_y.bin, test_x.bin and test_y.bin (../make_data.py).
 * WEIGHTS is the file that keeps what was learned. The last line is JSON, for
 * programs.
 *
 * With -DEMBEDDED the model is a C array that tflm-fg-export --target=c wrote
 * as model.h and model.c, and MODEL is not looked at.
 */
#define _POSIX_C_SOURCE 199309L

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trainable.h"
#ifdef EMBEDDED
#include "model.h"
#endif

enum { STEPS = 100, EPOCHS = 8 };
static const float RATE = 1.0f;

typedef struct samples {
  unsigned char *x; /* one behind the other, in the type of the model's input */
  int32_t *y;       /* a class a sample */
  size_t count, bytes; /* of one x */
} samples;

typedef struct story {
  double before, after, infer_ms, adapt_input_ms, remember_ms, train_ms;
  int32_t count;
  float loss;
} story;

static void die(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", name, what);
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void *read_file(const char *folder, const char *name, size_t *size) {
  char path[1024];
  FILE *file;
  long length;
  void *data;
  snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", name);
  file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) <= 0) {
    die("cannot be read, or is empty", path);
  }
  rewind(file);
  data = malloc((size_t)length);
  if (!data || fread(data, 1, (size_t)length, file) != (size_t)length) {
    die("cannot be read", path);
  }
  fclose(file);
  *size = (size_t)length;
  return data;
}

static samples read_samples(const char *folder, const char *x_name,
                            const char *y_name, size_t bytes) {
  samples found;
  size_t x_size, y_size;
  found.x = read_file(folder, x_name, &x_size);
  found.y = read_file(folder, y_name, &y_size);
  found.bytes = bytes;
  found.count = y_size / sizeof *found.y;
  if (x_size != found.count * bytes) {
    die("does not hold as many samples as there are labels", x_name);
  }
  return found;
}

static trainable_signature *signature(trainable *model, const char *key) {
  trainable_signature *found = trainable_find(model, key);
  if (!found) die("the model has no such signature", key);
  return found;
}

static trainable_tensor *input(trainable_signature *of, const char *name) {
  trainable_tensor *found = trainable_input(of, name);
  if (!found) die("the signature has no such input", name);
  return found;
}

static trainable_tensor *output(trainable_signature *of, const char *name) {
  trainable_tensor *found = trainable_output(of, name);
  if (!found) die("the signature has no such output", name);
  return found;
}

static void run(trainable *model, trainable_signature *called) {
  if (trainable_run(model, called)) die("did not run", called->key);
}

static void put(trainable_tensor *tensor, const void *data, size_t bytes) {
  if (trainable_write(tensor, data, bytes)) die("not written", tensor->name);
}

static void get(trainable_tensor *tensor, void *data, size_t bytes) {
  if (trainable_read(tensor, data, bytes)) die("not read", tensor->name);
}

/* Score i of probabilities, which are float32, int8 or uint8. */
static float score(const trainable_tensor *scores, const void *data, size_t i) {
  if (scores->type == LITERT_FLOAT32) return ((const float *)data)[i];
  if (scores->type == LITERT_UINT8) return ((const unsigned char *)data)[i];
  return ((const signed char *)data)[i];
}

/* The class with the highest score. */
static int32_t best(const trainable_tensor *scores, const void *data) {
  const size_t size = scores->type == LITERT_FLOAT32 ? sizeof(float) : 1;
  size_t i, most = 0;
  for (i = 1; i < scores->bytes / size; ++i) {
    if (score(scores, data, i) > score(scores, data, most)) most = i;
  }
  return (int32_t)most;
}

static double accuracy(trainable *model, const samples *test, double *ms) {
  trainable_signature *infer = signature(model, "infer");
  trainable_tensor *x = input(infer, "x");
  trainable_tensor *scores = output(infer, "probabilities");
  void *data = malloc(scores->bytes);
  size_t i, right = 0;
  const double start = now_ms();
  if (!data) die("no memory", "infer");
  for (i = 0; i < test->count; ++i) {
    put(x, test->x + i * test->bytes, test->bytes);
    run(model, infer);
    get(scores, data, scores->bytes);
    right += best(scores, data) == test->y[i];
  }
  *ms = (now_ms() - start) / (double)test->count;
  free(data);
  return (double)right / (double)test->count;
}

/* Fits the input to the samples, in files that can: a batch a call, and each
 * epoch in other batches. A label of -1 marks a row that does not count. */
static void adapt_input(trainable *model, const samples *train, story *told) {
  trainable_signature *adapt = trainable_find(model, "adapt_input");
  const double start = now_ms();
  trainable_tensor *x, *y;
  unsigned char *rows;
  int32_t *labels, seed = 0;
  size_t batch, epoch, first, i;
  if (!adapt) return;
  x = input(adapt, "x");
  y = input(adapt, "y");
  batch = y->bytes / sizeof *labels;
  rows = calloc(1, x->bytes);
  labels = malloc(y->bytes);
  if (!rows || !labels) die("no memory", "adapt_input");
  for (epoch = 0; epoch < EPOCHS; ++epoch) {
    for (first = 0; first < train->count; first += batch) {
      memset(rows, 0, x->bytes);
      for (i = 0; i < batch; ++i) {
        const size_t from = (first + i + epoch) % train->count;
        labels[i] = first + i < train->count ? train->y[from] : -1;
        if (labels[i] >= 0) {
          memcpy(rows + i * train->bytes, train->x + from * train->bytes,
                 train->bytes);
        }
      }
      put(x, rows, x->bytes);
      put(y, labels, y->bytes);
      put(input(adapt, "seed"), &seed, sizeof seed);
      run(model, adapt);
      ++seed;
    }
  }
  told->adapt_input_ms = now_ms() - start;
  free(rows);
  free(labels);
}

static void teach(trainable *model, const samples *train, story *told) {
  trainable_signature *remember = signature(model, "remember");
  trainable_signature *learn = signature(model, "train");
  const int32_t steps = STEPS;
  double start = now_ms();
  size_t i;
  for (i = 0; i < train->count; ++i) {
    put(input(remember, "x"), train->x + i * train->bytes, train->bytes);
    put(input(remember, "y"), &train->y[i], sizeof train->y[i]);
    run(model, remember);
  }
  told->remember_ms = (now_ms() - start) / (double)train->count;
  get(output(remember, "count"), &told->count, sizeof told->count);
  start = now_ms();
  put(input(learn, "steps"), &steps, sizeof steps);
  put(input(learn, "rate"), &RATE, sizeof RATE);
  run(model, learn);
  get(output(learn, "loss"), &told->loss, sizeof told->loss);
  told->train_ms = now_ms() - start;
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(trainable_tensor *const *)a)->name,
                (*(trainable_tensor *const *)b)->name);
}

/* Tensors in the order of their names, so that every program writes and reads
 * the same file of weights. */
static void sorted(trainable_tensor *tensors, size_t count,
                   trainable_tensor **found) {
  size_t i;
  for (i = 0; i < count; ++i) found[i] = &tensors[i];
  qsort(found, count, sizeof *found, by_name);
}

/* Writes what get_weights gives beside its place, and then renames it: whoever
 * reads the file finds all of it, or what was there before. */
static void save(trainable *model, const char *path) {
  trainable_signature *weights = signature(model, "get_weights");
  trainable_tensor *tensors[TRAINABLE_TENSORS];
  char beside[1024];
  size_t i;
  FILE *file;
  snprintf(beside, sizeof beside, "%s.new", path);
  file = fopen(beside, "wb");
  if (!file) die("cannot be written", beside);
  run(model, weights);
  sorted(weights->outputs, weights->num_outputs, tensors);
  for (i = 0; i < weights->num_outputs; ++i) {
    void *data = malloc(tensors[i]->bytes);
    if (!data) die("no memory", path);
    get(tensors[i], data, tensors[i]->bytes);
    if (fwrite(data, 1, tensors[i]->bytes, file) != tensors[i]->bytes) {
      die("cannot be written", beside);
    }
    free(data);
  }
  if (fclose(file) || rename(beside, path)) die("cannot be written", path);
}

static void restore(trainable *model, const char *path) {
  trainable_signature *weights = signature(model, "set_weights");
  trainable_tensor *tensors[TRAINABLE_TENSORS];
  size_t i, size, all = 0;
  int32_t accepted;
  unsigned char *data = read_file("", path, &size), *next = data;
  for (i = 0; i < weights->num_inputs; ++i) all += weights->inputs[i].bytes;
  if (size != all) die("holds no weights of this model", path);
  sorted(weights->inputs, weights->num_inputs, tensors);
  for (i = 0; i < weights->num_inputs; ++i) {
    put(tensors[i], next, tensors[i]->bytes);
    next += tensors[i]->bytes;
  }
  run(model, weights);
  get(output(weights, "accepted"), &accepted, sizeof accepted);
  if (!accepted) die("the model refuses these weights", path);
  free(data);
}

int main(int argc, char **argv) {
  trainable model;
  samples train, test;
  story told;
  size_t size;
  const void *bytes;
  memset(&told, 0, sizeof told);
  if (argc != 5 || (strcmp(argv[1], "train") && strcmp(argv[1], "restore"))) {
    fprintf(stderr, "usage: teach train|restore MODEL DATA WEIGHTS\n");
    return 2;
  }
#ifdef EMBEDDED
  bytes = model_tflite;
  size = MODEL_TFLITE_BYTES;
#else
  bytes = read_file("", argv[2], &size);
#endif
  if (trainable_open(&model, bytes, size)) return 1;
  size = input(signature(&model, "infer"), "x")->bytes;
  train = read_samples(argv[3], "train_x.bin", "train_y.bin", size);
  test = read_samples(argv[3], "test_x.bin", "test_y.bin", size);
  told.before = accuracy(&model, &test, &told.infer_ms);
  printf("accuracy before: %.4f\n", told.before);
  if (strcmp(argv[1], "train") == 0) {
    adapt_input(&model, &train, &told);
    teach(&model, &train, &told);
    printf("remembered %d samples, loss %.4f\n", told.count, told.loss);
    save(&model, argv[4]);
  } else {
    restore(&model, argv[4]);
    save(&model, argv[4]); /* the same bytes */
  }
  told.after = accuracy(&model, &test, &told.infer_ms);
  printf("accuracy after: %.4f\n", told.after);
  printf("{\"before\": %.4f, \"after\": %.4f, \"count\": %d, \"loss\": %.6f, "
         "\"infer_ms\": %.4f, \"adapt_input_ms\": %.4f, "
         "\"remember_ms\": %.4f, \"train_ms\": %.4f}\n",
         told.before, told.after, told.count, told.loss, told.infer_ms,
         told.adapt_input_ms, told.remember_ms, told.train_ms);
  trainable_close(&model);
  return 0;
}
