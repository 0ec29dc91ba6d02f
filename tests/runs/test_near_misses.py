"""Near misses: accepted answers with another last digit, judged apart, counted apart, and never kept."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import BuildSection
from veridistill.engines.scripted import ScriptedEngine, role_of
from veridistill.method import Distilled, distil
from veridistill.records import Domain, Messages, Sampling, Seed
from veridistill.runs.canaries import Canaries, Planted, fault
from veridistill.runs.near_misses import INDEX, changed, plant


@pytest.mark.parametrize(
    ("answer", "near"),
    [
        ("6 times 7. So \\boxed{42}.", {"6 times 7. So \\boxed{41}.", "6 times 7. So \\boxed{43}."}),
        (
            "Step 1: 42 is even.\nThe answer is 42, so \\boxed{42}",
            {f"Step 1: 42 is even.\nThe answer is {n}, so \\boxed{{{n}}}" for n in (41, 43)},
        ),
        ("It is \\boxed{0}.", {"It is \\boxed{1}."}),
        ("It is \\boxed{19}.", {"It is \\boxed{18}."}),
        ("It is \\boxed{-2.50\\text{ m}}.", {"It is \\boxed{-2.51\\text{ m}}."}),
        ("In 142 and 4.2: \\boxed{42}", {f"In 142 and 4.2: \\boxed{{{n}}}" for n in (41, 43)}),
        ("It is \\boxed{1,249}.", {"It is \\boxed{1,248}."}),
        ("It is \\boxed{9}. So she has 9 eggs.", {"It is \\boxed{8}. So she has 8 eggs."}),
        ("It is \\boxed{9}.\nCheck: 9 + 10 = 19.", {"It is \\boxed{8}.\nCheck: 8 + 10 = 19."}),
        ("It is \\boxed{9}.\nIn 2019.", {"It is \\boxed{8}.\nIn 2019."}),
        ("It is \\boxed{\\frac{1}{2}}.", {None}),
        ("It is \\boxed{x}.", {None}),
        ("It is 42.", {None}),
    ],
)
def test_the_result_is_changed_by_its_last_digit(answer: str, near: set[str | None]) -> None:
    assert {changed(Seed(str(n), "How many?"), answer) for n in range(40)} == near


@pytest.mark.parametrize(
    ("domain", "question", "answer"),
    [
        ("code", "Print 7.", "```python\nprint(7)\n```"),
        ("science", "Which?\nA. 41\nB. 42", "It is \\boxed{42}"),
        ("science", "Which?\n(A) red\n(B) blue", "It is \\boxed{B}"),
    ],
)
def test_there_is_none_for_code_and_multiple_choice(domain: Domain, question: str, answer: str) -> None:
    assert changed(Seed("s", question, domain), answer) is None


def test_science_with_a_number_has_one() -> None:
    assert changed(Seed("s", "How many moles?", "science"), "Answer: 9 mol") == "Answer: 8 mol"


class Judges:
    """Accepts all answers, and near misses where the question's number is even; keeps what judges were shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> str:
        prompt = messages[-1].content
        if role_of(prompt) == "solve":
            return "It is \\boxed{50}."
        self.shown.append(prompt)
        number = int(prompt.partition("What is ")[2].split(" ")[0])
        return f"[[{'N' if '{51}' in prompt and number % 2 else 'Y'}]]"


def build(path: Path, judges: Judges, share: float, **limits: Any) -> tuple[list[Distilled], Canaries, Asker]:
    plan, found = make_plan(n=2, v=1, stages=["correctness"]), Canaries()

    async def main() -> tuple[list[Distilled], Canaries, Asker]:
        store = Journal(path)
        try:
            section = BuildSection(audit_share=0)
            asker = Asker(ScriptedEngine(judges), store, Gate(4), section, run_seed=0, **limits)

            async def work(seed: Seed, ask: Any) -> Distilled:
                distilled = await distil(seed, ask, plan)
                if (near := await plant(distilled, share, ask, plan)) is not None:
                    found.add(near)
                return distilled

            async with aclosing(asker.map_units(make_seeds(20), lambda s: s.seed_id, work)) as stream:
                return [one async for one in stream], found, asker
        finally:
            await store.close()

    return asyncio.run(main())


def test_near_misses_are_judged_and_counted_apart(tmp_path: Path) -> None:
    judges = Judges()
    distilled, found, _ = build(tmp_path / "j", judges, 1.0)
    near = sum("{51}" in prompt for prompt in judges.shown)
    summary = found.summary()
    assert (near, summary["near_miss"]["judged"], summary["near_miss"]["accepted"]) == (20, 20, 10)
    assert summary["near_miss"]["low"] < 0.5 < summary["near_miss"]["high"]
    assert (summary["judged"], summary["accepted"], summary["kinds"]) == (0, 0, {})
    assert all(judged.candidate.index >= 0 for one in distilled for judged in one.judged)
    assert all("{50}" in one.kept[0].answer for one in distilled)


def test_near_misses_end_no_build() -> None:
    found = Canaries()
    for number in range(50):
        found.add(Planted(str(number), "near_miss", "accepted", None, 1))
    assert fault(found.summary(), 0.0) is None


def test_a_second_run_makes_the_same_ones_without_a_call(tmp_path: Path) -> None:
    judges = Judges()
    _, once, _ = build(tmp_path / "j", judges, 0.5)
    asked = len(judges.shown)
    _, twice, asker = build(tmp_path / "j", judges, 0.5)
    assert asker.meter.new_tokens == 0
    assert len(judges.shown) == asked
    assert once.summary() == twice.summary()
    assert 3 < once.summary()["near_miss"]["judged"] < 17


def test_its_requests_are_nobody_elses() -> None:
    assert INDEX == -4
