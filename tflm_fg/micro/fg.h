/* Adapts a quantized model on the device, by forward passes alone.
 *
 * This is the trainer of the Python package `tflm_fg` in C99: integers only, no
 * allocation, no global variables, no float. Given the same blob, samples and
 * engine it ends with the same masters as Python, bit for bit.
 *
 * How to use it:
 *
 *   1. Python makes a blob on the host (`tflm_fg.micro.blob`): all constants of
 *      one phase of training. It lies in flash, aligned to 4 bytes.
 *   2. `fg_required_bytes` says how large a buffer the phase needs.
 *   3. The application fills in an `fg_engine` (how to run the model, and where
 *      its trainable tensors lie) and an `fg_samples`.
 *   4. `fg_open`, then `fg_train`; or `fg_check_writes`, `fg_begin`, `fg_step`
 *      until it returns FG_DONE, and `fg_end`, where other work has to be done
 *      between the steps.
 *   5. `fg_save` writes the result, a few kilobytes for a head, to be kept in
 *      flash. `fg_restore` puts it into the engine after a restart, without
 *      training and without a sample.
 *
 * Every function returns a status. Where it is not FG_OK (or FG_DONE), nothing
 * was written: neither the buffer, nor the engine's tensors, nor the output.
 * The exceptions are FG_ENGINE_FAILED and FG_NOT_SEEN, after which the engine's
 * tensors are put back to where training began.
 *
 * Rounding. What the engine computes is the engine's affair: TFLM rounds twice,
 * LiteRT's reference kernels once in a FULLY_CONNECTED. A trainer driven by TFLM
 * equals Python with --runtime=tflm, one driven by LiteRT's reference kernels
 * equals Python with --runtime=litert-reference. The trainer's own arithmetic
 * does not differ.
 */
#ifndef FG_H_
#define FG_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FG_BLOB_MAGIC 0x31424746u  /* "FGB1" in little-endian bytes */
#define FG_SAVED_MAGIC 0x314a4746u /* "FGJ1" */
#define FG_VERSION 1u
#define FG_MAX_OUTPUTS 256u /* a class is a label of one byte */
#define FG_MAX_TENSORS 64u
#define FG_MAX_DIRECTIONS 64u

typedef enum fg_status {
  FG_OK = 0,
  FG_DONE = 1,           /* all steps are taken; not an error */
  FG_BAD_ARGUMENT = 2,   /* a null pointer, or one that is not aligned */
  FG_BAD_BLOB = 3,       /* not a blob, cut off, changed, or another version */
  FG_BAD_LABEL = 4,      /* a label that is no class (or not 0 or 1) */
  FG_BAD_SAMPLES = 5,    /* none, too many, or a part that is missing */
  FG_SMALL_BUFFER = 6,   /* fewer bytes than required */
  FG_ENGINE_FAILED = 7,  /* the forward callback said so */
  FG_NOT_SEEN = 8,       /* the engine does not see a write to a tensor */
  FG_BAD_SAVED = 9,      /* not what fg_save wrote, or for another blob */
  FG_WRONG_ORDER = 10    /* a step before fg_begin, or after fg_end */
} fg_status;

/* The status as a short text in English, for logs. */
const char *fg_status_text(fg_status status);

/* What runs the model. The same struct serves weights that are constants in
 * RAM and numbers that flow into the model as data: the core writes the values
 * to `tensors`, and `forward` runs the model with them.
 *
 * forward: runs the trained part of the model on a sample and writes its
 *   integer logits, one int8 an output, in the order of the classes. `sample`
 *   is an index into fg_samples. An engine that reuses the memory of its inputs
 *   (TFLM does) must be fed again in every call. Returns 0, or anything else if
 *   the engine failed.
 * tensors: where the trainable tensors lie, in the order of the blob
 *   (fg_tensor_info): int8_t* for kernels, offsets and gains, int32_t* for
 *   biases. The core alone writes to them while a phase runs, from fg_open to
 *   fg_end.
 */
