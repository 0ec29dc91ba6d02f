"""`build.target`: a build that stops once enough questions have a kept candidate.

It stops with the first question, in the seeds' order, at which that many have one. So what is kept depends on stored
replies alone, and a higher target keeps the same and more. Questions end in any order, so some behind the last needed
one may be open when it ends: `most_open` bounds them.
"""

import math
import sys
from dataclasses import dataclass, field
from typing import Literal

from veridistill.runs.found import Found


@dataclass
class Target:
    """`num`: `build.target`; None: all questions. `done` and `kept` count what has ended, in any order, for progress.

    `reached`: whether the questions that were taken, in the seeds' order, are enough.
    """

    num: int | None
    speculation: Literal["idle", "off"]
    done: int = 0
    kept: int = 0
    _with_kept: int = field(default=0, init=False)
    _taken: int = field(default=0, init=False)

    def ended(self, found: Found) -> None:
        """A question ended."""
        self.done += 1
        self.kept += len(found.kept)
        self._with_kept += bool(found.kept)

    def take(self, found: Found) -> None:
        """A question's turn in the seeds' order."""
        self._taken += bool(found.kept)

    @property
    def reached(self) -> bool:
        return self.num is not None and self._taken >= self.num

    def questions(self, total: int) -> tuple[int, int]:
        """At least and at most how many of `total` questions will be asked, at the share kept so far."""
        if self.num is None:
            return total, total
        missing, share = max(self.num - self._with_kept, 0), (self._with_kept + 1) / (self.done + 2)
        doubt = math.sqrt(missing * (1 - share)) + missing * math.sqrt(
            (1 - share) / (share * (self.done + 2))
        )
        least, most = (self.done + max(missing + sign * 2 * doubt, 0) / share for sign in (-1, 1))
        return min(math.floor(least), total), min(math.ceil(most), total)

    def most_open(self) -> int:
        """Questions that may be open at once.

        Without speculation as many as are missing: each of them is needed, even if all before it are kept. With it as
        many as are expected to be needed, so that the engine does not wait for the last ones: at the share kept so far,
        to which `num` kept questions are added, since the first to end are seldom like the rest.
        """
        if self.num is None:
            return sys.maxsize
        missing = max(self.num - self._with_kept, 0)
        if self.speculation == "off":
            return missing
        return math.ceil(missing * (self.done + self.num) / (self._with_kept + self.num))
