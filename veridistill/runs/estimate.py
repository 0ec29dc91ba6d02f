"""What a build will cost, from a sample of its questions (`--dry-run`).

A build asks three kinds of questions at very different cost: most lazily, the audit's exhaustively, and some with a
canary besides. Which question is of which kind is known beforehand, by hash. So a few of each kind are asked as the
build will ask them, and their cost is scaled by the number of that kind. They are drawn by hash too, since the first
of a file are seldom like the rest. A build's first questions, as many as fill the engine, also cost more than the
others, because the order of their votes is not learned yet: they stand for themselves. All replies stay in the journal
and are not paid for again.

With `build.target` a build ends earlier: where the share of the sample that is kept says.

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

from veridistill.calls.ask import Asker, audited
from veridistill.calls.meter import Meter
from veridistill.calls.unit import UnitAsk
from veridistill.config import BuildSection
from veridistill.data.seeds import Seeds
from veridistill.method import distil
from veridistill.records import Seed
from veridistill.runs import canaries
from veridistill.runs.session import Serving

FIRST, SAMPLE = 10, 20
"""Lazy questions that are asked before anything is learned, and after."""
AUDITED, CANARIES = 4, 4
"""How many of the other kinds are asked: audited questions cost several times more, and vary less."""
Work = Callable[[Seed, UnitAsk], Awaitable[bool]]
"""Asks what a question costs, and says whether anything is kept of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Questions that cost alike: how many there will be, those of them that are asked now, and how."""

    total: int
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
    parts, start = _parts(serving, section, found), time.monotonic()
    asked_parts = [(part.scale, await _asked(asker, part)) for part in parts]
    seconds = time.monotonic() - start
    fraction = _fraction(section.target, sum(scale * one.kept for scale, one in asked_parts))
    costs = [(scale * fraction, one.cost) for scale, one in asked_parts]
    total = round(total * fraction)
    by_role: dict[str, float] = {}
    for scale, cost in costs:
        for role, num in cost.calls.items():
            by_role[role] = by_role.get(role, 0.0) + scale * num
    calls, asked = sum(by_role.values()), sum(sum(cost.calls.values()) for _, cost in costs)
    *questions, planted = parts
    sample = sum(len(part.drawn) for part in questions)
    slower, fuller = calls / max(asked, 1), _fuller(asker.gate.width, sample, total)
    hits = asker.meter.hits
    return {
        "questions": total,
        "sampled_questions": sample,
        "audited_questions": round(questions[-1].total * fraction),
        "canaries": round(planted.total * fraction),
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


def _parts(serving: Serving, section: BuildSection, found: Seeds) -> list[Part]:
    """Lazy questions before and after the order of votes is learned, audited ones, and last canaries.

    A canary's cost comes on top of its question's.
    """
    plan = serving.plan

    async def question(seed: Seed, ask: UnitAsk) -> bool:
        return bool((await distil(seed, ask, plan)).kept)

    async def canary(seed: Seed, ask: UnitAsk) -> bool:
        await canaries.plant(seed, canaries.other_than(seed, found.like(seed)), ask, plan)
        return False

    whole = [
        s for s in found.seeds if section.asks == "exhaustive" or audited(s.seed_id, section.audit_share)
    ]
    others = set(whole)
    lazy = [seed for seed in found.seeds if seed not in others]
    share = canaries.share(section, plan)
    planted = [seed for seed in found.seeds if canaries.chosen(seed.seed_id, share)]
    drawn = _drawn(lazy, FIRST + SAMPLE)
    early = min(len(lazy), serving.asker.gate.width) if len(drawn) > FIRST else len(lazy)
    return [
        Part(early, drawn[:FIRST], question),
        Part(len(lazy) - early, drawn[FIRST:], question),
        Part(len(whole), _drawn(whole, AUDITED if lazy else SAMPLE), question),
        Part(len(planted), _drawn(planted, CANARIES), canary),
    ]


def _drawn(seeds: Sequence[Seed], num: int) -> list[Seed]:
    """A sample by hash: the same in every dry run, and independent of what the build itself draws by hash."""

    def place(seed: Seed) -> bytes:
        return hashlib.blake2b(seed.seed_id.encode("utf-8"), digest_size=8, person=b"estimate").digest()

    return heapq.nsmallest(num, seeds, key=place)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the drawn questions of a part cost, and how many of them have a kept candidate."""

    cost: Meter
    kept: int


async def _asked(asker: Asker, part: Part) -> Asked:
    before, kept = asker.meter.copy(), 0
    async with aclosing(asker.map_units(part.drawn, lambda seed: seed.seed_id, part.work)) as stream:
        async for one in stream:
            kept += one
    return Asked(asker.meter.since(before), kept)


def _fraction(target: int | None, kept: float) -> float:
    """The part of the questions that a target needs, of which all together would have `kept` kept."""
    return min(1.0, target / kept) if target is not None and kept else 1.0


def _fuller(width: int, sample: int, total: int) -> float:
    return max(1.0, min(width, total) / min(width, max(sample, 1)))