typedef struct fg_engine {
  void *context;
  int (*forward)(void *context, uint32_t sample, int8_t *logits);
  void *const *tensors;
} fg_engine;

/* The samples of a phase. The core keeps the pointers, not the samples, so that
 * these must stay where they are until fg_end.
 *
 * count: N, at most 65535 and at most what the buffer was made for.
 * kept: how many of them are kept aside: the last ones. Training never looks at
 *   them. By them the end of the phase is compared with its start, and the
 *   phase undone if it has become worse. 0 keeps what came last.
 * labels: [N], class indices from 0; for binary losses [N][outputs], 0 or 1.
 *   NULL where the blob's loss takes no labels.
 * features: [N][dim], what flows into the head, for phases that train a head in
 *   the closed form. Else NULL. It is what the layer's input tensor holds.
 */
typedef struct fg_samples {
  uint32_t count;
  uint32_t kept;
  const uint8_t *labels;
  const int8_t *features;
} fg_samples;

typedef enum fg_role {
  FG_KERNEL = 0, /* int8, [channels of outputs][inputs] as the file has it */
  FG_BIAS = 1,   /* int32 */
  FG_OFFSET = 2, /* int8, an offset of the input */
  FG_GAIN = 3    /* int8, a gain of the input, 64 is 1 */
} fg_role;

typedef struct fg_tensor {
  fg_role role;
  uint32_t index; /* of the tensor in the file; its address for randomness */
  uint32_t size;  /* elements */
} fg_tensor;

typedef enum fg_method {
  FG_CLOSED_FORM = 0, /* the exact gradient of a head, one pass a step */
  FG_SIGN_SPSA = 1,   /* signs along m directions, 2 m passes a step */
  FG_PER_SAMPLE = 2   /* a direction for every sample, two passes a step */
} fg_method;

/* What a blob asks for. */
typedef struct fg_info {
  fg_method method;
  uint32_t outputs; /* logits of a sample */
  uint32_t dim;     /* features of a sample; 0 if the method needs none */
  uint32_t tensors; /* trainable tensors */
  uint32_t numbers; /* trainable numbers in all of them */
  uint32_t steps;
  uint32_t batch;   /* samples a step, at most; all where there are fewer */
  uint32_t labels;  /* labels a sample: 1, outputs (binary), or 0 for none */
} fg_info;

/* Reads a blob's header. Checks the whole blob first. */
fg_status fg_read_info(const void *blob, uint32_t blob_bytes, fg_info *info);

/* Describes one of the blob's trainable tensors. */
fg_status fg_tensor_info(const void *blob, uint32_t blob_bytes, uint32_t number,
                         fg_tensor *tensor);

/* How many bytes of buffer a phase needs for up to `samples` samples. */
fg_status fg_required_bytes(const void *blob, uint32_t blob_bytes,
                            uint32_t samples, uint32_t *bytes);

typedef struct fg_trainer fg_trainer; /* lies at the start of the buffer */

/* What has been measured so far. Losses are in the loss's own unit: 2**-16
 * bits, summed over samples. */
typedef struct fg_progress {
  uint32_t step;          /* steps taken */
  uint32_t steps;         /* steps of the phase */
  uint32_t passes;        /* times that forward was called */
  int64_t loss;           /* of the last step, sum over its samples (for
                             methods with several passes: over all of them) */
  int64_t kept_before;    /* loss on the kept samples, at the start */
  int64_t kept_after;     /* at the step that is kept so far */
  uint32_t correct_before; /* right answers on the kept samples, at the start */
  uint32_t correct_after;
  uint32_t kept_step;     /* the step whose numbers are kept */
} fg_progress;

/* Opens a phase in the caller's buffer.
 *
 * It checks everything, measures the features where the method needs it, and
 * puts the blob's start values into the engine's tensors.
 *
 * blob: aligned to 4 bytes; must stay where it is until fg_end.
 * buffer: aligned to 8 bytes, at least fg_required_bytes long.
 */
