"""The flags of tflm-fg-export that its targets read."""

from __future__ import annotations

from absl import flags

from apps import cli

cli.section(cli.OFTEN)
TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "what trains on the device: head (the last layer), wide-head, prompt (an "
  "offset a channel of the input, and with --prompt_gain a gain), or, with "
  "--target=tflm, a regular expression on tensors' names; by default what the "
  "file's mark says, or head. With --target=signatures also prompt,wide-head "
  "and auto, a head and a prompt where the input takes one, which is the "
  "default there; a prompt then has an offset a channel and one gain",
)
SAMPLES = flags.DEFINE_integer(
  "samples",
  32,
  "with --target=tflm: how many samples the device holds to train on",
  lower_bound=2,
)
CAPACITY = flags.DEFINE_integer(
  "capacity",
  512,
  "with --target=signatures: how many samples the file remembers; a newer one "
  "takes the place of the oldest",
  lower_bound=8,
)
IO = flags.DEFINE_enum(
  "io",
  "native",
  ["native", "float32"],
  "with --target=signatures: types of inputs and outputs: the model's own, or "
  "float32 and int32 alone, as browsers and Swift take them",
)
BASE = flags.DEFINE_string(
  "base",
  None,
  "with --target=patch: the file that the patch is for: the one that was "
  "adapted or exported",
)
LEARNED = flags.DEFINE_string(
  "learned",
  None,
  "with --target=patch and a file that trains itself: what its get_weights "
  "gave, as an .npz, or as bytes in the order of the outputs' names",
)
