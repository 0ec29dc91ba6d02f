"""What a finished question leaves in memory: nothing, though no cycle is ever collected."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CoroutineType, FrameType, TracebackType

import pytest

from tests.harness import distil_all, make_plan, make_seeds
from veridistill.calls import gate, journal, unit
from veridistill.config import BuildSection
from veridistill.engines.base import EngineStats
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.records import Candidate, Completion, Request, Vote

OF_A_QUESTION = (
    *(unit.UnitAsk, unit.Unit, gate.Need, gate._Waiting, journal.Entry),
    *(Candidate, Completion, Request, Vote, CoroutineType, FrameType, TracebackType, asyncio.Task),
)
SCRIPT = Script(tokens=30, invalid=0.1, refused=0.05)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    """Objects that belong to a question, whether reachable or in cycles, by type; searches by their module."""
    found = [type(one) for one in gc.get_objects()]
    return Counter(
        kind.__name__ for kind in found if kind in OF_A_QUESTION or kind.__module__ == "veridistill.lazy"
    )


@pytest.mark.parametrize("selection", ["first", "all", "shortest"])
@pytest.mark.parametrize("speculation", ["idle", "off"])
@pytest.mark.usefixtures("uncollected")
def test_nothing_of_a_finished_question_stays_alive(tmp_path: Path, speculation: str, selection: str) -> None:
    build = BuildSection(speculation=speculation, audit_share=0.1)
    plan = make_plan(4, 3, selection=selection)

    async def built() -> EngineStats:
        engine = ScriptedEngine(SCRIPT, shuffle=1, clock="virtual", slots=64)
        await distil_all(engine, tmp_path / "j", plan, make_seeds(20), build=build, width=64)
        return engine.stats()

    async def main() -> tuple[EngineStats, Counter[str]]:
        before = alive()
        stats = await built()
        await asyncio.sleep(0)
        return stats, alive() - before

    stats, left = asyncio.run(main())
    assert not left
    assert stats.cancelled_calls > 0 or speculation == "off" or selection == "all"