fg_status fg_open(fg_trainer **trainer, const void *blob, uint32_t blob_bytes,
                  const fg_engine *engine, const fg_samples *samples,
                  void *buffer, uint32_t buffer_bytes);

/* Changes every trainable tensor in turn and demands that some logit changes.
 * An engine that keeps a copy of weights is found out so. One that keeps sums
 * alone (CMSIS-NN on Cortex-M55, from when a model is prepared) is not, as the
 * rest of an output still moves: compare a written model with one that is
 * prepared anew. Runs up to `samples` training samples, evenly chosen, up to
 * seven times a tensor. The tensors are put back. */
fg_status fg_check_writes(fg_trainer *trainer, uint32_t samples);

/* Scores the kept samples at the start. Called once, before the first step. */
fg_status fg_begin(fg_trainer *trainer);

/* Takes one step. FG_DONE if all steps are taken. After FG_ENGINE_FAILED the
 * phase cannot go on; fg_end puts the start back. */
fg_status fg_step(fg_trainer *trainer);

/* Scores the kept samples, if the blob's schedule has not just done it, and
 * leaves the engine with what is kept: the best or the last step, or the start
 * if the phase has made it worse. */
fg_status fg_end(fg_trainer *trainer);

/* fg_check_writes on 32 samples, fg_begin, all steps, fg_end. */
fg_status fg_train(fg_trainer *trainer);

/* What has been measured. */
fg_status fg_read_progress(const fg_trainer *trainer, fg_progress *progress);

/* The masters of one tensor: int16 a number for kernels, offsets and gains (in
 * 1/256 of an int8 step), int32 for biases. `size` is that of fg_tensor_info;
 * the array that does not fit the tensor's role is NULL. After fg_end they are
 * those that are kept. */
fg_status fg_masters(const fg_trainer *trainer, uint32_t number,
                     int16_t *masters, int32_t *biases);

/* How many bytes fg_save writes: a header of 28, two bytes a number with a
 * master, four a bias, and a checksum of 4. */
fg_status fg_saved_bytes(const void *blob, uint32_t blob_bytes,
                         uint32_t *bytes);

/* After fg_end: writes the kept masters. It is the journal of the phase too:
 * `tflm-fg-adapt --blob` and `tflm_fg.micro.read_saved` make the same adapted
 * file of it on the host. */
fg_status fg_save(const fg_trainer *trainer, void *out, uint32_t out_bytes);

/* Puts what was saved into the engine's tensors. Needs no trainer, no sample
 * and no buffer. Refuses what was cut off, changed, or saved for another
 * blob. */
fg_status fg_restore(const void *blob, uint32_t blob_bytes,
                     const fg_engine *engine, const void *saved,
                     uint32_t saved_bytes);

/* Puts the blob's start values into the engine's tensors: forgets everything
 * that was learned. */
fg_status fg_forget(const void *blob, uint32_t blob_bytes,
                    const fg_engine *engine);

/* The journal of signs, for FG_SIGN_SPSA: 2 bits a direction and step (0 for
 * 0, 1 for +, 2 for -), four to a byte, the first in the lowest bits.
 *
 * fg_write_signs: called before fg_begin; every step then adds its signs to
 *   `signs`, which is steps * directions / 4 bytes long, rounded up.
 * fg_replay_signs: takes `steps` recorded steps in place of fg_begin and
 *   fg_step, without running the engine. */
fg_status fg_signs_bytes(const void *blob, uint32_t blob_bytes,
                         uint32_t *bytes);
fg_status fg_write_signs(fg_trainer *trainer, uint8_t *signs,
                         uint32_t signs_bytes);
fg_status fg_replay_signs(fg_trainer *trainer, const uint8_t *signs,
                          uint32_t signs_bytes, uint32_t steps);

#ifdef __cplusplus
}
#endif
#endif /* FG_H_ */
