"""A comparison for a terminal: sections of aligned columns, long texts cut to the width."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence

from veridistill.report.values import Table
from veridistill.runs.diff import Diff
from veridistill.runs.diff.words import headline, sections

NARROWEST, WIDEST = 60, 120
_GAP = "  "


def text(diff: Diff, width: int | None = None) -> str:
    """`width` in columns; default: the terminal's, within limits that can be read."""
    columns = max(NARROWEST, min(width or shutil.get_terminal_size().columns, WIDEST))
    lines = [*textwrap.wrap(headline(diff), columns)]
    for section in sections(diff):
        lines += ["", section.title.upper()]
        for sentence in section.sentences:
            lines += textwrap.wrap(printable(sentence), columns)
        for table in section.tables:
            lines += ["", *_table(table, columns)]
    return "\n".join(lines)


def _table(table: Table, columns: int) -> Iterator[str]:
    """The first column to the left, figures to the right, and texts in the last one cut to what is left of the line."""
    rows = [[printable(cell) for cell in row] for row in (table.header, *table.rows)]
    texts = table.header[-1] == "text"
    fixed = len(table.header) - texts
    widths = [max(len(row[place]) for row in rows) for place in range(fixed)]
    if not texts and (over := _width(widths) - columns) > 0:
        widest = widths.index(max(widths))  # such as a list of files among the settings
        widths[widest] = max(widths[widest] - over, 8)
    yield printable(table.caption)
    for row in rows:
        cells = [_cut(cell, width) for cell, width in zip(row, widths, strict=False)]
        left = [cells[0].ljust(widths[0])]
        line = _GAP.join(
            left + [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        )
        if texts:
            line += _GAP + _cut(" ".join(row[-1].split()), max(columns - _width(widths) - len(_GAP), 12))
        yield line.rstrip()


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def printable(cell: str) -> str:
    """On one line and without control codes: model texts go to the user's terminal."""
    shown = (" " if letter.isspace() else letter for letter in cell)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)
