"""Pages of a list: filtered, searched, and continued by the number of an entry, never by counting past others."""

import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from veridistill.view.index import BITS, item_of
from veridistill.view.items import SLOTS, Item

PAGE = 50
BUDGET = 0.15
"""Seconds that a page looks for matches. What it has found by then is shown, and the search goes on from there."""
LOOK = 1000
"""Matches between two looks at the clock."""
LONGEST = 300
"""Characters of a search."""

_PARTS = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Filter:
    """`facets` that an entry must all have, and the `text` that one of its texts must match."""

    facets: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in order. `before` and `after` are where the pages around begin, None where there is nothing.

    `matched`: by entry, the slots of the first texts that match. `cut`: the search stopped early, and goes on at
    `after` (or `before`).
    """

    items: tuple[Item, ...]
    before: int | None
    after: int | None
    matched: dict[int, tuple[int, ...]]
    cut: bool = False


def expression(text: str) -> str | None:
    """A search as FTS5 has it: words, "phrases" and prefixes (`calc*`), all of which must be in the same text.

    None where nothing is left to look for, such as signs alone.
    """
    parts = []
    for phrase, word in _PARTS.findall(text[:LONGEST].replace("\0", " ")):
        found = phrase or word
        if any(map(str.isalnum, found)):
            star = " *" if word.endswith("*") else ""
            parts.append('"' + found.replace('"', '""') + '"' + star)
    return " ".join(parts) or None


def page(
    connection: sqlite3.Connection,
    wanted: Filter,
    start: int = 0,
    direction: Literal["forward", "back"] = "forward",
    size: int = PAGE,
) -> Page:
    """The entries after `start`, or with `back` those before it, always in ascending order."""
    mask = _mask(connection, wanted.facets)
    if mask is None or (wanted.text.strip() and expression(wanted.text) is None):
        return Page((), None, None, {})
    found, cut, last = _found(connection, wanted.text, mask, start, direction, size)
    numbers, more = sorted(list(found)[:size]), len(found) > size
    shown = _items(connection, numbers), {no: tuple(found[no]) for no in numbers}
    if direction == "forward":
        onward = numbers[-1] if more else last if cut else None
        return Page(shown[0], start + 1 if start > 0 else None, onward, shown[1], cut and not more)
    onward = numbers[0] if more else last if cut else None
    return Page(shown[0], onward, start - 1 if start > 0 else None, shown[1], cut and not more)


def neighbours(connection: sqlite3.Connection, wanted: Filter, no: int) -> tuple[Item | None, Item | None]:
    """The entries before and after one, under a filter."""
    before = page(connection, wanted, no, "back", 1).items
    after = page(connection, wanted, no, "forward", 1).items
    return (before[0] if before else None, after[0] if after else None)


def count(connection: sqlite3.Connection, facets: tuple[str, ...]) -> int:
    """The number of entries under a filter without text."""
    mask = _mask(connection, facets)
    if mask is None:
        return 0
    row = connection.execute("SELECT count(*) FROM masks WHERE mask & ? = ?", (mask, mask)).fetchone()
    return int(row[0])


def facets(connection: sqlite3.Connection) -> dict[str, int]:
    """What can be filtered by, with the number of entries that have it."""
    rows = connection.execute(
        "SELECT name, entries FROM facets WHERE entries > 0 AND bit < ? ORDER BY name", (BITS,)
    )
    return dict(rows.fetchall())


def _found(
    connection: sqlite3.Connection, text: str, mask: int, start: int, direction: str, size: int
) -> tuple[dict[int, list[int]], bool, int]:
    """Up to one entry more than a page holds, with the slots of its matches; whether time ran out, and where."""
    found: dict[int, list[int]] = {}
    until, last = time.monotonic() + BUDGET, start
    rows = (
        _matches(connection, text, start, direction)
        if text.strip()
        else _all(connection, mask, start, direction)
    )
    for seen, (no, slot, bits) in enumerate(rows):
        if no not in found and len(found) > size:
            break
        if bits & mask == mask:
            found.setdefault(no, []).append(slot)
        last = no
        if seen % LOOK == LOOK - 1 and time.monotonic() > until:
            return found, True, last
    return found, False, last


def _all(
    connection: sqlite3.Connection, mask: int, start: int, direction: str
) -> Iterator[tuple[int, int, int]]:
    sign, order = _order(direction)
    for no, bits in connection.execute(
        f"SELECT no, mask FROM masks WHERE no {sign} ? AND mask & ? = ? ORDER BY no {order}",
        (start, mask, mask),
    ):
        yield no, 0, bits


def _matches(
    connection: sqlite3.Connection, text: str, start: int, direction: str
) -> Iterator[tuple[int, int, int]]:
    sign, order = _order(direction)
    border = (start + 1) * SLOTS - 1 if direction == "forward" else start * SLOTS
    for row, bits in connection.execute(
        "SELECT docs.rowid, masks.mask FROM docs CROSS JOIN masks ON masks.no = docs.rowid / ? WHERE docs MATCH ?"
        f" AND docs.rowid {sign} ? ORDER BY docs.rowid {order}",
        (SLOTS, expression(text), border),
    ):
        yield row // SLOTS, row % SLOTS, bits


def _order(direction: str) -> tuple[str, str]:
    return (">", "ASC") if direction == "forward" else ("<", "DESC")


def _mask(connection: sqlite3.Connection, names: tuple[str, ...]) -> int | None:
    """None where no entry has one of the facets."""
    mask = 0
    for name in names:
        row = connection.execute("SELECT bit FROM facets WHERE name = ?", (name,)).fetchone()
        if row is None or row[0] >= BITS:
            return None
        mask |= 1 << row[0]
    return mask


def _items(connection: sqlite3.Connection, numbers: list[int]) -> tuple[Item, ...]:
    marks = ",".join("?" * len(numbers))
    rows = connection.execute(f"SELECT * FROM items WHERE no IN ({marks}) ORDER BY no", numbers)
    return tuple(map(item_of, rows))
