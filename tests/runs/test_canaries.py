"""Canaries: bad answers that are well formed, asked on paths of their own, counted, and never kept."""

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from tests.harness import distil_all, kept, make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import BuildSection
from veridistill.domains import DOMAINS
from veridistill.engines.base import Engine
from veridistill.engines.scripted import Script, ScriptedEngine, role_of
from veridistill.errors import RequestRefused
from veridistill.method import Distilled, Plan, distil
from veridistill.records import Domain, Messages, Sampling, Seed
from veridistill.runs.canaries import (
    INDEX,
    Canaries,
    Kind,
    Planted,
    chosen,
    fault,
    kind_of,
    other_than,
    plant,
)

SPARROW = Seed("sparrow", "How far does a sparrow fly before winter when snow falls early?")
LEDGER = Seed("ledger", "Which digit ends the merchant's ledger, written backwards twice?")


def of_kind(kind: Kind, **more: Any) -> Seed:
    """A question that gets a canary of this kind."""
    number = next(n for n in range(1000) if kind_of(f"{kind}{n}") == kind)
    return Seed(f"{kind}{number}", "How far does a sparrow fly before winter when snow falls early?", **more)


class Judges:
    """An engine that says yes to everything, or no in the roles that are named; it keeps what it was asked."""

    def __init__(self, no: tuple[str, ...] = (), solution: str = "It is \\boxed{7} miles.") -> None:
        self.no, self.solution, self.asked = no, solution, list[tuple[str, str]]()

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> str:
        prompt = messages[-1].content
        role = role_of(prompt)
        self.asked.append((role, prompt))
        if role == "solve":
            if self.solution == "refused":
                raise RequestRefused("too long")
            return self.solution
        return "What is asked?" if role == "infer" else f"[[{'N' if role in self.no else 'Y'}]]"


async def with_ask(
    engine: Engine, path: Path, plan: Plan, pairs: list[tuple[Seed, Seed | None]], asks: str = "lazy"
) -> tuple[list[Planted], Asker]:
    store = Journal(path)
    others = dict(pairs)
    try:
        section = BuildSection(audit_share=0, asks=asks, speculation="off", order="paper")
        asker = Asker(engine, store, Gate(4, speculation="off"), section, run_seed=0)

        async def work(seed: Seed, ask: Any) -> Planted:
            return await plant(seed, others[seed], ask, plan)

        async with aclosing(asker.map_units(list(others), lambda seed: seed.seed_id, work)) as stream:
            return [planted async for planted in stream], asker
    finally:
        await store.close()


def planted(tmp_path: Path, judges: Judges, seed: Seed, other: Seed | None, **plan: Any) -> Planted:
    engine = ScriptedEngine(judges)
    found, _ = asyncio.run(with_ask(engine, tmp_path / "j.sqlite", make_plan(**plan), [(seed, other)]))
    return found[0]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_canary_passes_the_static_check_and_reaches_the_judges(
    tmp_path: Path, kind: Kind, domain: Domain
) -> None:
    judges = Judges(
        solution="So it is.\n```python\nprint(7)\n```" if domain == "code" else "It is \\boxed{7}."
    )
    plan, other = make_plan(v=1), replace(LEDGER, domain=domain)
    seed = of_kind(kind, domain=domain)
    found, _ = asyncio.run(with_ask(ScriptedEngine(judges), tmp_path / "j", plan, [(seed, other)]))
    assert (found[0].kind, found[0].outcome, found[0].rejected_by) == (kind, "accepted", None)
    roles = [role for role, _ in judges.asked]
    assert roles == ["solve"] * (kind == "swapped") + ["infer", "compare", "factuality", "correctness"]
    correctness = judges.asked[-1][1]
    assert seed.question in correctness
    assert (correctness.count(seed.question) == 2) is (kind == "restated")
    assert (judges.solution in correctness) is (kind == "swapped")


def test_a_swapped_answer_is_the_models_own_to_another_question(tmp_path: Path) -> None:
    judges = Judges(no=("compare",))
    found = planted(tmp_path, judges, of_kind("swapped"), LEDGER)
    assert (found.outcome, found.rejected_by) == ("rejected", "cycle_consistency")
    (role, prompt), *_ = judges.asked
    assert role == "solve"
    assert LEDGER.question in prompt
    assert SPARROW.question not in prompt


def test_laziness_holds_for_canaries_too(tmp_path: Path) -> None:
    judges = Judges(no=("compare",))
    planted(tmp_path, judges, of_kind("empty"), None, v=5)
    assert [role for role, _ in judges.asked] == ["infer", "compare"]


@pytest.mark.parametrize("solution", ["I do not know.", "refused", "\\boxed{:}"])
def test_no_judge_is_asked_of_a_swapped_answer_that_is_malformed(tmp_path: Path, solution: str) -> None:
    judges = Judges(solution=solution)
    found = planted(tmp_path, judges, of_kind("swapped"), LEDGER)
    assert (found.outcome, found.rejected_by) == ("malformed", None)
    assert [role for role, _ in judges.asked] == ["solve"]


def test_without_another_question_a_swapped_canary_is_an_empty_one(tmp_path: Path) -> None:
    assert planted(tmp_path, Judges(), of_kind("swapped"), None).kind == "empty"


