"""The expected range of a build's calls: looked at while builds of several worlds run, and compared with what came."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness import make_plan, make_seeds
from veridistill.calls.ask import Asker, audited
from veridistill.calls.forecast import Forecast, Range
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Entry
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Distilled, distil
from veridistill.records import Completion, Messages, Sampling, Seed
from veridistill.runs import live

LOOKS = (25, 50, 75)
QUESTION = re.compile(r"What is (\d+) plus")


class Forgetful:
    """A store that keeps nothing: simulated time does not wait for a disk."""

    async def replies(self, unit: str) -> dict[bytes, Entry]:
        return {}

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]:
        return {}

    async def append(self, entry: Entry) -> None: ...

    def note(self, entry: Entry) -> None: ...


def script(**rates: Any) -> Script:
    return Script(tokens=80, sigma=0.7, **rates)


@dataclass(frozen=True)
class World:
    """A build to forecast. `hard`: every `hard`-th question is one that the model hardly ever solves."""

    name: str
    questions: int = 200
    slots: int = 64
    right: float = 0.6
    hard: int = 0
    rates: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    selection: str = "first"
    candidates: int = 6

    def reply(self, messages: Messages, sampling: Sampling, seed: int) -> Completion | str:
        asked = QUESTION.search(messages[0].content)
        hard = bool(self.hard and asked and int(asked[1]) % self.hard == 0)
        model = script(right=0.02 if hard else self.right, **self.rates)
        return model.reply(messages, sampling, seed)


WORLDS = [
    World("as scripted"),
    World("few are right", right=0.15),
    World("half are hard", right=0.9, hard=2),
    World("a third are hard, more audited", right=0.8, hard=3, build={"audit_share": 0.08}),
    World("few questions at a time", questions=80, slots=8, right=0.8, hard=3),
    World("all open at once", questions=100, slots=256, right=0.9, hard=2),
    World("idle slots are filled", questions=30, slots=128, right=0.9, hard=2, build={"speculation": "idle"}),
    World("many invalid", rates={"invalid": 0.3, "well_formed": 0.6}),
    World("all are kept", questions=100, selection="all"),
    World("the shortest is kept", selection="shortest", right=0.8, hard=3),
    World("everything is asked", questions=60, build={"asks": "exhaustive"}),
]


async def built(world: World, run_seed: int) -> tuple[list[tuple[int, Range]], int]:
    """The ranges at `LOOKS` percent of the questions, each with the calls made by then; and the calls in the end."""
    build = BuildSection.model_validate({"audit_share": 0, "speculation": "off", **world.build})
    plan = make_plan(world.candidates, 3, selection=world.selection)
    engine = ScriptedEngine(world.reply, seconds_per_token=0.01, slots=world.slots, clock="virtual")
    asker = Asker(engine, Forgetful(), Gate(world.slots, build.speculation), build, run_seed=run_seed)
    seeds = make_seeds(world.questions)
    whole = sum(build.asks == "exhaustive" or audited(s.seed_id, build.audit_share) for s in seeds)
    forecast = asker.forecast = Forecast(live.work(plan, len(seeds), whole))
    done, looks = 0, list[tuple[int, Range]]()

    async def work(seed: Seed, ask: Any) -> Distilled:
        nonlocal done
        distilled = await distil(seed, ask, plan)
        done += 1
        if len(looks) < len(LOOKS) and 100 * done >= LOOKS[len(looks)] * len(seeds):
            looks.append((forecast.used, forecast.range(None, asker.gate.width, asker.gate.speculates)))
        return distilled

    before = forecast.range()
    assert before.low <= before.middle <= before.high
    async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
        async for _ in stream:
            pass
    assert forecast.used == sum(asker.meter.calls.values())
    end = forecast.range()
    assert (end.low, end.middle, end.high) == (forecast.used,) * 3, "nothing is left to guess"
    return looks, forecast.used


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("run_seed", [1, 2])
def test_the_range_holds(world: World, run_seed: int) -> None:
    looks, real = asyncio.run(built(world, run_seed))
    widths: Sequence[float] = [(seen.high - seen.low) / real for _, seen in looks]
    for (used, seen), percent in zip(looks, LOOKS, strict=True):
        said = f"at {percent} %: {used} used, {seen} expected, {real} came"
        assert used <= seen.low <= real <= seen.high, said
    assert widths[2] < widths[0] < 1.0, "what is left to come shrinks"
    assert widths[2] < 0.35
