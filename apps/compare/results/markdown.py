"""Write Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
  """A Markdown table; empty where it has no rows."""
  lines = [_line(row) for row in body]
  return "\n".join([_line(header), "|---" * len(header) + "|", *lines]) * bool(
    lines
  )


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"
