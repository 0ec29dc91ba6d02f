"""The test-time procedure: which candidate is the answer, and how many calls it can cost at most."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness import distil_all, make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine, role_of
from veridistill.method import Plan, Solved, solve
from veridistill.records import Messages, Sampling, Seed

SURE = Script(well_formed=1.0, right=1.0, compare=(1, 1), factuality=(1, 1), correctness=(1, 1), invalid=0.0)
LAZY = BuildSection(audit_share=0, speculation="off", order="paper")
EXHAUSTIVE = BuildSection(audit_share=0, asks="exhaustive")


def solve_all(
    engine: ScriptedEngine, journal: Path, plan: Plan, seeds: list[Seed], build: BuildSection = LAZY
) -> tuple[list[Solved], Asker]:
    async def run() -> tuple[list[Solved], Asker]:
        store = Journal(journal)
        try:
            asker = Asker(engine, store, Gate(engine.capacity, build.speculation), build, run_seed=0)

            async def work(seed: Seed, ask: Any) -> Solved:
                return await solve(seed, ask, plan)

            return [one async for one in asker.map_units(seeds, lambda seed: seed.seed_id, work)], asker
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("infer_per_vote", "judge_calls"), [(True, 4 * 5), (False, 3 * 5 + 1)], ids=["20", "the authors' 16"]
)
def test_the_most_calls_of_a_question(tmp_path: Path, infer_per_vote: bool, judge_calls: int) -> None:
    engine = ScriptedEngine(SURE)
    plan = make_plan(8, 5, infer_per_vote=infer_per_vote)
    (solved,), asker = solve_all(engine, tmp_path / "journal.sqlite", plan, make_seeds(1), EXHAUSTIVE)
    most = 8 + 8 * judge_calls
    assert most == (168 if infer_per_vote else 136)
    assert engine.stats().calls == sum(asker.meter.calls.values()) == most
    assert len(solved.judged) == 8


def test_the_first_accepted_candidate_ends_it(tmp_path: Path) -> None:
    engine = ScriptedEngine(SURE)
    (solved,), _ = solve_all(engine, tmp_path / "journal.sqlite", make_plan(8, 5), make_seeds(1))
    assert engine.stats().calls == 1 + 4 * 5
    assert (solved.valid, solved.answer.index, len(solved.judged)) == (True, 0, 1)


def test_without_a_valid_candidate_the_answer_is_candidate_0(tmp_path: Path) -> None:
    script = Script(well_formed=1.0, invalid=0.0, factuality=(0, 0))
    found, _ = solve_all(ScriptedEngine(script), tmp_path / "journal.sqlite", make_plan(4, 1), make_seeds(5))
    assert [(one.valid, one.answer.index, len(one.judged)) for one in found] == [(False, 0, 4)] * 5


def test_a_malformed_candidate_0_still_answers_when_nothing_else_is_valid(tmp_path: Path) -> None:
    found, _ = solve_all(
        ScriptedEngine(Script(well_formed=0.0)), tmp_path / "journal.sqlite", make_plan(2, 1), make_seeds(1)
    )
    assert (found[0].answer.index, found[0].judged[0].verdict.outcome) == (0, "malformed")


@pytest.mark.parametrize(
    "build", [LAZY, EXHAUSTIVE, BuildSection(order="cheapest")], ids=["lazy", "whole", "idle"]
)
def test_a_valid_answer_is_the_candidate_that_a_build_keeps(tmp_path: Path, build: BuildSection) -> None:
    plan, seeds = make_plan(4, 2), make_seeds(40)
    kept, _ = asyncio.run(distil_all(ScriptedEngine(), tmp_path / "build.sqlite", plan, seeds))
    found, _ = solve_all(ScriptedEngine(), tmp_path / "solve.sqlite", plan, seeds, build)
    valid = [one for one in found if one.valid]
    assert 0 < len(valid) < len(found)
    for built, one in zip(kept, found, strict=True):
        assert ([one.answer] if one.valid else []) == list(built.kept)
        assert one.valid or one.answer.index == 0


def test_judges_see_the_options_of_a_multiple_choice_question(tmp_path: Path) -> None:
    question = "Which gas do plants take up?\n\nA) argon\nB) carbon dioxide\nC) helium\nD) neon"
    shown: dict[str, list[str]] = {}

    def reply(messages: Messages, sampling: Sampling, seed: int) -> Any:
        shown.setdefault(role_of(messages[-1].content), []).append(messages[-1].content)
        return SURE.reply(messages, sampling, seed)

    engine = ScriptedEngine(reply)
    solve_all(engine, tmp_path / "journal.sqlite", make_plan(2, 2), [Seed("q", question, "science")])
    assert set(shown) == {"solve", "infer", "compare", "factuality", "correctness"}
    for role, prompts in shown.items():
        seen = all(question in prompt for prompt in prompts)
        assert seen is (role != "infer"), role  # who infers the question from the answer must not see it
