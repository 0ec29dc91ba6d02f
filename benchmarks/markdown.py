"""How figures look in the pages: tables, gains and shares."""

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def table(head: str, rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table. `head`: the column names, separated by `|`; those that start with `>` are right-aligned."""
    names = [name.strip() for name in head.split("|")]
    rule = ["---:" if name.startswith(">") else "---" for name in names]
    lines = [[name.lstrip("> ") for name in names], rule, *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def gain(found: Json) -> str:
    return f"{found['mean']:+.1f} [{found['low']:.1f}, {found['high']:.1f}]"


def percent(found: Json) -> str:
    return f"{100 * found['rate']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def span(values: Iterable[float], factor: float = 100.0) -> str:
    """ "98.5 to 98.8", or "98.5" when all are the same at one decimal."""
    ordered = sorted(f"{factor * value:.1f}" for value in values)
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
