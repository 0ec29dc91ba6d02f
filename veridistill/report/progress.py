"""Progress while a run runs: what a step has done, measured once a second, shown, and kept in `progress.json`.

    with Progress(run_dir) as progress:
        with progress.step("build", total=1500, unit="questions", watch=traffic) as step:
            step.update(done, kept=kept)

`update` only stores, so it may be called for every reply. While a `Progress` is entered, a thread of its own looks at
the step once a second, also when the event loop is busy, and replaces `progress.json`, which says by whom and when:
`heartbeat` reads that. Terminal, file, `veridistill status` and `--metrics` all show the same record (`Step.record`).
A full disk or a closed terminal stops the display, never the run.
"""

import json
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from veridistill.report import heartbeat, memory
from veridistill.report.pace import Pace, Sample
from veridistill.report.screens import Screen, Show, open_screen, show_for
from veridistill.report.traffic import Traffic, onward, recorded

TICK_SECONDS = 1.0
_UNFINISHED = 0.99
"""What the bar shows at most before the end."""

Fact = int | float | str


class Progress:
    """The progress of one run; each of its steps is a context manager.

    `show` "auto" is live on a terminal and plain elsewhere; "quiet" shows nothing and still writes `progress.json`.
    `clock` is monotonic and measures everything; `wall` is read once, so `updated_at` never goes back.
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
        self.record: dict[str, Any] = {}
        """The latest state, as `progress.json` has it."""
        self.lock = threading.RLock()
        self._path = None if run_dir is None else run_dir / heartbeat.FILE
        self._offset = wall() - clock()
        self._who = {"pid": os.getpid(), "host": socket.gethostname(), "born": heartbeat.born(os.getpid())}
        self._finished: list[dict[str, Any]] = []
        self._step: Step | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._pulse, name="veridistill-progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.record:
            self._write({"ended": True})

    def step(
        self,
        name: str,
        total: int | None = None,
        unit: str = "",
        watch: Callable[[], Traffic] | None = None,
    ) -> "Step":
        """A step of the pipeline; `total` None when its length is not known yet (`update` may give it).

        `watch` says what its calls are at; it is called from another thread.
        """
        return Step(self, name, total, unit, watch)

    def _pulse(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            with self.lock:
                if self._step is not None:
                    self._step.tick()
                elif self.record:
                    self._write({})

    def publish(self, step: "Step") -> None:
        """Make a step's record the latest one."""
        self._step = step if step.state == "running" else None
        record = step.record()
        if step.state != "running":
            self._finished.append(record)
        self._write(record | {"steps": list(self._finished), "ended": False})

    def _write(self, more: Mapping[str, Any]) -> None:
        """Replace `progress.json`. Not synced to disk: it is of no use after a power cut."""
        now = round(self.clock() + self._offset, 3)
        self.record = {**self.record, **more, **self._who, "updated_at": now, "memory": memory.used()}
        if self._path is None:
            return
        temporary = self._path.with_name(f".{heartbeat.FILE}.{os.getpid()}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(self.record) + "\n", encoding="ascii")
            temporary.replace(self._path)

    def wall(self, at: float) -> float:
        """A time of `clock` as seconds since the epoch."""
        return round(at + self._offset, 3)


class Step:
    """One step: what is done, and facts about it. Made by `Progress.step`, and entered before use."""

    def __init__(
        self,
        progress: Progress,
        name: str,
        total: int | None,
        unit: str,
        watch: Callable[[], Traffic] | None,
    ) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self.facts: dict[str, Fact] = {}
        self.state: Literal["running", "done", "stopped"] = "running"
        self._progress, self._clock, self._watch = progress, progress.clock, watch
        self._started = self._now = 0.0
        self._traffic: Traffic | None = None
        self._share = 0.0
        self._pace = Pace()
        self._screen: Screen | None = None

    def __enter__(self) -> "Step":
        self._started = self._clock()
        self._screen = open_screen(self._progress.show, self._progress.stream, self._started)
        self.tick()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("stopped" if kind else "done")

    def update(self, done: int, total: int | None = None, **facts: Fact) -> None:
        """Say how much is done in all, with facts to show beside it; less than before is not believed."""
        self.done = max(done, self.done)
        if total is not None:
            self.total = total
        if facts:
            self.facts = self.facts | facts

    def finish(self) -> None:
        """End the step before its block does; ending twice is harmless."""
        self._end("done")

    def tick(self) -> None:
        """Measure, publish and show."""
        with self._progress.lock:
            if self.state != "running":
                return
            self._measure()
            self._progress.publish(self)
            if self._screen is not None:
                with suppress(OSError, ValueError):  # a terminal that is gone
                    self._screen.tick(self._progress.record, self._now)

    def _end(self, state: Literal["done", "stopped"]) -> None:
        with self._progress.lock:
            if self.state != "running":
                return
            self._measure()
            self.state = state
            self._progress.publish(self)
            if self._screen is not None:
                with suppress(OSError, ValueError):
                    self._screen.end(self._progress.record)

    def _measure(self) -> None:
        self._now = self._clock()
        if self._watch is not None:
            self._traffic = onward(self._traffic, self._watch())
        seen = self._traffic or Traffic()
        busy = seen.in_flight / seen.slots if seen.slots else 0.0
        self._pace.add(Sample(self._now, self.done, seen.asked, seen.tokens, busy))
        self._share = max(self._share, min(self._share_now(), _UNFINISHED))

    def _share_now(self) -> float:
        """How far the step is: by calls where it is known how many there will be, else by units."""
        seen = self._traffic
        if seen is not None and seen.expected is not None and (middle := sum(seen.expected) / 2):
            return (seen.asked + seen.replayed) / middle
        return self.done / self.total if self.total else 0.0

    def record(self) -> dict[str, Any]:
        """The step as `progress.json` has it: shares from 0 to 1, times in seconds, memory in bytes."""
        seen, pace = self._traffic, self._pace
        return {
            "step": self.name,
            "state": self.state,
            "share": 1.0 if self.state == "done" else round(self._share, 4),
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "facts": {name: _finite(value) for name, value in self.facts.items()},
            "seconds": round(self._now - self._started, 3),
            "seconds_left": self._left() if self.state == "running" else None,
            "moved_at": self._progress.wall(pace.moved_at),
            **recorded(seen, pace),
        }

    def _left(self) -> dict[str, float] | None:
        seen = self._traffic
        if seen is not None and seen.expected is not None:
            done = seen.asked + seen.replayed
            return self._pace.left("asked", *(max(most - done, 0) for most in seen.expected))
        if self.total is None:
            return None
        return self._pace.left("done", self.total - self.done, self.total - self.done)


def _finite(value: Fact) -> Fact | None:
    """JSON has no NaN: a loss that is none becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
