"""The two combinators that carry all of the laziness: `first` and `every`. Standard library only.

A branch is a piece of work that may or may not turn out to be needed. The method writes its branches down as if all
of them were asked; a branch is *started, or never created*. Running in order, each combinator asks its next branch
only when the ones before it left the outcome open. Where the engine has slots that nothing needed wants, the gate may
start a later branch early (`Offer`); it runs under a need node whose chance is live, and is cancelled as soon as the
outcome is known. Laziness changes what is asked, never what is found.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from veridistill.records import Completion, Messages, Path, Sampling


class Result(Protocol):
    """What a branch returns: something that passed or did not."""

    @property
    def passed(self) -> bool: ...


R = TypeVar("R", bound=Result)


class Offer(Protocol):
    """Work that could start early. The gate reads `chance` when a slot is idle and calls `start` to take it up."""

    def chance(self) -> float: ...

    def start(self) -> None: ...


class Ask(Protocol):
    """The way to a model, as one branch holds it. Calling it makes a request and returns the reply."""

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        """Raises `RequestRefused` when the engine refuses this request alone."""
        ...

    @property
    def exhaustive(self) -> bool:
        """Ask everything, whether it can still matter or not."""
        ...

    def under(self, chance: Callable[[], float]) -> "Ask":
        """An `Ask` for a branch that will matter with this (live) chance, given that its parent matters."""
        ...

    def choose(self, branches: "Sequence[Branch[R]]") -> int:
        """Which of several branches, all of which must pass, to ask next."""
        ...

    def outlook(self, branch: "Branch[R]") -> float:
        """The chance, learned in the run, that this branch passes."""
        ...

    def learn(self, branch: "Branch[R]", passed: bool, spent: int) -> None: ...

    def known(self, branch: "Branch[R]") -> bool:
        """Whether the journal already holds the branch's first reply."""
        ...

    def offer(self, work: Offer) -> None: ...

    def withdraw(self, work: Offer) -> None: ...

    @property
    def spent(self) -> int:
        """Completion tokens of the replies that came through this `Ask`."""
        ...

    forecast: Callable[[], float] | None
    """Set by the combinator that runs under this `Ask`: the live chance that it passes."""


@dataclass(frozen=True, slots=True)
class Branch(Generic[R]):
    """Work on one outcome. `label` says whose learned rates apply; `path` is the start of its requests' paths."""

    label: str
    path: Path
    run: Callable[[Ask], Awaitable[R]]
