"""The texts of the target tflm."""

from __future__ import annotations

from tflm_fg import micro

HEADER = """\
/* The model, what trains of it, and how much memory all of it takes.
 *
 * Written by tflm-fg-export.
 */
#ifndef FG_MODEL_H_
#define FG_MODEL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

@DEFINED@

#if FG_HAS_PREFIX
/* What is frozen: from the model's input to FG_SAMPLE_BYTES features. */
extern const uint8_t fg_prefix_model[];
#endif

/* What trains: from a sample to FG_OUTPUTS logits. Where FG_FLOWS is 0, the
 * trainable tensors are constants in it, and it lies in RAM. */
#if FG_FLOWS
extern const uint8_t fg_trained_model[];
#else
extern uint8_t fg_trained_model[];
#endif

/* How it trains; see fg.h. */
extern const uint8_t fg_blob[];
extern const uint32_t fg_blob_bytes;

/* Where the trainable tensors lie, in the order of the blob. */
extern void *const fg_tensors[FG_TENSORS];

extern const char *const fg_class_names[FG_CLASSES];

#ifdef __cplusplus
}
#endif
#endif /* FG_MODEL_H_ */
"""

CONSTANTS = """\
/* Written by tflm-fg-export. */
#include "fg_model.h"
"""

OPERATORS = """\
// The operators that the model uses, for a tflite::MicroMutableOpResolver.
//
// Written by tflm-fg-export. 0 is kTfLiteOk.
#ifndef FG_OPERATORS_H_
#define FG_OPERATORS_H_

@ADDED@
#endif  // FG_OPERATORS_H_
"""

CMAKE = """\
# The trainer and the model as a library, and an example that uses them.
#
# TensorFlow Lite Micro is yours to bring: name the target of your build that
# is it, as in  cmake -DTFLM_TARGET=tflite_micro . In ESP-IDF this folder is a
# component, and idf_component.yml names the one with TFLM.
cmake_minimum_required(VERSION 3.16)

file(GLOB fg_sources "${CMAKE_CURRENT_LIST_DIR}/src/*.c")

if(ESP_PLATFORM)
  idf_component_register(SRCS ${fg_sources} INCLUDE_DIRS src)
  return()
endif()

project(@NAME@ LANGUAGES C CXX)
if(NOT DEFINED TFLM_TARGET)
  set(TFLM_TARGET "" CACHE STRING "the target that is TensorFlow Lite Micro")
endif()
if(NOT TARGET "${TFLM_TARGET}")
  message(FATAL_ERROR "TFLM_TARGET='${TFLM_TARGET}' is no target: add "
                      "TensorFlow Lite Micro to your build first, and name it")
endif()

add_library(@NAME@ STATIC ${fg_sources})
target_include_directories(@NAME@ PUBLIC "${CMAKE_CURRENT_LIST_DIR}/src")
target_link_libraries(@NAME@ PUBLIC "${TFLM_TARGET}")
set_target_properties(@NAME@ PROPERTIES C_STANDARD 99)
target_compile_features(@NAME@ INTERFACE cxx_std_17)

add_executable(@NAME@_enroll EXCLUDE_FROM_ALL
               examples/enroll/main.cc examples/enroll/board.c)
target_link_libraries(@NAME@_enroll PRIVATE @NAME@)
"""

ARDUINO = """\
name=@NAME@
version=1.0.0
author=tflm_fg
maintainer=tflm_fg
sentence=A model that learns on the board, by forward passes alone.
paragraph=It trains in integers beside TensorFlow Lite Micro.
category=Data Processing
url=https://www.tensorflow.org/lite/microcontrollers
architectures=*
depends=Chirale_TensorFLowLite
includes=fg_model.h
"""

ESP_IDF = """\
description: A model that learns on the board, by forward passes alone
version: "1.0.0"
dependencies:
  idf: ">=4.4"
  espressif/esp-tflite-micro:
    version: "^1.3.1"
    public: true # src/tflm_engine.h includes it for whoever includes that
"""

