"""How many calls one server takes at once, learned from how it answers: additive increase, multiplicative decrease.

A server that is overloaded (429, 503, a stall) gets fewer calls, one that answers all gets more. As in TCP,
the width doubles each round trip until the first overload (slow start), then grows by one (Jacobson 1988). A round
trip ends with a reply's first token and not with its last: admission is what is learned, and replies take minutes.
"""

from dataclasses import dataclass

_START = 32


@dataclass(slots=True)
class Width:
    """The width of one server: `limit` calls at once, between 1 and `most`; `running` are there now."""

    most: int
    limit: float = 0.0
    running: int = 0
    _ceiling: float = 0.0
    _shrunk_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = float(min(_START, self.most))
        self._ceiling = float(self.most)

    @property
    def free(self) -> bool:
        return self.running < int(self.limit)

    @property
    def load(self) -> float:
        return self.running / self.limit

    @property
    def useful(self) -> int:
        """The useful number of open calls: in slow start twice the width, which doubles as soon as they are open."""
        growing = self.limit < self._ceiling
        return min(self.most, int(self.limit) * (2 if growing else 1))

    def grow(self) -> None:
        """A call was admitted. If the width was not fully used, nothing is learned."""
        if self.running >= int(self.limit):
            step = 1.0 if self.limit < self._ceiling else 1.0 / self.limit
            self.limit = min(float(self.most), self.limit + step)

    def shrink(self, started: float, now: float) -> bool:
        """A call that started at `started` was pushed back: halve, once for all calls of one round trip."""
        if started <= self._shrunk_at:
            return False
        self.limit = self._ceiling = max(1.0, self.limit / 2)
        self._shrunk_at = now
        return True
