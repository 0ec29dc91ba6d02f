"""What a build will cost, from a sample of its questions (`--dry-run`).

A build asks three kinds of questions at very different cost: most lazily, the audit's exhaustively, and some with an
additional canary. A hash decides the kind of each question, so it is known in advance. A few of each kind are asked as
the build will ask them, and their cost is scaled by the number of that kind. They are drawn by hash too, since the
first questions of a file are seldom typical. A few more are asked before them and not counted: from them the order of
the votes is learned, as from a build's first questions. All replies stay in the journal and are not paid for again.

The estimate covers needed calls only. Speculation (`build.speculation: idle`) adds calls on idle slots: few if the
build fills the engine, most if there are fewer questions than slots.
"""

import hashlib
import heapq
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from veridistill.calls.ask import Asker, Meter, UnitAsk, audited
from veridistill.config import BuildSection
from veridistill.data.seeds import Seeds
from veridistill.method import Plan, distil
from veridistill.records import Seed
from veridistill.runs import canaries
from veridistill.runs.session import Serving

FIRST, SAMPLE = 10, 20
"""Lazy questions that are asked to learn from, and to count."""
AUDITED, CANARIES = 4, 4
"""How many of the other kinds are asked: audited questions cost several times more, and vary less."""
Work = Callable[[Seed, UnitAsk], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Kind:
    """Questions of one kind: their number, and those drawn to be asked now, of which the `first` are not counted."""

    total: int
    first: list[Seed]
    drawn: list[Seed]
    work: Work

    @property
    def scale(self) -> float:
        return self.total / len(self.drawn) if self.drawn else 0.0


async def estimate(serving: Serving, section: BuildSection, found: Seeds) -> dict[str, Any]:
    """Calls, tokens and seconds of a build of the questions `found`.

    The time lies between two bounds: at the sample's pace, and at a pace as many times faster as the build has
    more questions open than the sample had. No time is given when replies of the sample came from the journal.
    """
    asker, total = serving.asker, len(found.seeds)
    asker.gate.speculation = "off"
    kinds = _kinds(serving.plan, section, found)
    for kind in kinds:
        await _asked(asker, kind.first, kind.work)
    start = time.monotonic()
    costs = [(kind.scale, await _asked(asker, kind.drawn, kind.work)) for kind in kinds]
    seconds = time.monotonic() - start
    by_role: dict[str, float] = {}
    for scale, cost in costs:
        for role, num in cost.calls.items():
            by_role[role] = by_role.get(role, 0.0) + scale * num
    calls, asked = sum(by_role.values()), sum(sum(cost.calls.values()) for _, cost in costs)
    sample = sum(len(kind.drawn) for kind in kinds[:2])
    first = sum(len(kind.first) for kind in kinds)
    slower, fuller = calls / max(asked, 1), _fuller(asker.gate.width, sample, total)
    hits = asker.meter.hits
    return {
        "questions": total,
        "sampled_questions": first + sample,
        "audited_questions": kinds[1].total,
        "canaries": kinds[2].total,
        "calls": round(calls),
        "prompt_tokens": round(sum(scale * sum(cost.prompt_tokens.values()) for scale, cost in costs)),
        "completion_tokens": round(
            sum(scale * sum(cost.completion_tokens.values()) for scale, cost in costs)
        ),
        "seconds_at_least": None if hits else round(max(seconds, slower * seconds / fuller), 1),
        "seconds_at_most": None if hits else round(slower * seconds, 1),
        "calls_by_role": {role: round(num) for role, num in sorted(by_role.items())},
        "from_journal": hits,
    }


def _kinds(plan: Plan, section: BuildSection, found: Seeds) -> list[Kind]:
    """Lazy questions, audited ones, and canaries, whose cost comes on top of their questions'."""

    async def question(seed: Seed, ask: UnitAsk) -> None:
        await distil(seed, ask, plan)

    async def canary(seed: Seed, ask: UnitAsk) -> None:
        await canaries.plant(seed, canaries.other_than(seed, found.whole), ask, plan)

    whole = [
        s for s in found.seeds if section.asks == "exhaustive" or audited(s.seed_id, section.audit_share)
    ]
    others = set(whole)
    lazy = [seed for seed in found.seeds if seed not in others]
    share = canaries.share(section, plan)
    planted = [seed for seed in found.seeds if canaries.chosen(seed.seed_id, share)]
    return [
        _kind(lazy, FIRST, SAMPLE, question),
        _kind(whole, 0, AUDITED if lazy else SAMPLE, question),
        _kind(planted, 0, CANARIES, canary),
    ]


def _kind(seeds: Sequence[Seed], first: int, num: int, work: Work) -> Kind:
    """A sample by hash: the same in every dry run, and independent of what the build itself draws by hash."""

    def place(seed: Seed) -> bytes:
        return hashlib.blake2b(seed.seed_id.encode("utf-8"), digest_size=8, person=b"estimate").digest()

    drawn = heapq.nsmallest(first + num, seeds, key=place)
    # Of few, all are counted.
    return Kind(len(seeds), drawn[num:], drawn[:num], work)


async def _asked(asker: Asker, seeds: Sequence[Seed], work: Work) -> Meter:
    """What some questions cost."""
    before = asker.meter.copy()
    async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
        async for _ in stream:
            pass
    return asker.meter.since(before)


def _fuller(width: int, sample: int, total: int) -> float:
    return max(1.0, min(width, total) / min(width, max(sample, 1)))