def test_a_share_of_the_questions_is_chosen_by_hash() -> None:
    names = [str(number) for number in range(4000)]
    some = {name for name in names if chosen(name, 0.05)}
    assert 140 < len(some) < 260
    assert some < {name for name in names if chosen(name, 0.1)}
    assert not any(chosen(name, 0) for name in names)
    assert all(chosen(name, 1) for name in names)
    kinds = Counter(map(kind_of, names))
    assert 1850 < kinds["swapped"] < 2150
    assert 850 < kinds["restated"] < 1150


def test_the_other_question_shares_few_words() -> None:
    same = [Seed(str(n), SPARROW.question.replace("far", f"fast{n}")) for n in range(20)]
    assert other_than(SPARROW, [*same, LEDGER]) in (LEDGER, None)
    assert other_than(SPARROW, [SPARROW, LEDGER]) == LEDGER
    assert other_than(SPARROW, [SPARROW]) is None
    assert other_than(SPARROW, same) is None


async def _build(
    engine: Engine, path: Path, seeds: list[Seed], share: float, speculation: Literal["idle", "off"] = "idle"
) -> tuple[list[Distilled], Canaries, Asker]:
    """What the pipeline does: each question distilled, then its canary."""
    plan, found, store = make_plan(), Canaries(), Journal(path)
    try:
        asker = Asker(
            engine, store, Gate(8), BuildSection(audit_share=0.1, speculation=speculation), run_seed=0
        )

        async def work(seed: Seed, ask: Any) -> Distilled:
            distilled = await distil(seed, ask, plan)
            if chosen(seed.seed_id, share):
                found.add(await plant(seed, other_than(seed, seeds), ask, plan))
            return distilled

        async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
            return [distilled async for distilled in stream], found, asker
    finally:
        await store.close()


_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "flint",
    "grove",
    "heron",
    "ivory",
    "jetty",
    "kelp",
    "lotus",
    "maple",
)
SEEDS = [Seed(f"s{n}", f"{' '.join(_WORDS[(n * 5 + k * k) % 13] for k in range(4))} {n}") for n in range(120)]


def test_what_is_kept_is_the_same_with_and_without_canaries(tmp_path: Path) -> None:
    script = Script()
    plain, _ = asyncio.run(distil_all(ScriptedEngine(script), tmp_path / "a", make_plan(), SEEDS))
    with_canaries, found, _ = asyncio.run(_build(ScriptedEngine(script), tmp_path / "b", SEEDS, 0.5))
    assert kept(with_canaries) == kept(plain)
    assert found.judged > 30
    assert all(judged.candidate.index >= 0 for d in with_canaries for judged in d.judged)


def test_a_second_run_replays_the_canaries_without_a_call(tmp_path: Path) -> None:
    engine = ScriptedEngine(Script())
    _, once, _ = asyncio.run(_build(engine, tmp_path / "j", SEEDS, 0.5, "off"))
    _, twice, asker = asyncio.run(_build(engine, tmp_path / "j", SEEDS, 0.5, "off"))
    assert asker.meter.new_tokens == 0
    assert {k: c["accepted"] for k, c in once.outcomes.items()} == {
        k: c["accepted"] for k, c in twice.outcomes.items()
    }
    assert once.judged == twice.judged


def test_the_gate_learns_nothing_of_real_candidates_from_canaries(tmp_path: Path) -> None:
    pairs: list[tuple[Seed, Seed | None]] = [(seed, None) for seed in make_seeds(20)]
    engine = ScriptedEngine(Judges(no=("compare",)))
    _, asker = asyncio.run(with_ask(engine, tmp_path / "j", make_plan(), pairs))
    assert asker.gate.rate("cycle_consistency.0").asked == 0
    assert asker.gate.rate("canary/cycle_consistency.0").asked == 20


def test_requests_of_canaries_are_nobody_elses() -> None:
    assert sorted(INDEX.values()) == [-3, -2, -1]


def test_counts_and_their_interval() -> None:
    found = Canaries()
    for number in range(40):
        accepted = number < 10
        found.add(
            Planted(
                str(number), "swapped", "accepted" if accepted else "rejected", None if accepted else "f", 3
            )
        )
    found.add(Planted("m", "swapped", "malformed", None, 5))
    summary = found.summary()
    assert (summary["judged"], summary["accepted"], summary["rate"], summary["tokens"]) == (40, 10, 0.25, 125)
    assert 0.14 < summary["low"] < 0.15
    assert summary["kinds"] == {"swapped": {"accepted": 10, "malformed": 1, "rejected": 30}}
    assert summary["ended_by"] == {"f": 30}


FAULTS = [
    (0, 40, 0.0, False),
    (10, 40, 0.1, True),
    (10, 40, 0.2, False),
    (1, 1, 0.25, False),
    (3, 3, 0.25, True),
    (0, 0, 0.0, False),
]


@pytest.mark.parametrize(("accepted", "judged", "most", "faulty"), FAULTS)
def test_only_more_than_chance_explains_is_a_fault(
    accepted: int, judged: int, most: float, faulty: bool
) -> None:
    found = Canaries()
    for number in range(judged):
        found.add(Planted(str(number), "empty", "accepted" if number < accepted else "rejected", None, 0))
    message = fault(found.summary(), most)
    assert (message is not None) is faulty
    if message:
        assert f"{accepted} of {judged} canaries" in message
        assert f"quality.max_canaries={most}" in message


def test_the_same_canaries_in_every_process() -> None:
    assert [kind_of(str(n)) for n in range(6)] == KINDS
    assert other_than(SEEDS[0], SEEDS) == SEEDS[85]


KINDS: list[Kind] = ["swapped", "restated", "empty", "empty", "empty", "restated"]
