"""How fast a step goes: rates over its last minutes, how busy the engine is, and when anything last moved."""

from collections import deque
from itertools import pairwise
from typing import Literal, NamedTuple

_MINUTE = 60.0
_LONG = 300.0
"""Seconds over which the time left is judged: calls of a large model take minutes."""


class Sample(NamedTuple):
    """Counts at one moment; `busy`: the share of the slots that was taken."""

    at: float
    done: int
    asked: int
    tokens: int
    busy: float


Count = Literal["done", "asked", "tokens"]


class Pace:
    """Samples of the last minutes, about one a second."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self.moved_at = 0.0
        """When a count last rose, or the first sample came."""

    def add(self, sample: Sample) -> None:
        if not self._samples or sample[1:4] != self._samples[-1][1:4]:
            self.moved_at = sample.at
        self._samples.append(sample)
        while sample.at - self._samples[0].at > _LONG:
            self._samples.popleft()

    def rate(self, count: Count, seconds: float = _MINUTE) -> float | None:
        """Per second over the last `seconds`; None while there is nothing to say."""
        last = self._samples[-1]
        first = next(one for one in self._samples if last.at - one.at <= seconds)
        passed = last.at - first.at
        return round((getattr(last, count) - getattr(first, count)) / passed, 3) if passed > 0 else None

    @property
    def busy(self) -> float:
        """The mean share of slots taken over the last minute."""
        last = self._samples[-1]
        recent = [one for one in self._samples if last.at - one.at <= _MINUTE]
        held = sum(one.busy * (after.at - one.at) for one, after in pairwise(recent))
        passed = last.at - recent[0].at
        return held / passed if passed > 0 else last.busy

    def left(self, count: Count, few: int, many: int) -> dict[str, float] | None:
        """Seconds for `few` and for `many` more, at the pace of the last minutes."""
        rate = self.rate(count, _LONG)
        return {"low": round(few / rate, 1), "high": round(many / rate, 1)} if rate else None
