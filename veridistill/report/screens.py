"""Where a step is shown on stderr: a bar with lines under it on a terminal, plain lines elsewhere.

`phrases` has the words; `progress` measures and calls `tick` about once a second.
"""

import os
import shutil
from typing import Any, Literal, Protocol, TextIO

from veridistill.report.phrases import Record, line, phrases, printable, time_left
from veridistill.report.values import duration, share

Show = Literal["auto", "live", "plain", "quiet"]

FIRST_SECONDS = 10.0
LINE_SECONDS = 60.0
_BAR = 40


class Screen(Protocol):
    """Where a step is shown."""

    def tick(self, record: Record, now: float) -> None: ...

    def end(self, record: Record) -> None: ...


def show_for(stream: TextIO) -> Show:
    """Live on a terminal that can redraw a line."""
    return "live" if stream.isatty() and os.environ.get("TERM") != "dumb" else "plain"


def open_screen(show: Show, stream: TextIO, now: float) -> Screen | None:
    """None where nothing is shown."""
    if show == "live":
        return LiveScreen(stream)
    return PlainScreen(stream, now) if show == "plain" else None


class PlainScreen:
    """One line soon after the start, one a minute, and one at the end."""

    def __init__(self, stream: TextIO, now: float) -> None:
        self._stream = stream
        self._due = now + FIRST_SECONDS

    def tick(self, record: Record, now: float) -> None:
        if now >= self._due:
            self._due = now + LINE_SECONDS
            self._print(record)

    def end(self, record: Record) -> None:
        if _worth_a_line(record):
            self._print(record)

    def _print(self, record: Record) -> None:
        self._stream.write(line(record) + "\n")
        self._stream.flush()


class LiveScreen:
    """Drawn by rich, which also keeps other writers to stderr above it. At the end one plain line stays."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._stream = stream
        self._live = Live(
            console=Console(file=stream, highlight=False, markup=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # stdout is data
        )
        self._live.start()

    def tick(self, record: Record, now: float) -> None:
        self._live.update(_drawn(record, self._live.console.width), refresh=True)

    def end(self, record: Record) -> None:
        self._live.stop()
        if _worth_a_line(record):
            self._stream.write(line(record) + "\n")
            self._stream.flush()


def _worth_a_line(record: Record) -> bool:
    """Whether a step that ended is worth a line: not one that only prepared, quickly."""
    return bool(record["unit"]) or record["seconds"] >= FIRST_SECONDS


def _drawn(record: Record, width: int) -> Any:
    """The bar, and the phrases under it in as many lines as they need at this width."""
    from rich.text import Text

    drawn = Text(no_wrap=True, overflow="ellipsis", end="")
    name, percent = printable(record["step"]), share(record["share"], 1)
    times = duration(record["seconds"])
    if (left := time_left(record)) is not None:
        times += f", {left}"
    room = width - len(name) - len(percent) - len(times) - 6
    full = max(min(room, _BAR), 0)
    filled = round(record["share"] * full)
    drawn.append(name, "bold")
    drawn.append("  " + "━" * filled, "green")
    drawn.append("━" * (full - filled) + " ", "dim")
    drawn.append(f" {percent}  {times}")
    for row in flowed([printable(one) for one in phrases(record)], width - 2):
        drawn.append(f"\n  {row}")
    return drawn


def flowed(parts: list[str], width: int, between: str = "  ") -> list[str]:
    """Parts in lines of at most `width` characters, no part broken unless it is longer than a line."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + len(between) + len(part) <= width:
            rows[-1] += between + part
        else:
            rows.append(part)
    return rows


def terminal_width() -> int:
    return shutil.get_terminal_size((80, 24)).columns