_README = """\
# @NAME@

A model that learns on the board. Written by `tflm-fg-export`.

| what | bytes | where |
|---|---|---|
@TABLE@

Beside it come TensorFlow Lite Micro, which you bring, and the program.

## Build it

- **CMake**: `add_subdirectory` this folder behind your target of TensorFlow
  Lite Micro, with `-DTFLM_TARGET=` its name. The example is the target
  `@NAME@_enroll`.
- **Arduino**: this folder is a library; put it into `libraries`. The example
  is *enroll*. The sketch needs a library with TensorFlow Lite Micro;
  `library.properties` names one.
- **ESP-IDF**: this folder is a component; put it into `components`.
  `idf_component.yml` names the component with TensorFlow Lite Micro.

Compile with C99 and C++17 or later. `src/tflm_engine.h` is the only file that
includes TensorFlow Lite Micro.

## Use it

`examples/enroll/main.cc` shows all of it: samples are named by buttons, the
board trains, and what came of it is in flash after a restart. Your board is
`examples/enroll/board.c`; what is there plays one and prints.

Operators for `MicroMutableOpResolver`, which `src/fg_operators.h` adds:
@OPERATORS@.

The arenas are planned on the host for a 64-bit build, so that a microcontroller
needs less: print `arena_used()` and make them smaller. Kernels of CMSIS-NN and
ESP-NN ask for scratch memory beyond the plan: make them larger if `Prepare`
says false.

## What lies in flash

Two slots of @SLOT@ bytes at least, each a multiple of what your flash erases at
once, that nothing else uses. A save erases the older slot and fills it
(`src/fg_slots.h`): a loss of power at any byte leaves what was there. A slot
holds a header of 32 bytes with a sequence number and checksums, and what
`fg_save` wrote: @SAVED@ bytes. The same bytes, read off the board, make the
adapted file on the host:

    tflm-fg-adapt --model=host/marked.tflite --blob=host/blob.bin \\
      --from_journal=saved.bin --out=adapted.tflite
@KERNEL_SUMS@"""

_KERNEL_SUMS = """
## CMSIS-NN

On Cortex-M55 and M85 CMSIS-NN sums kernels when a model is prepared, and would
miss a part of each write. The example looks for that before it learns, and ends
if it is so. Build with `-DFG_REBUILD=1` there, which prepares the trained piece
anew before every run, or FULLY_CONNECTED with TFLM's reference kernel; or
export with `--trainable=prompt`, which writes to no constant.
"""


def summary(
  pieces: micro.DevicePieces, sizes: micro.DeviceSizes, samples: int
) -> list[str]:
  """What the user is told on the terminal: a line a row of the table."""
  rows = _rows(pieces, sizes, samples)
  return [
    f"  {size:9,d} bytes of {where:5s}  {what}" for what, size, where in rows
  ]


def _rows(
  pieces: micro.DevicePieces, sizes: micro.DeviceSizes, samples: int
) -> list[tuple[str, int, str]]:
  trained = pieces.trained
  where = "flash" if pieces.flows else "RAM"
  rows = [
    (
      "the model, which stays as it is"
      if pieces.flows
      else "the trained part of the model",
      len(trained.data),
      where,
    ),
    ("its arena, as planned", trained.arena_bytes, "RAM"),
    ("how it trains (the blob)", sizes.blob_bytes, "flash"),
    ("the trainer's buffer", sizes.buffer_bytes, "RAM"),
    (
      f"{samples + 1} samples of {trained.sample_bytes} bytes",
      (samples + 1) * trained.sample_bytes,
      "RAM",
    ),
    ("what is saved", sizes.saved_bytes, "flash"),
  ]
  if pieces.prefix is not None:
    rows[:0] = [
      ("the frozen part of the model", len(pieces.prefix.data), "flash"),
      ("its arena, as planned", pieces.prefix.arena_bytes, "RAM"),
    ]
  return rows


def readme(
  name: str, pieces: micro.DevicePieces, sizes: micro.DeviceSizes, samples: int
) -> str:
  """README.md of the folder."""
  operators = {
    kernel.name
    for piece in (pieces.prefix, pieces.trained)
    if piece
    for kernel in piece.kernels
  }
  table = "\n".join(
    f"| {what} | {size:,} | {where} |"
    for what, size, where in _rows(pieces, sizes, samples)
  )
  return (
    _README.replace("@NAME@", name)
    .replace("@TABLE@", table)
    .replace("@OPERATORS@", ", ".join(sorted(operators)))
    .replace("@SLOT@", f"{sizes.slot_bytes:,}")
    .replace("@SAVED@", f"{sizes.saved_bytes:,}")
    .replace("@KERNEL_SUMS@", "" if pieces.flows else _KERNEL_SUMS)
  )
