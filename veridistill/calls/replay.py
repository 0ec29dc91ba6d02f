"""A finished run asked again, in other ways, without a model: its replies, and an engine that refuses every call.

What another policy, another n or v, another selection keeps and costs is a replay of one exhaustive journal. No call
can be made here, so a result is proof that no reply was missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from veridistill.calls.ask import Asker, Policy
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Entry, Reader
from veridistill.engines.base import EngineStats
from veridistill.errors import ConfigError
from veridistill.records import Completion, Messages, Sampling


class Recorded:
    """The replies of journals, read-only; those of the unit that was asked for last are held."""

    def __init__(self, journals: Sequence[Path]) -> None:
        self._reader = Reader(journals)
        self._replies = lru_cache(maxsize=1)(self._reader.replies)
        self._with_ids = lru_cache(maxsize=1)(self._reader.with_ids)

    async def replies(self, unit: str) -> dict[bytes, Entry]:
        return self._replies(unit)

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]:
        return self._with_ids(unit, role)

    async def append(self, entry: Entry) -> None:
        raise AssertionError("a replay has nothing to write")

    def note(self, entry: Entry) -> None:
        """A call that was cancelled because the replay ended; nothing was asked."""

    def close(self) -> None:
        self._reader.close()


@dataclass(slots=True)
class NoEngine:
    """Stands in for a model with what a run recorded of it, and refuses every call with `refusal`."""

    fingerprint: str
    reasons: bool
    stop_ids: tuple[int, ...]
    refusal: str
    capacity: int = 1
    context_length: int | None = None

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        raise ConfigError(self.refusal)

    def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None: ...


def replayer(
    engine: NoEngine, recorded: Recorded, policy: Policy, run_seed: int, judge: NoEngine | None = None
) -> Asker:
    """Asks as `policy` would have asked without a journal: its meter counts what that would have cost.

    Questions are asked one after another, each with the rates learned from those before. A real run has many open at
    once and learns a little later, which matters to its first calls alone.
    """
    gate = Gate(1, speculation="off")
    return Asker(engine, recorded, gate, policy, run_seed=run_seed, judge=judge, known="in_turn")
