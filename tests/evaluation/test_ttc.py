"""UQ-TTC and its baselines over problems: who answers what, what each costs alone, and what it comes to."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.harness import STAGES, make_plan
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import BuildSection, EvaluationSection
from veridistill.engines.scripted import Script, ScriptedEngine, right_answer
from veridistill.evaluation import exam, ttc
from veridistill.grading.graders import Graders
from veridistill.method import Judged, Plan
from veridistill.records import (
    Ballot,
    Candidate,
    Completion,
    Grade,
    Outcome,
    Problem,
    Verdict,
    Vote,
)

LAZY = BuildSection(audit_share=0, speculation="off", order="paper")
EXHAUSTIVE = BuildSection(audit_share=0, asks="exhaustive", extra_stages=("simple",))


def make_problems(num: int, benchmark: str = "sums") -> list[Problem]:
    questions = [f"What is {i} plus {7 * i % 13}?" for i in range(num)]
    return [Problem(f"p{i}", benchmark, "integer", q, str(right_answer(q))) for i, q in enumerate(questions)]


def answered_all(
    journal: Path,
    problems: Sequence[Problem],
    build: BuildSection = LAZY,
    plan: Plan | None = None,
    engine: ScriptedEngine | None = None,
    samples: int = 0,
) -> tuple[list[ttc.Answered], Asker]:
    """The problems put before the cascade; `samples`: an exam on the same journal first."""

    async def run() -> tuple[list[ttc.Answered], Asker]:
        served = engine or ScriptedEngine(Script())
        store = Journal(journal)
        try:
            asker = Asker(served, store, Gate(served.capacity, build.speculation), build, run_seed=0)
            chosen = plan or replace(make_plan(4, 2), extra_stages=("simple",))
            async with Graders(1) as graders:
                if samples:
                    section = EvaluationSection(samples=samples, max_tokens=256)
                    async for _ in exam.run_exam(problems, section, chosen.jury.prompts, asker, graders):
                        pass
                return [one async for one in ttc.run_ttc(problems, chosen, asker, graders)], asker
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ttc.Answered], Asker]:
    return answered_all(tmp_path_factory.mktemp("ttc") / "journal.sqlite", make_problems(60), EXHAUSTIVE)


@pytest.fixture(scope="module")
def lazy(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ttc.Answered], Asker]:
    return answered_all(tmp_path_factory.mktemp("ttc") / "journal.sqlite", make_problems(60))


def test_lazily_there_are_two_methods_and_they_answer_as_exhaustively(
    whole: tuple[list[ttc.Answered], Asker], lazy: tuple[list[ttc.Answered], Asker]
) -> None:
    assert [set(one.answers) for one in lazy[0]] == [{"candidate_0", "uq_ttc"}] * 60
    assert [set(one.answers) for one in whole[0]] == [set(ttc.METHODS)] * 60
    for one, other in zip(lazy[0], whole[0], strict=True):
        assert (one.valid, one.reply) == (other.valid, other.reply)
        for method, answer in one.answers.items():
            assert answer == other.answers[method], "the same candidate, grade and cost"


def test_a_summary_needs_no_text_of_a_reply(whole: tuple[list[ttc.Answered], Asker]) -> None:
    held = [one.without_text() for one in whole[0]]
    assert {one.reply.text for one in held} == {""}
    assert ttc.summary(held) == ttc.summary(whole[0])


@pytest.mark.parametrize("speculation", ["idle", "off"])
def test_order_speculation_and_audits_change_no_answer(
    tmp_path: Path, whole: tuple[list[ttc.Answered], Asker], speculation: str
) -> None:
    build = BuildSection(order="cheapest", speculation=speculation, audit_share=0.3)
    engine = ScriptedEngine(Script(), shuffle=5, clock="virtual", slots=64)
    found, asker = answered_all(tmp_path / "j.sqlite", make_problems(60), build, engine=engine)
    whole_ones = [one for one in found if len(one.answers) == len(ttc.METHODS)]
    assert 5 < len(whole_ones) < 40
    for one, other in zip(found, whole[0], strict=True):
        for method, answer in one.answers.items():
            assert (answer.candidate, answer.grade) == (
                other.answers[method].candidate,
                other.answers[method].grade,
            )
        if len(one.answers) == len(ttc.METHODS):
            assert one.answers == other.answers
    assert set(ttc.summary(found)["methods"]) == {"candidate_0", "uq_ttc"}, (
        "what only some problems have is no figure"
    )
    lazily = sum(one.answers["uq_ttc"].cost.completion_tokens for one in found if one not in whole_ones)
    asked = sum(asker.meter.completion_tokens.values())
    wholly = sum(one.answers["best_by_votes"].cost.completion_tokens for one in whole_ones)
    assert asked - asker.meter.unneeded_tokens <= lazily + wholly <= asked


def test_the_cost_of_a_method_is_what_was_asked_for_it(
    whole: tuple[list[ttc.Answered], Asker], lazy: tuple[list[ttc.Answered], Asker]
) -> None:
    def spent(found: tuple[list[ttc.Answered], Asker], method: ttc.Method) -> tuple[int, int, int]:
        cost = sum((one.answers[method].cost for one in found[0]), ttc.Cost())
        return cost.calls, cost.prompt_tokens, cost.completion_tokens

    def asked(found: tuple[list[ttc.Answered], Asker]) -> tuple[int, int, int]:
        meter = found[1].meter
        return tuple(sum(m.values()) for m in (meter.calls, meter.prompt_tokens, meter.completion_tokens))  # type: ignore[return-value]

    assert spent(lazy, "uq_ttc") == asked(lazy)
    assert lazy[1].gate.rate("factuality.0").asked > 20, "what is watched is learned all the same"
    assert spent(whole, "best_by_votes") == asked(whole)
    assert "simple" not in whole[1].meter.calls, "stages that have no say are not asked"
    assert spent(whole, "self_consistency")[0] == whole[1].meter.calls["solve"] == 60 * 4
    assert spent(whole, "candidate_0")[0] == 60
    assert spent(whole, "uq_ttc")[0] < spent(whole, "best_by_votes")[0] / 2


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first, _ = answered_all(tmp_path / "journal.sqlite", make_problems(10))
    again = ScriptedEngine(lambda *_: pytest.fail("asked again"))
    second, asker = answered_all(tmp_path / "journal.sqlite", make_problems(10), engine=again)
    assert first == second
    assert asker.meter.hits == sum(asker.meter.calls.values()) > 0


def test_an_exam_and_the_cascade_share_a_journal_and_no_reply(tmp_path: Path) -> None:
    engine = ScriptedEngine(Script())
    both, asker = answered_all(tmp_path / "both.sqlite", make_problems(10), engine=engine, samples=3)
    alone, _ = answered_all(tmp_path / "alone.sqlite", make_problems(10))
    assert both == alone
    problem = make_problems(1)[0]
    assert ttc.unit_name(problem) != exam.unit_name(problem)
    assert (asker.meter.hits, asker.meter.calls["exam"]) == (0, 30)
    assert engine.stats().calls == 30 + sum(one.answers["uq_ttc"].cost.calls for one in alone)


@pytest.mark.parametrize("infer_per_vote", [True, False])
def test_shared_inferences_are_counted_once(tmp_path: Path, infer_per_vote: bool) -> None:
    script = Script(well_formed=1, right=1, compare=(1, 1), factuality=(1, 1), correctness=(1, 1), invalid=0)
    plan = make_plan(2, 5, infer_per_vote=infer_per_vote)
    found, _ = answered_all(tmp_path / "j.sqlite", make_problems(1), EXHAUSTIVE, plan, ScriptedEngine(script))
    each = 20 if infer_per_vote else 16
    costs = {method: answer.cost.calls for method, answer in found[0].answers.items()}
    assert costs == {
        "candidate_0": 1,
        "uq_ttc": 1 + each,
        "self_consistency": 2,
        "best_by_votes": 2 + 2 * each,
    }


def test_refused_questions_and_invalid_votes_cost_and_answer_nothing(tmp_path: Path) -> None:
    script = Script(refused=0.2, invalid=0.3)
    plan = make_plan(3, 2, infer_per_vote=False)
    found, _ = answered_all(
        tmp_path / "j.sqlite", make_problems(40), EXHAUSTIVE, plan, ScriptedEngine(script)
    )
    grades = [one.answers["candidate_0"].grade for one in found]
    assert 0 < sum(grade.outcome == "refused" for grade in grades) < 40
    assert all(grade.correct is False for grade in grades if grade.outcome == "refused")


# --- which candidate answers ----------------------------------------------------------------------------------


def judged(index: int, answer: str | None, votes: str = "", outcome: Outcome = "rejected") -> Judged:
    ballots: dict[str, Ballot] = {"Y": "yes", "N": "no", "?": "invalid"}
    text = "" if answer is None else f"so \\boxed{{{answer}}}"
    cast = tuple(Vote(STAGES[i % 3], i // 3, ballots[mark]) for i, mark in enumerate(votes))
    candidate = Candidate("s", index, text, Completion(text, "stop", 1, 1))
    return Judged(candidate, Verdict("s", index, outcome, None, cast))


@pytest.mark.parametrize(
    ("kind", "answers", "winner"),
    [
        ("integer", ["7", "8", "08"], 1),
        ("integer", ["1,000", "5", "1000"], 0),
        ("integer", ["7", "8", "8", "7"], 0),
        ("integer", [None, None, "8"], 2),
        ("integer", [None, None], 0),
        ("math", [r"\frac12", "2", r"\dfrac{1}{2}"], 0),
        ("math", ["2", r"\frac{1}{2}", r"\frac12"], 1),
        ("math", ["2", "0.5", r"\frac{1}{2}"], 1),
        ("choice", ["A", "(B)", r"\text{B}"], 1),
        ("choice", ["A", "green", "B"], 1),
        ("choice", ["Z", None, "B"], 0),
        ("exact", ["red", "deep  blue", "deep blue"], 1),
        ("exact", ["7", "8", "08"], 0),
    ],
)
def test_the_majority_is_of_answers_that_mean_the_same(
    kind: Any, answers: list[str | None], winner: int
) -> None:
    candidates = [judged(index, answer) for index, answer in enumerate(answers)]
    problem = Problem("p", "b", kind, "?", "1", options=("red", "green", "blue") if kind == "choice" else ())
    assert ttc.majority(problem, candidates) == winner


@pytest.mark.parametrize(
    ("candidates", "winner"),
    [
        ([judged(0, "1", "YNY"), judged(1, "1", "YYY"), judged(2, "1", "YYY")], 1),
        ([judged(0, "1", "???"), judged(1, "1", "NYN")], 1),
        ([judged(0, "1", "YYN"), judged(1, "1", "NYY")], 0),
        ([judged(0, None, "", "malformed"), judged(1, "1", "NNN")], 1),
        ([judged(0, None, "", "malformed"), judged(1, None, "", "malformed")], 0),
    ],
)
def test_the_most_votes_win(candidates: list[Judged], winner: int) -> None:
    assert ttc.most_votes(candidates) == winner


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("code", "print(1)\n"), ("code", "print(1)"), True),
        (("code", "print(1)"), ("code", "print( 1)"), False),
        (("math", "x"), ("math", "$x$"), True),
        (("math", "12"), ("math", "12.0"), True),
        (("math", "1/3"), ("math", "0.333"), False),
        (("exact", "Paris "), ("exact", "paris"), True),
        (("choice", "b"), ("choice", "(B) 12 cm"), True),
        (("choice", "none"), ("choice", "A"), False),
    ],
)
def test_the_form_of_an_answer(one: Any, other: Any, same: bool) -> None:
    assert (ttc.form(*one) == ttc.form(*other)) is same


# --- what it comes to -----------------------------------------------------------------------------------------


Mark = bool | Literal["unreadable"] | None


def answered(number: int, benchmark: str, right: dict[ttc.Method, Mark], valid: bool) -> ttc.Answered:
    problem = Problem(str(number), benchmark, "integer", "?", "1")
    grades: dict[Mark, Grade] = {
        True: Grade("pass", "1"),
        False: Grade("wrong", "2"),
        None: Grade("grader_error"),
        "unreadable": Grade("unreadable_reference", "2"),
    }
    return ttc.Answered(
        problem,
        valid,
        Completion("", "stop", 1, 1),
        {name: ttc.Answer(0, grades[mark], ttc.Cost(2, 300, 200)) for name, mark in right.items()},
    )


def test_a_summary_by_hand() -> None:
    found = ttc.summary(
        [
            answered(0, "a", {"candidate_0": False, "uq_ttc": True}, True),
            answered(1, "a", {"candidate_0": True, "uq_ttc": True}, True),
            answered(0, "b", {"candidate_0": False, "uq_ttc": False}, False),
            answered(1, "b", {"candidate_0": False, "uq_ttc": None}, True),
        ]
    )
    own = found["methods"]["uq_ttc"]
    assert own["accuracy"] == pytest.approx(200 / 3)
    assert 0 < own["low"] < own["accuracy"] < own["high"] < 100
    assert (own["ungraded"], own["calls"], own["tokens"], own["most_calls"]) == (1, 8, 2000, 2)
    assert own["right_per_1000_tokens"] == 1.0
    assert own["over_candidate_0"]["mean"] == pytest.approx(100 / 3)
    assert own["over_candidate_0"]["num_problems"] == 3
    assert (found["accepted"], found["accepted_right"]) == (75, 100)
    assert found["benchmarks"]["a"]["methods"]["candidate_0"]["accuracy"] == 50
    assert set(found["methods"]) == {"candidate_0", "uq_ttc"}
    assert json.loads(json.dumps(found)) == found
    assert "uq_ttc" in ttc.table(found)


def test_a_summary_needs_problems_and_bears_that_none_is_graded() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        ttc.summary([])
    found = ttc.summary([answered(0, "a", {"candidate_0": None, "uq_ttc": None}, False)])
    assert found["methods"]["uq_ttc"]["accuracy"] is found["methods"]["uq_ttc"]["over_candidate_0"] is None
    assert found["accepted_right"] is None
    assert " - " in ttc.table(found)


def test_a_problem_whose_reference_cannot_be_read_is_left_out_of_every_method() -> None:
    read = [
        answered(0, "a", {"candidate_0": False, "uq_ttc": True}, True),
        answered(1, "a", {"candidate_0": True, "uq_ttc": True}, True),
    ]
    # The first sample has the reference's text, the accepted one another that cannot be compared with it.
    odd = answered(2, "a", {"candidate_0": True, "uq_ttc": "unreadable"}, True)
    found, expected = ttc.summary([*read, odd]), ttc.summary(read)
    assert (found["num_problems"], found["unreadable_problems"]) == (2, 1)
    assert found["benchmarks"]["a"]["unreadable_problems"] == 1
    assert {**found, "unreadable_problems": 0, "benchmarks": None} == {**expected, "benchmarks": None}
    assert "1 more left out, whose reference cannot be read" in ttc.table(found)
    nothing = ttc.summary([odd])
    assert (nothing["num_problems"], nothing["accepted"], nothing["methods"]) == (0, None, {})
    assert "no problem" in ttc.table(nothing)


def test_judging_helps_where_judges_know(whole: tuple[list[ttc.Answered], Asker]) -> None:
    """The script's judges refuse most wrong candidates; a paired gain over the first sample must show it."""
    found = ttc.summary(whole[0])["methods"]
    assert found["uq_ttc"]["over_candidate_0"]["low"] > 0
    assert found["candidate_0"]["over_candidate_0"] is None


def test_the_answer_as_an_exams_record(whole: tuple[list[ttc.Answered], Asker]) -> None:
    later = next(one for one in whole[0] if one.answers["uq_ttc"].candidate > 0)
    attempt, answer = later.attempt(), later.answers["uq_ttc"]
    assert (attempt.problem_id, attempt.index) == (later.problem.problem_id, answer.candidate)
    assert (attempt.outcome, attempt.answer) == (answer.grade.outcome, answer.grade.answer)
    assert attempt.response == later.reply.text
    assert later.reply.token_ids is None
