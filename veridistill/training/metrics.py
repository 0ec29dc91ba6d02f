"""What each step of a training measured, for the progress display and, in `train/metrics.jsonl`, for plots."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from veridistill.training.job import Progress

Report = Callable[[Progress], None]


class Meter:
    """The speed of each step, and the most memory that the process has held so far.

    `lengths` are the tokens of all rows in the order in which they are trained, the same number for each of `steps`.
    """

    def __init__(self, place: str, lengths: Sequence[int], steps: int) -> None:
        self._place = place
        self._lengths = lengths
        self._batch = len(lengths) // steps
        self._start = time.monotonic()

    def begin(self) -> None:
        self._start = time.monotonic()

    def tokens_per_second(self, step: int) -> float:
        """Tokens of prompts and replies in the step that has just ended; steps count from 1."""
        tokens = sum(self._lengths[(step - 1) * self._batch : step * self._batch])
        return round(tokens / max(time.monotonic() - self._start, 1e-9), 1)

    def memory(self) -> int:
        """Bytes: resident on a CPU, allocated by torch on a GPU."""
        if self._place == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated())
        return peak_resident()


def peak_resident() -> int:
    """The most bytes that this process has held in memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def recorded(path: Path, resumed_from: int, report: Report) -> Report:
    """A report that also adds each step to the JSON lines of `path`, after those of the steps up to `resumed_from`."""
    known = [line for line in _lines(path) if json.loads(line)["step"] <= resumed_from]
    path.write_text("".join(known), encoding="utf-8")

    def add(progress: Progress) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
        report(progress)

    return add


def _lines(path: Path) -> list[str]:
    """The whole lines of a file; a kill may have cut the last one."""
    if not path.is_file():
        return []
    return [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
