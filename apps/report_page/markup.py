"""Pieces of HTML; every text that is given is written as it is."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from apps.report_page.style import STYLE


class Markup(str):
  """Text that is HTML already."""


def text(value: Any) -> Markup:
  """A value as HTML; what is HTML already stays."""
  if isinstance(value, Markup):
    return value
  return Markup(html.escape(str(value)))


def element(name: str, content: Any, kind: str = "") -> Markup:
  """An element around some content, with a class where one is given."""
  opening = f'{name} class="{kind}"' if kind else name
  return Markup(f"<{opening}>{text(content)}</{name}>")


def joined(pieces: Iterable[Any], between: str = "\n") -> Markup:
  """Pieces one behind the other."""
  return Markup(between.join(text(piece) for piece in pieces))


def paragraph(content: Any, kind: str = "") -> Markup:
  """A paragraph."""
  return element("p", content, kind)


def section(title: str, pieces: Iterable[Any]) -> Markup:
  """A title with what stands under it; nothing where that is nothing."""
  pieces = [piece for piece in pieces if piece]
  return joined([element("h2", title), *pieces]) if pieces else Markup()


def listed(items: Iterable[Any]) -> Markup:
  """A list; nothing where it has no items."""
  rows = [element("li", item) for item in items]
  return element("ul", joined(rows)) if rows else Markup()


def table(
  head: Sequence[Any],
  rows: Iterable[Sequence[Any]],
  kind: str = "",
  columns: Sequence[str] = (),
) -> Markup:
  """A table whose first column names the rows.

  Args:
    head: names of the columns; empty for none.
    rows: their cells.
    kind: the class of the table.
    columns: a class for the cells of each column; none by default.
  """
  lines = [_line("th", head, columns)] if head else []
  lines += [_line("td", row, columns) for row in rows]
  return element("table", joined(lines), kind)


def _line(name: str, cells: Sequence[Any], columns: Sequence[str]) -> Markup:
  kinds = [*columns, *[""] * (len(cells) - len(columns))]
  drawn = [element(name, cell, kind) for cell, kind in zip(cells, kinds)]
  return element("tr", joined(drawn, ""))


def facts(rows: Iterable[tuple[str, Any]]) -> Markup:
  """A table of names and values; those without a value are left out."""
  shown = [row for row in rows if row[1] not in (None, "")]
  return table((), shown, "facts") if shown else Markup()


def figure(drawn: Markup, caption: Any) -> Markup:
  """A graph with the words that say what it shows."""
  return element("figure", joined([drawn, element("figcaption", caption)]))


def page(title: str, when: str, sections: Iterable[Markup]) -> str:
  """One page that needs no other file.

  Args:
    title: what was adapted to what.
    when: the date, for people.
    sections: what stands under the title, in order.
  """
  name = html.escape(title)
  body = joined(piece for piece in sections if piece)
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{STYLE}</style>
</head>
<body>
<p class="when">{html.escape(when)}</p>
<h1>{name}</h1>
{body}
</body>
</html>
"""
