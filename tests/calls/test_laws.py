"""The law of laziness: whatever the order, speculation, latencies, widths, kills and resumes, what is kept is what the
exhaustive procedure keeps."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import PROMPTS, STAGES, decided, distil_all, fast_directory, kept, make_plan, make_seeds
from veridistill.calls.ask import audited
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import EngineDown
from veridistill.method import SELECTIONS, Distilled
from veridistill.records import Completion, Messages, Sampling

ASKING = replace(PROMPTS, verdict="{ending} That line alone.")
NUM_CASES = 2_000 if settings.default.derandomize else 10_000
rates = st.tuples(st.floats(0.3, 1.0), st.floats(0.0, 1.0))


@dataclass(frozen=True)
class Case:
    script: Script
    n: int
    v: int
    stages: tuple[str, ...]
    selection: str
    infer_per_vote: bool
    max_reasks: int
    run_seed: int
    follow_up: str = "off"


@dataclass(frozen=True)
class How:
    """A way to ask: none of it may change what is found."""

    order: str
    speculation: str
    audit_share: float
    width: int
    window: int
    shuffle: int | None
    kill_after: int | None


cases = st.builds(
    Case,
    script=st.builds(
        Script,
        well_formed=st.floats(0.5, 1.0),
        right=st.floats(0.0, 1.0),
        compare=rates,
        factuality=rates,
        correctness=rates,
        simple=rates,
        invalid=st.sampled_from([0.0, 0.02, 0.3]),
        refused=st.sampled_from([0.0, 0.0, 0.05]),
        tokens=st.sampled_from([0.0, 20.0]),
    ),
    n=st.integers(1, 5),
    v=st.integers(1, 4),
    stages=st.lists(st.sampled_from([*STAGES, "simple"]), min_size=1, max_size=4, unique=True).map(tuple),
    selection=st.sampled_from(sorted(SELECTIONS)),
    infer_per_vote=st.booleans(),
    max_reasks=st.integers(0, 2),
    run_seed=st.integers(0, 10**6),
    follow_up=st.sampled_from(["constrained", "free", "off"]),
)
hows = st.builds(
    How,
    order=st.sampled_from(["paper", "cheapest"]),
    speculation=st.sampled_from(["idle", "off"]),
    audit_share=st.sampled_from([0.0, 0.0, 0.4]),
    width=st.sampled_from([1, 2, 5, 64]),
    window=st.sampled_from([1, 2, 8]),
    shuffle=st.one_of(st.none(), st.integers(0, 1000)),
    kill_after=st.one_of(st.none(), st.integers(0, 60)),
)


class Mortal(ScriptedEngine):
    """Dies after so many calls, as a lost server does."""

    lives: int | None = None

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise EngineDown("killed by the test")
        return await super().generate(messages, sampling, seed)


def run(case: Case, how: How | None, journal: Path) -> list[Distilled] | None:
    """What a build finds; None when its engine died on the way. Without `how`, the exhaustive procedure."""
    plan = make_plan(
        case.n,
        case.v,
        case.stages,
        case.selection,
        infer_per_vote=case.infer_per_vote,
        max_reasks=case.max_reasks,
        prompts=ASKING,
        follow_up=case.follow_up,
    )
    plan = replace(plan, run_seed=case.run_seed)
    if how is None:
        how, asks = How("paper", "off", 0.0, 1000, 1000, None, None), "exhaustive"
    else:
        asks = "lazy"
    engine = Mortal(case.script, shuffle=how.shuffle, clock="virtual", slots=how.width)
    engine.lives = how.kill_after
    build = BuildSection(asks=asks, order=how.order, speculation=how.speculation, audit_share=how.audit_share)
    work = distil_all(
        engine,
        journal,
        plan,
        make_seeds(3),
        build=build,
        width=how.width,
        window=how.window,
        run_seed=case.run_seed,
    )
    try:
        return asyncio.run(work)[0]
    except EngineDown:
        return None


@settings(max_examples=NUM_CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases, hows=st.lists(hows, min_size=1, max_size=3))
def test_every_way_of_asking_keeps_what_the_exhaustive_procedure_keeps(case: Case, hows: list[How]) -> None:
    with fast_directory() as folder:
        everything = run(case, None, Path(folder) / "exhaustive.sqlite")
        assert everything is not None
        truth = decided(everything)
        journal = Path(folder) / "lazy.sqlite"
        for how in [*hows, replace(hows[-1], kill_after=None)]:
            found = run(case, how, journal)
            if found is None:
                continue
            assert kept(found) == kept(everything)
            assert decided(found).items() <= truth.items()


def test_a_resumed_run_asks_nothing_that_is_known(tmp_path: Path) -> None:
    case = Case(Script(), 4, 3, STAGES, "first", True, 2, 7)
    how = How("cheapest", "off", 0.0, 4, 8, None, None)
    first = run(case, how, tmp_path / "journal.sqlite")
    again = ScriptedEngine(lambda *_: pytest.fail("asked again"))
    plan = replace(make_plan(4, 3), run_seed=7)
    replayed, asker = asyncio.run(
        distil_all(again, tmp_path / "journal.sqlite", plan, make_seeds(3), run_seed=7)
    )
    assert first is not None
    assert kept(replayed) == kept(first)
    assert again.stats().calls == 0
    assert asker.meter.hits == sum(asker.meter.calls.values()) > 0


def test_lazy_asks_a_fraction_and_speculation_off_wastes_nothing(tmp_path: Path) -> None:
    seeds, plan = make_seeds(40), make_plan(8, 5)
    calls = {}
    for name, build in {
        "exhaustive": BuildSection(asks="exhaustive", audit_share=0),
        "paper": BuildSection(order="paper", speculation="off", audit_share=0),
        "cheapest": BuildSection(order="cheapest", speculation="off", audit_share=0),
    }.items():
        engine = ScriptedEngine(Script())
        asyncio.run(distil_all(engine, tmp_path / name, plan, seeds, build=build))
        calls[name] = engine.stats().calls
        assert engine.stats().cancelled_calls == 0
    assert calls["cheapest"] < calls["paper"] < calls["exhaustive"] / 3


def test_audited_questions_keep_what_they_would_keep_anyway(tmp_path: Path) -> None:
    seeds, plan = make_seeds(30), make_plan(4, 3)
    assert 0 < sum(audited(seed.seed_id, 0.3) for seed in seeds) < 30
    runs = [
        asyncio.run(
            distil_all(
                ScriptedEngine(),
                tmp_path / str(share),
                plan,
                seeds,
                build=BuildSection(audit_share=share, speculation="off"),
            )
        )
        for share in (0.0, 0.3)
    ]
    assert kept(runs[0][0]) == kept(runs[1][0])
    assert sum(runs[1][1].meter.calls.values()) > sum(runs[0][1].meter.calls.values())


def test_early_replies_that_were_not_needed_are_counted(tmp_path: Path) -> None:
    plan, seeds = make_plan(8, 3), make_seeds(4)
    wasted = {}
    for speculation in ("idle", "off"):
        engine = ScriptedEngine(Script(), slots=256, shuffle=1, clock="virtual")
        build = BuildSection(speculation=speculation, order="paper", audit_share=0)
        _, asker = asyncio.run(
            distil_all(engine, tmp_path / speculation, plan, seeds, build=build, width=256)
        )
        wasted[speculation] = asker.meter.unneeded_tokens
        assert asker.meter.unneeded_tokens < sum(asker.meter.completion_tokens.values())
    assert wasted["off"] == 0 < wasted["idle"]
