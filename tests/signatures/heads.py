"""Heads of any size, with samples."""

from __future__ import annotations

import numpy as np

from tflm_fg import signatures


def random_head(
  seed=0, classes=4, inputs=6, capacity=32, reach=8.0, per_channel=True
):
  """A head whose logits reach so many nats, one scale a class or one."""
  random = np.random.default_rng(seed)
  real = random.normal(0, 1, (classes, inputs))
  most = np.abs(real).max(axis=1) if per_channel else np.abs(real).max()
  scales = np.resize(most / 127, classes)
  return signatures.HeadSpec(
    kernel=np.round(real / scales[:, None]).astype(np.int8),
    bias=random.integers(-300, 300, classes).astype(np.int32),
    kernel_scales=scales,
    input_scale=0.03,
    input_zero_point=int(random.integers(-128, 50)),
    output_scale=reach / 127,
    output_zero_point=int(random.integers(-20, 20)),
    capacity=capacity,
  )


def clusters(spec, count, seed=0, classes=None, spread=12):
  """Features int8 [N, D] around a middle for each class, and labels [N]."""
  random = np.random.default_rng([seed, 5])
  middles = random.integers(-70, 71, (spec.classes, spec.inputs))
  known = np.arange(spec.classes) if classes is None else np.array(classes)
  y = known[np.arange(count) % len(known)].astype(np.int32)
  x = middles[y] + random.normal(0, spread, (count, spec.inputs))
  return np.clip(np.round(x), -128, 127).astype(np.int8), y


def engine_with(spec, x, y, kind=signatures.NumpyEngine):
  """An engine that remembers samples."""
  engine = kind()
  signatures.forget(engine, spec)
  for sample, label in zip(x, y):
    signatures.remember(engine, spec, sample[None], np.array([label], np.int32))
  return engine


def trained(engine, spec, steps=42, rate=4.0):
  """The loss that training says, and the weights after it."""
  with np.errstate(over="ignore"):
    loss = signatures.train_head(
      engine, spec, np.int32([steps]), np.float32([rate])
    )
  weights = signatures.weights_now(engine, spec)
  return float(loss[0]), weights


def right(spec, weights, x, y):
  """Which samples the int8 layer recognizes: bool [N]."""
  steps = (weights.kernel.astype(np.int64) + 128) >> 8
  sums = (x.astype(np.int64) - spec.input_zero_point) @ steps.T + weights.bias
  logits = np.round(sums * spec.unit_scales / spec.output_scale)
  logits = np.clip(logits + spec.output_zero_point, -128, 127)
  return logits.argmax(axis=1) == y
