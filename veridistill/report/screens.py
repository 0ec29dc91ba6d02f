"""How a step is shown on stderr: a bar on a terminal, plain lines elsewhere. `progress` measures what is shown."""

import math
import os
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from veridistill.report.values import count, duration, share

if TYPE_CHECKING:
    from veridistill.report.progress import Step

Show = Literal["auto", "live", "plain", "quiet"]
Fact = int | float | str

LINE_SECONDS = 10.0


class Screen(Protocol):
    """Where a step is shown. `tick` comes at most once a second."""

    def tick(self, step: "Step", now: float) -> None: ...

    def end(self, step: "Step") -> None: ...


def show_for(stream: TextIO) -> Show:
    """Live on a terminal that can redraw a line."""
    return "live" if stream.isatty() and os.environ.get("TERM") != "dumb" else "plain"


def open_screen(show: Show, stream: TextIO, step: "Step", now: float) -> Screen | None:
    """None where nothing is shown."""
    if show == "live":
        return LiveScreen(stream, step)
    return PlainScreen(stream, now) if show == "plain" else None


class PlainScreen:
    """One line per interval and one at the end."""

    def __init__(self, stream: TextIO, now: float) -> None:
        self._stream = stream
        self._due = now + LINE_SECONDS

    def tick(self, step: "Step", now: float) -> None:
        if now >= self._due:
            self._due = now + LINE_SECONDS
            self._print(step)

    def end(self, step: "Step") -> None:
        self._print(step)

    def _print(self, step: "Step") -> None:
        self._stream.write(line(step) + "\n")
        self._stream.flush()


class LiveScreen:
    """A bar drawn by rich, which also keeps other writers to stderr above it."""

    def __init__(self, stream: TextIO, step: "Step") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=stream),
            redirect_stdout=False,  # stdout is data
            refresh_per_second=4,
        )
        self._task = self._bars.add_task(_printable(step.name), total=step.total, facts="")
        self._bars.start()

    def tick(self, step: "Step", now: float) -> None:
        facts = "  ".join([_amount(step), *_facts(step), *_left(step)])
        self._bars.update(self._task, completed=step.done, total=step.total, facts=_printable(facts))

    def end(self, step: "Step") -> None:
        self.tick(step, 0.0)
        self._bars.stop()


def line(step: "Step") -> str:
    """A step as one plain line."""
    ended = {
        "done": f"done in {duration(step.seconds)}",
        "stopped": f"stopped after {duration(step.seconds)}",
    }
    times = [ended[step.state]] if step.state != "running" else [duration(step.seconds), *_left(step)]
    return _printable(f"{step.name}: " + ", ".join([_amount(step), *_facts(step), *times]))


def _amount(step: "Step") -> str:
    unit = f" {step.unit}" if step.unit else ""
    if step.total is None:
        return f"{count(step.done)}{unit}"
    return f"{count(step.done)}/{count(step.total)}{unit} ({share(step.done, step.total)})"


def _facts(step: "Step") -> list[str]:
    shown = [_fact(name, value) for name, value in step.facts.items() if name != "tokens"]
    rate = step.tokens_per_second
    return shown if rate is None else [*shown, f"{count(rate)} tokens/s"]


def _fact(name: str, value: Fact) -> str:
    words = name.replace("_", " ")
    if name == "acceptance" and isinstance(value, int | float) and math.isfinite(value):
        return f"{words} {share(value, 1)}"
    if isinstance(value, int):
        return f"{words} {value:,}"
    return f"{words} {value:.4g}" if isinstance(value, float) else f"{words} {value}"


def _left(step: "Step") -> list[str]:
    left = step.eta_seconds
    return [] if left is None else [f"{duration(left)} left"]


def _printable(text: str) -> str:
    """On one line and without control codes."""
    shown = (" " if letter.isspace() else letter for letter in text)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)
