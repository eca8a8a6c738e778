"""Write vectors.h for check.c: inputs, and what Python makes of them.

python -m tests.micro.write_vectors vectors.h
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from tflm_fg import micro
from tflm_fg.marking import opened
from tflm_fg.runtimes import open_session
from tflm_fg.tflite import Part

SPOTTER = "apps/kws/ds_cnn.tflite"
ROOT = pathlib.Path(__file__).parents[2]

CASES = 1
"""How many lines check.c prints that end in "differ"."""


def as_tflm(file, x):
  """Outputs of TFLM's interpreter, [N, ...]."""
  graph = file.subgraph
  part = Part(file, graph.inputs, graph.outputs, ())
  session = open_session("tflm", part)
  return np.concatenate([session.run((one[None],))[0] for one in x])


def spotter_logits(samples=2):
  """The shipped spotter from its input to its logits."""
  file = opened(str(ROOT / SPOTTER))
  network = micro.read_network(file)
  shape = file.subgraph.tensors[file.subgraph.inputs[0]].shape
  random = np.random.default_rng(0)
  x = random.integers(-128, 128, (samples, *shape[1:])).astype(np.int8)
  logits = as_tflm(file, x)
  numbers = {
    "LOGITS_SAMPLES": samples,
    "LOGITS_INPUT_BYTES": x[0].size,
    "LOGITS_OUTPUTS": logits[0].size,
    "LOGITS_ARENA": network.arena_bytes,
    "LOGITS_INPUT": network.inputs[0],
    "LOGITS_OUTPUT": network.outputs[0],
  }
  return [
    *(f"#define {name} {value}\n" for name, value in numbers.items()),
    micro.network_source(network, "logits_net"),
    micro.c_array("logits_x", x),
    micro.c_array("logits_wanted", logits),
  ]


def main(path):
  """Writes all cases."""
  parts = ['#include "forward.h"\n', *spotter_logits()]
  pathlib.Path(path).write_text("".join(parts))


if __name__ == "__main__":
  main(sys.argv[1])
