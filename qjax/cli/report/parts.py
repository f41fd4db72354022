"""What a page is made of, before it is HTML: sections of tables, pictures, text and commands."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple


class Words(NamedTuple):
    """A paragraph."""

    text: str
    notice: bool = False
    """Whether it tells what is missing, and stands out."""
    kind: str = "words"


class Table(NamedTuple):
    """A table with its caption."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    """So many columns on the left are text; the others are numbers."""
    strong: Collection[int] = ()
    """Rows that stand out."""
    kind: str = "table"


def filled(table: Table) -> Table:
    """Return a table without the columns in which no row has anything."""
    kept = [i for i in range(len(table.columns)) if i == 0 or any(row[i] for row in table.rows)]
    columns, *rows = ([row[i] for i in kept] for row in (table.columns, *table.rows))
    return table._replace(columns=columns, rows=rows, texts=sum(i < table.texts for i in kept))


class Figure(NamedTuple):
    """A picture with its caption."""

    caption: str
    body: Any
    """HTML of the picture."""
    width: int
    """Pixels that it takes where there is room."""
    least: int
    """Pixels below which its type cannot be read: it scrolls in its box."""
    card: bool = False
    """Whether it stands on white in the dark, too."""
    kind: str = "figure"


class Pairs(NamedTuple):
    """Names with their values, side by side in columns."""

    caption: str
    pairs: Sequence[tuple[str, str]]
    kind: str = "pairs"


class Code(NamedTuple):
    """Text as it is typed or stored."""

    caption: str
    text: str
    kind: str = "code"


class Folded(NamedTuple):
    """Parts that are shown when their title is clicked."""

    title: str
    parts: Sequence[Any]
    kind: str = "folded"


class Section(NamedTuple):
    """A heading with what stands under it."""

    name: str
    """Its anchor."""
    title: str
    parts: Sequence[Any]
