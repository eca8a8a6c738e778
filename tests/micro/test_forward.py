"""The network in C gives what the engines give, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.micro.compiling import compiled, needs_gcc, output_of
from tests.micro.networks import KINDS, random_models
from tflm_fg import micro, runtimes
from tflm_fg.runtimes import open_session
from tflm_fg.tflite import ModelFile, Part
from tflm_fg.types import TflmFgError

SAMPLES = 6

MAIN = """
#include <stdio.h>
#include "forward.h"
{networks}
static int8_t arena[{arena}];
static int run(const fg_network *network, const uint16_t *inputs, int count,
               uint16_t output) {{
  int sample, i;
  for (sample = 0; sample < {samples}; sample++) {{
    const fg_values *made = network->tensors + output;
    size_t size;
    for (i = 0; i < count; i++) {{
      const fg_values *tensor = network->tensors + inputs[i];
      size = (size_t)tensor->height * tensor->width * tensor->channels;
      if (fread(fg_network_tensor(network, inputs[i], arena), 1, size, stdin)
          != size) return 1;
    }}
    if (fg_network_run(network, arena) != 0) return 1;
    size = (size_t)made->height * made->width * made->channels;
    if (fwrite(fg_network_tensor(network, output, arena), 1, size, stdout)
        != size) return 1;
  }}
  return 0;
}}
int main(void) {{
{runs}
  return 0;
}}
"""


def program_of(folder, networks, *flags):
  runs = []
  for number, network in enumerate(networks):
    inputs = ", ".join(map(str, network.inputs))
    count, output = len(network.inputs), network.outputs[0]
    runs.append(
      f"  {{ const uint16_t in[] = {{{inputs}}};\n"
      f"    if (run(&net{number}, in, {count}, {output})) return 1; }}"
    )
  main = MAIN.format(
    networks="\n".join(
      micro.network_source(n, f"net{i}") for i, n in enumerate(networks)
    ),
    arena=max(n.arena_bytes for n in networks),
    samples=SAMPLES,
    runs="\n".join(runs),
  )
  return compiled(folder, main, ["forward.c"], *flags)


def fed(models):
  random = np.random.default_rng(1)
  found = []
  for model in models:
    graph = ModelFile.of(model).subgraph
    shapes = [graph.tensors[t].shape[1:] for t in graph.inputs]
    found.append(
      [random.integers(-128, 128, (SAMPLES, *s)).astype("i1") for s in shapes]
    )
  return found


def as_engine(runtime, model, inputs):
  file = ModelFile.of(model)
  graph = file.subgraph
  part = Part(file, graph.inputs, graph.outputs, ())
  session = open_session(runtime, part, "in-place")
  rows = [
    session.run(tuple(x[i : i + 1] for x in inputs))[0] for i in range(SAMPLES)
  ]
  return np.concatenate(rows)


ROUNDINGS = [("tflm", ()), ("litert-reference", ("-DFG_LITERT_ROUNDING",))]


@needs_gcc
@pytest.mark.parametrize("runtime, flags", ROUNDINGS)
def test_random_layers_give_the_engines_bytes(tmp_path, runtime, flags):
  if not runtimes.is_installed(runtime):
    pytest.skip(f"{runtime} is not installed")
  count = 16
  models = random_models(count)
  networks = [micro.read_network(m) for m in models]
  inputs = fed(models)
  program = program_of(
    tmp_path, networks, "-fsanitize=undefined,address", "-g", *flags
  )
  data = b"".join(
    x[i].tobytes() for own in inputs for i in range(SAMPLES) for x in own
  )
  made = np.frombuffer(output_of(program, data), np.int8)
  start, telling, wrong = 0, 0, {}
  for number, (model, own) in enumerate(zip(models, inputs)):
    wanted = as_engine(runtime, model, own).reshape(-1)
    got = made[start : start + wanted.size]
    start += wanted.size
    differ = int(np.sum(got != wanted))
    if differ:
      wrong[KINDS[number // count], number] = differ, wanted.size
    telling += len(np.unique(wanted)) > min(4, wanted.size // 4)
  assert start == made.size
  assert not wrong
  assert telling > 0.7 * len(models)  # others are clipped to one number


@needs_gcc
@pytest.mark.parametrize("flags", [(), ("-DFG_LITERT_ROUNDING",)])
def test_a_dense_layer_rounds_twice_unless_built_for_litert(tmp_path, flags):
  main = """
#include <stdio.h>
#include "forward.h"
int main(void) {
  static const int8_t x[1] = {1}, k[1] = {SUM};
  static const int32_t m[1] = {1 << 30};
  static const int8_t s[1] = {-2};
  const fg_values t[2] = {{1, 1, 1, 0, 0, x}, {1, 1, 1, 0, 0, NULL}};
  const fg_layer l[1] = {{FG_FULLY_CONNECTED, {0, 0}, 1, 1, 1, 1, 1, 1, 1, 0,
                          0, -128, 127, 1, 1, k, NULL, m, s}};
  const fg_network n = {t, l, 2, 1, 1};
  int8_t out[1];
  if (fg_network_run(&n, out)) return 1;
  printf("%d", out[0]);
  return 0;
}
"""
  program = compiled(
    tmp_path, main.replace("SUM", "3"), ["forward.c"], *flags
  )  # 3 / 8 = 0.375; first rounded to 2 / 4, which is 1 in the end
  assert output_of(program) == (b"0" if flags else b"1")


def test_what_the_network_in_c_does_not_run_is_refused_by_name():
  from tests import models

  with pytest.raises(TflmFgError, match="SOFTMAX is not one of FULLY_CONN"):
    micro.read_network(models.dense_model())
  with pytest.raises(TflmFgError, match="'x' is int16"):
    micro.read_network(models.dense_model(wide=True))
