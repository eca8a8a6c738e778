"""The signatures that remember, train, measure, and give and take weights."""

from __future__ import annotations

from collections.abc import Callable

from converters.to_signatures.graph import Graph
from converters.to_signatures.parts import Parts
from converters.to_signatures.values import Value
from tflm_fg import signatures


def forgetting(parts: Parts) -> Callable[[Graph], list[Value]]:
  """What gives all variables their first content."""

  def function(e: Graph) -> list[Value]:
    signatures.forget(e, parts.spec)
    if parts.prompt is not None:
      signatures.forget_prompt(e, parts.spec, parts.prompt)
    return [e.filled([1], 0, "int32")]

  return function


def add_initial(parts: Parts) -> None:
  """Writes the subgraph that gives variables their first content."""
  graph = Graph(parts.file, "initial")
  graph.call("forget", forgetting(parts), [])
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


def add_adapt_input(parts: Parts) -> None:
  """adapt_input(x [B, ...], y int32 [B], seed int32 [1]) -> loss, changed."""
  spec = parts.prompt
  assert spec is not None
  graph = parts.graph("adapt_input")
  x = parts.sample(graph, spec.batch)
  y = graph.tensor([spec.batch], "int32")
  seed = graph.tensor([1], "int32")
  flow = parts.flow_of(graph, x, spec.batch)
  found = signatures.adapt_input(
    graph, parts.spec, spec, flow, y, seed, parts.prompted
  )
  graph.signature({"x": x, "y": y, "seed": seed}, found._asdict())


def add_get_weights(parts: Parts) -> None:
  """get_weights() -> kernel, bias; of a file with a prompt offset, gain too."""
  graph = parts.graph("get_weights")
  found = signatures.weights_now(graph, parts.spec)._asdict()
  if parts.prompt is not None:
    prompt = signatures.prompt_now(graph, parts.spec, parts.prompt)
    found |= prompt._asdict()
  graph.signature({}, found)


def add_set_weights(parts: Parts) -> None:
  """set_weights(kernel, bias) -> accepted; with offset, gain as well."""
  graph = parts.graph("set_weights")
  spec, prompt = parts.spec, parts.prompt
  given = {
    "kernel": graph.tensor([spec.classes, spec.inputs], "int32"),
    "bias": graph.tensor([spec.classes], "int32"),
  }
  accepted = signatures.set_weights(graph, spec, **given)
  if prompt is not None:
    numbers = {
      "offset": graph.tensor(prompt.offset, "int32"),
      "gain": graph.tensor(prompt.gain, "int32"),
    }
    signatures.set_prompt(graph, spec, prompt, **numbers, accepted=accepted)
    given |= numbers
  graph.signature(given, {"accepted": accepted})


def add_reset(parts: Parts) -> None:
  """reset() -> count."""
  graph = parts.graph("reset")
  (count,) = graph.call("forget", forgetting(parts), [])
  graph.signature({}, {"count": count})
