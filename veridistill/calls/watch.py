"""An `Ask` that can be watched: it reports what is asked through it, and what is found, as it happens.

It does not change what is asked. Counting and printing are left to its callbacks.
"""

from collections.abc import Callable
from typing import Any, cast

from veridistill.errors import RequestRefused
from veridistill.lazy import Ask, Branch, R
from veridistill.records import Completion, Messages, Path, Sampling

Heard = Callable[[str, Path, Completion], None]
"""(role, path, reply); the reply to a refused request is empty, with finish reason "refused"."""
Learned = Callable[[Path, bool], None]
"""(path of a branch, whether it passed), in the order in which results count."""


def watched(ask: Ask, heard: Heard | None = None, learned: Learned | None = None) -> Ask:
    """Behaves as `ask`; `heard` is called with every reply and `learned` with every result under it."""
    return cast("Ask", _Watched(ask, heard, learned))


class _Watched:
    """Everything but the four methods below is the inner one's."""

    def __init__(self, ask: Ask, heard: Heard | None, learned: Learned | None) -> None:
        self._ask = ask
        self._heard = heard
        self._learned = learned
        self.forecast: Callable[[], float] | None = None

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        try:
            reply = await self._ask(role, path, messages, sampling)
        except RequestRefused:
            self._hear(role, path, Completion("", "refused", 0, 0))
            raise
        self._hear(role, path, reply)
        return reply

    def under(self, chance: Callable[[], float] | None) -> "_Watched":
        return _Watched(self._ask.under(chance), self._heard, self._learned)

    def learn(self, branch: Branch[R], passed: bool, spent: int) -> None:
        self._ask.learn(branch, passed, spent)
        if self._learned:
            self._learned(branch.path, passed)

    def _hear(self, role: str, path: Path, reply: Completion) -> None:
        if self._heard:
            self._heard(role, path, reply)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ask, name)
