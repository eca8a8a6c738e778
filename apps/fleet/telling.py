"""What a fleet's run came to, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tell(told: Mapping[str, Any]) -> None:
  """Prints a report.

  Args:
    told: of `Server.report`, with accuracies where there was a test.
  """
  print(
    f"{told['clients']} clients, {told['rounds']} rounds ({told['scheme']}), "
    f"{told['contributions']} contributions, {told['missed']} missed"
  )
  if told["epsilon"] is not None:
    print(
      f"differential privacy: epsilon {told['epsilon']:.3g} at delta "
      f"{told['delta']:g}"
    )
  for line in told["refused"]:
    print(f"refused: {line}")
  print(
    f"a client sent {told['bytes_up']} bytes and was sent {told['bytes_down']}"
  )
  equal = "yes" if told["masters_equal"] else "no"
  print(
    f"masters equal: {equal} ({told['masters_compared']} clients, SHA-256 "
    f"{told['masters_sha256'][:16]})"
  )
  losses = [loss for loss in told["losses"] if loss is not None]
  if len(losses) > 1:
    print(
      f"mean loss of the clients' samples {losses[0]:.4f} -> {losses[-1]:.4f}"
    )
  if "accuracy_after" in told:
    before, after = told["accuracy_before"], told["accuracy_after"]
    print(f"accuracy {before:.4f} -> {after:.4f}")
    if after < before:
      print(
        "note: the model is worse on --test than the one that the fleet began "
        "with; keep that one"
      )
