"""The signatures that remember, train, measure, and give and take weights."""

from __future__ import annotations

from converters.to_signatures.graph import Graph
from converters.to_signatures.parts import Parts
from tflm_fg import signatures


def add_initial(parts: Parts) -> None:
  """Writes the subgraph that gives variables their first content."""
  graph = Graph(parts.file, "initial")
  signatures.forget(graph, parts.spec)
  graph.close([], [])
  parts.initial = graph.number


def add_remember(parts: Parts) -> None:
  """remember(x [1, ...], y int32 [1]) -> count."""
  graph = parts.graph("remember")
  x = parts.sample(graph)
  y = graph.tensor([1], "int32")
  features = parts.features_of(graph, x)
  count = signatures.remember(graph, parts.spec, features, y)
  graph.signature({"x": x, "y": y}, {"count": count})


def add_train(parts: Parts) -> None:
  """train(steps int32 [1], rate float32 [1]) -> loss."""
  graph = parts.graph("train")
  steps = graph.tensor([1], "int32")
  rate = graph.tensor([1], "float32")
  loss = signatures.train_head(graph, parts.spec, steps, rate)
  graph.signature({"steps": steps, "rate": rate}, {"loss": loss})


def add_evaluate(parts: Parts) -> None:
  """evaluate() -> loss, correct, count."""
  graph = parts.graph("evaluate")
  found = signatures.evaluate_head(graph, parts.spec)
  graph.signature({}, found._asdict())


def add_get_weights(parts: Parts) -> None:
  """get_weights() -> kernel, bias."""
  graph = parts.graph("get_weights")
  graph.signature({}, signatures.weights_now(graph, parts.spec)._asdict())


def add_set_weights(parts: Parts) -> None:
  """set_weights(kernel, bias) -> accepted."""
  graph = parts.graph("set_weights")
  spec = parts.spec
  kernel = graph.tensor([spec.classes, spec.inputs], "int32")
  bias = graph.tensor([spec.classes], "int32")
  accepted = signatures.set_weights(graph, spec, kernel, bias)
  graph.signature({"kernel": kernel, "bias": bias}, {"accepted": accepted})


def add_reset(parts: Parts) -> None:
  """reset() -> count."""
  graph = parts.graph("reset")
  signatures.forget(graph, parts.spec)
  count = graph.filled([1], 0, "int32")
  graph.signature({}, {"count": count})
