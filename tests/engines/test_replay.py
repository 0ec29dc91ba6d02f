"""A real model batches in floating point, so what a policy keeps is compared on one journal that holds every reply."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.harness import distil_all, kept, make_plan
from veridistill.calls.replay import NoEngine
from veridistill.config import BuildSection, EngineSection, ModelSection
from veridistill.engines import open_engine
from veridistill.lab.worlds import EQUATIONS
from veridistill.records import Seed

WAYS = {
    "the paper's order": (BuildSection(order="paper", speculation="off", audit_share=0), 1, 1),
    "the cheapest order": (BuildSection(order="cheapest", speculation="off", audit_share=0), 4, 2),
    "early calls on idle slots": (BuildSection(speculation="idle", audit_share=0), 64, 8),
    "half of it audited": (BuildSection(audit_share=0.5), 16, None),
    "all at once": (BuildSection(asks="exhaustive", audit_share=0), 64, 8),
}


def test_every_way_of_asking_keeps_the_same_of_one_exhaustive_journal_of_a_real_model(tmp_path: Path) -> None:
    model = ModelSection(path="lab")
    engine = open_engine(EngineSection(kind="local", device="cpu", threads=1, batch_size=64), model)
    plan = make_plan(n=4, v=2, max_reasks=1)
    seeds = [Seed(f"q{i}", q.question) for i, q in enumerate(EQUATIONS.take(8, 0, "hard", "seeds"))]
    journal = tmp_path / "exhaustive"

    async def everything() -> tuple[object, int]:
        build = BuildSection(asks="exhaustive", audit_share=0)
        found, asker = await distil_all(engine, journal, plan, seeds, build=build)
        await engine.close()
        return kept(found), sum(asker.meter.calls.values())

    expected, num_calls = asyncio.run(everything())
    asked = {}
    for name, (build, width, window) in WAYS.items():
        refusing = NoEngine(
            engine.fingerprint, engine.reasons, engine.stop_ids, f"{name}: a reply is missing"
        )
        replay = distil_all(refusing, journal, plan, seeds, build=build, width=width, window=window)
        found, asker = asyncio.run(replay)
        assert kept(found) == expected, name
        asked[name] = sum(asker.meter.calls.values())
    assert asked["all at once"] == num_calls
    assert asked["the cheapest order"] < num_calls
    assert any(candidates for _, candidates in kept(found)), "nothing was kept: nothing was compared"
