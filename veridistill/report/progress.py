"""Progress on stderr while a run runs, and `progress.json` beside it for `veridistill status`.

A bar for each step when stderr is a terminal; otherwise one plain line per interval and at the end of each
step, without colours or control codes. `update` may be called for every reply: all but one call a second
only store. A full disk or a closed terminal stops the display, never the run.

    progress = Progress(run_dir)
    with progress.step("build", total=1500, unit="questions") as step:
        step.update(done, kept=kept, acceptance=kept / done, tokens=tokens)
"""

import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

from veridistill.report.screens import Fact, Screen, Show, open_screen, show_for

TICK_SECONDS = 1.0
_WINDOW = 60


class Progress:
    """The progress of one run; each of its steps is a context manager.

    `show` "auto" is live on a terminal and plain elsewhere; "quiet" shows nothing and still writes
    `progress.json`. `clock` is monotonic and measures everything; `wall` is read once, so `updated_at`
    never goes back.
    """

    def __init__(
        self,
        run_dir: Path | None = None,
        show: Show = "auto",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.show = show_for(self.stream) if show == "auto" else show
        self.clock = clock
        self._path = None if run_dir is None else run_dir / "progress.json"
        self._offset = wall() - clock()
        self._finished: list[dict[str, Any]] = []

    def step(self, name: str, total: int | None = None, unit: str = "") -> "Step":
        """A step of the pipeline; `total` None when its length is not known yet (`update` may give it)."""
        return Step(self, name, total, unit)

    def publish(self, step: "Step", now: float) -> None:
        """Replace `progress.json`. Not synced to disk: it is of no use after a power cut."""
        if step.state != "running":
            self._finished.append(step.record())
        if self._path is None:
            return
        data = step.record() | {"steps": self._finished, "updated_at": round(now + self._offset, 3)}
        temporary = self._path.with_name(f".progress.json.{os.getpid()}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(data) + "\n", encoding="ascii")
            temporary.replace(self._path)


class Step:
    """One step: what is done, and facts about it. Made by `Progress.step`, and entered before use."""

    def __init__(self, progress: Progress, name: str, total: int | None, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self.facts: dict[str, Fact] = {}
        self.state: Literal["running", "done", "stopped"] = "running"
        self._progress, self._clock = progress, progress.clock
        self._started = self._now = self._due = 0.0
        self._samples: deque[tuple[float, int, float]] = deque(maxlen=_WINDOW)
        self._screen: Screen | None = None

    def __enter__(self) -> "Step":
        self._started = self._now = self._clock()
        self._screen = open_screen(self._progress.show, self._progress.stream, self, self._started)
        self._tick(self._started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("stopped" if kind else "done")

    def update(self, done: int, total: int | None = None, **facts: Fact) -> None:
        """Say how much is done in all, with facts to show beside it.

        `tokens` is the count so far: it is shown as a rate. `acceptance` is a share. Other facts are shown
        as they are.
        """
        self.done = done
        if total is not None:
            self.total = total
        if facts:
            self.facts.update(facts)
        now = self._clock()
        if now >= self._due:
            self._tick(now)

    def finish(self) -> None:
        """End the step before its block does; ending twice is harmless."""
        self._end("done")

    @property
    def seconds(self) -> float:
        return self._now - self._started

    @property
    def tokens_per_second(self) -> float | None:
        """Over the last minute."""
        return self._rate(2) if "tokens" in self.facts else None

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the pace of the last minute; None where it is unknown."""
        rate = self._rate(1)
        return (self.total - self.done) / rate if rate and self.total is not None else None

    def record(self) -> dict[str, Any]:
        """The step as `progress.json` has it."""
        rate, left = self.tokens_per_second, self.eta_seconds
        return {
            "step": self.name,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "facts": {name: _finite(value) for name, value in self.facts.items()},
            "seconds": round(self.seconds, 3),
            "tokens_per_second": None if rate is None else round(rate, 1),
            "eta_seconds": None if left is None or self.state != "running" else round(left, 1),
        }

    def _tick(self, now: float) -> None:
        self._sample(now)
        self._due = now + TICK_SECONDS
        self._progress.publish(self, now)
        if self._screen is not None:
            with suppress(OSError, ValueError):  # a terminal that is gone
                self._screen.tick(self, now)

    def _end(self, state: Literal["done", "stopped"]) -> None:
        if self.state != "running":
            return
        now = self._clock()
        self._sample(now)
        self.state = state
        self._progress.publish(self, now)
        if self._screen is not None:
            with suppress(OSError, ValueError):
                self._screen.end(self)

    def _sample(self, now: float) -> None:
        self._now = now
        tokens = self.facts.get("tokens", 0)
        self._samples.append((now, self.done, float(tokens) if isinstance(tokens, int | float) else 0.0))

    def _rate(self, column: Literal[1, 2]) -> float | None:
        first, last = self._samples[0], self._samples[-1]
        passed = last[0] - first[0]
        return (last[column] - first[column]) / passed if passed > 0 else None


def read(run_dir: Path) -> dict[str, Any] | None:
    """The run's `progress.json`; None when there is none that can be read."""
    try:
        data = json.loads((run_dir / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _finite(value: Fact) -> Fact | None:
    """JSON has no NaN: a loss that is none becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
