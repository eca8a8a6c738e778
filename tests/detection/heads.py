"""Small heads and streams, made up, whose word is a direction of the input."""

import numpy as np

from tflm_fg.detection import Rule
from tflm_fg.streaming import Head

RULE = Rule(0.9, window=3, warm_up=4, refractory=4, step_seconds=0.1)
FEATURES = 12


def head(activation="LOGISTIC", outputs=1, seed=0, **changed):
  """A head whose weights are small and at random."""
  random = np.random.default_rng(seed)
  weights = random.integers(-30, 31, (outputs, FEATURES)).astype(np.int8)
  weights[0, 1:4] = 20  # it hears the word a little, as a trained model does
  settings = {
    "weights": weights,
    "bias": random.integers(-4000, 4001, outputs).astype(np.int32),
    "weight_scales": (0.02,),
    "bias_scales": (0.02 * 0.02,),
    "input_scale": 0.02,
    "input_zero_point": -128,
    "logit_scale": 0.3,
    "logit_zero_point": 30,
    "activation": activation,
    "output_scale": 1 / 256,
    "output_zero_point": 0,
    "output_dtype": "uint8",
  }
  return Head(**(settings | changed))


def streams(count, word, steps=40, seed=1, where=25, noise=9):
  """Streams of noise, int8 [steps, features]; a word raises some inputs.

  Args:
    count: of streams.
    word: None for none, or the inputs that it raises.
    steps: of each.
    seed: of the noise.
    where: the step that the word begins at; it lasts 6 steps.
    noise: its spread in int8 steps.
  """
  random = np.random.default_rng(seed)
  found = []
  for _ in range(count):
    stream = random.normal(-60, noise, (steps, FEATURES))
    if word is not None:
      stream[where : where + 6, list(word)] += 60
    found.append(np.clip(np.rint(stream), -128, 127).astype(np.int8))
  return found


class Model:
  """What `detection.Model` asks for, in floats in place of an engine."""

  def __init__(self, own):
    self.head = own

  def head_outputs(self, head_inputs, weights=None, bias=None):
    own = self.head
    weights = own.weights if weights is None else weights
    bias = own.bias if bias is None else bias
    z = (head_inputs.astype(np.int64) + 128) @ weights.T.astype(np.int64) + bias
    z = z * own.input_scale * own.weight_scales[0] / own.logit_scale
    z = np.clip(np.rint(z), -128 - 30, 127 - 30) * own.logit_scale
    if own.activation == "SOFTMAX":
      p = np.exp(z - z.max(axis=1, keepdims=True))
      p /= p.sum(axis=1, keepdims=True)
    else:
      p = 1 / (1 + np.exp(-z))
    return np.clip(np.rint(p * 256), 0, 255).astype(np.uint8)
