"""An exam on the scripted engine: what is asked, and how replies, refusals and errors become attempts."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from veridistill import prompts
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal, Reader
from veridistill.config import BuildSection, EvaluationSection
from veridistill.engines.scripted import ScriptedEngine
from veridistill.errors import ConfigError, EngineDown, RequestRefused
from veridistill.evaluation.exam import run_exam, unit_name
from veridistill.evaluation.statistics import describe
from veridistill.grading.graders import Graders
from veridistill.prompts import PromptSet
from veridistill.records import Attempt, Completion, Grade, GradeOutcome, Messages, Problem, Sampling

PROBLEMS = [Problem(f"p{i}", "bench", "integer", f"What is {i}+1?", str(i + 1)) for i in range(3)]
SECTION = EvaluationSection(samples=4, temperature=0.5, max_tokens=99)
COMPACT = prompts.load("compact")


class Replies:
    """A model that answers by the number of the call (one slot: in the order of the asks), and what it was asked."""

    def __init__(self, answer: Callable[[int, str], Completion]) -> None:
        self.answer = answer
        self.asked: list[tuple[Messages, Sampling]] = []

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        self.asked.append((messages, sampling))
        return self.answer(len(self.asked) - 1, messages[-1].content)


def examined(
    folder: Path,
    replies: Replies,
    problems: Sequence[Problem] = PROBLEMS,
    prompt_set: PromptSet = COMPACT,
    engine: ScriptedEngine | None = None,
) -> list[list[Attempt]]:
    async def run() -> list[list[Attempt]]:
        journal = Journal(folder / "journal.sqlite")
        try:
            served = engine or ScriptedEngine(replies, slots=1)
            gate = Gate(served.capacity, "off")
            asker = Asker(served, journal, gate, BuildSection(speculation="off"), run_seed=0, window=1)
            async with Graders(workers=1) as graders:
                stream = run_exam(problems, SECTION, prompt_set, asker, graders)
                return [attempts async for attempts in stream]
        finally:
            await journal.close()

    return asyncio.run(run())


def boxed(value: object, finish_reason: str = "stop") -> Completion:
    return Completion(f"<think>x</think>\\boxed{{{value}}}", finish_reason, 5, 7)


def test_every_sample_is_asked_once_with_the_prompt_of_generation(tmp_path: Path) -> None:
    replies = Replies(lambda call, _: boxed(call // 4 + 1 if call % 4 in (0, 3) else 0))
    graded = examined(tmp_path, replies)
    assert [[a.correct for a in group] for group in graded] == [[True, False, False, True]] * 3
    assert [a.index for a in graded[0]] == [0, 1, 2, 3]
    for number, problem in enumerate(PROBLEMS):
        with closing(Reader((tmp_path / "journal.sqlite",))) as reader:
            calls = reader.replies(unit_name(problem)).values()
        assert sorted(call.path for call in calls) == [("bench", problem.problem_id, i) for i in range(4)]
        assert {call.role for call in calls} == {"exam"}
        expected = prompts.message(COMPACT.solve_math, question=problem.question)
        asked = replies.asked[4 * number : 4 * number + 4]
        assert asked == [(expected, Sampling(0.5, 0.95, 0, 99))] * 4


def test_the_samples_of_a_problem_are_asked_side_by_side(tmp_path: Path) -> None:
    replies = Replies(lambda *_: boxed(1))
    engine = ScriptedEngine(replies, seconds_per_token=1.0, slots=4, clock="virtual")
    examined(tmp_path, replies, PROBLEMS[:1], engine=engine)
    assert len(replies.asked) == 4
    assert engine.now == 7, "four samples in the time of one"


def test_a_problem_whose_reference_cannot_be_read_leaves_as_a_whole(tmp_path: Path) -> None:
    """Right, wrong, none, and refused: no sample counts for or against the model."""

    def answer(call: int, _: str) -> Completion:
        if call == 3:
            raise RequestRefused("prompt too long")
        return (boxed("many"), boxed(1), Completion("none", "stop", 5, 7))[call]

    unreadable = [Problem("p", "bench", "integer", "?", "many")]
    (found,) = examined(tmp_path, Replies(answer), unreadable)
    assert [one.outcome for one in found] == ["unreadable_reference"] * 4


def test_a_refused_request_is_a_wrong_attempt(tmp_path: Path) -> None:
    def answer(call: int, _: str) -> Completion:
        if call == 1:
            raise RequestRefused("prompt too long")
        return boxed(0, "length") if call == 2 else Completion("<think>", "length", 5, 99)

    (graded,) = examined(tmp_path, Replies(answer), PROBLEMS[:1])
    assert (graded[1].correct, graded[1].error) == (False, "prompt too long")
    made = describe(graded)
    assert (made.truncated, made.no_answer, made.refused) == (75, 50, 25)
    assert made.tokens == pytest.approx((99 + 0 + 7 + 99) / 4)
    assert (made.pass_at_1, made.se, made.samples) == (0, None, 4)


def test_an_engine_that_is_down_ends_the_exam_with_its_own_error(tmp_path: Path) -> None:
    def answer(call: int, _: str) -> Completion:
        raise EngineDown("gone")

    with pytest.raises(EngineDown, match="gone"):
        examined(tmp_path, Replies(answer))


def test_each_problem_is_asked_in_its_own_domain_and_graded_by_its_own_kind(tmp_path: Path) -> None:
    mixed = [
        Problem("m", "b1", "math", "Sine of 60 degrees?", r"\frac{\sqrt3}{2}"),
        Problem("s", "b2", "choice", "Which?\n(A) x\n(B) y", "B", "science", ("x", "y")),
    ]
    thinking = prompts.load("thinking")
    replies = Replies(
        lambda _, asked: Completion(r"\boxed{\sqrt{3}/2}" if "Sine" in asked else "Answer: B", "stop", 5, 7)
    )
    graded = examined(tmp_path, replies, mixed, thinking)
    assert [[a.outcome for a in group] for group in graded] == [["pass"] * 4] * 2
    assert replies.asked[0][0] == prompts.message(thinking.solve_math, question=mixed[0].question)
    assert replies.asked[4][0] == prompts.message(thinking.solve_science, question=mixed[1].question)


def test_what_cannot_be_graded_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    replies = Replies(lambda *_: boxed(1))
    code = Problem("c", "lcb", "code", "?", "", "code", tests="[]")
    with pytest.raises(ConfigError, match="--allow-code-execution"):
        examined(tmp_path, replies, [*PROBLEMS, code])
    assert replies.asked == []


def test_the_ungraded_are_kept_apart_from_the_wrong() -> None:
    outcomes: list[GradeOutcome] = ["pass", "wrong", "grader_error", "sandbox_error", "no_answer"]
    made = describe(
        [Attempt("p", "b", i, None if o == "no_answer" else "x", o) for i, o in enumerate(outcomes)]
    )
    assert (made.ungraded, made.no_answer, made.refused, made.truncated) == (40, 20, 0, 0)


def test_behind_a_slow_problem_wait_grades_alone(tmp_path: Path) -> None:
    """The first problem is answered when all others have been graded; none of their replies is held by then."""
    problems = [Problem(f"p{i}", "slow", "integer", f"What is {i}+1?", str(i + 1)) for i in range(8)]
    held: list[str] | None = None

    class Slow(ScriptedEngine):
        async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
            nonlocal held
            if problems[0].question in messages[-1].content:
                await ended.wait()
                for _ in range(20):  # so that the last of the others comes to its end
                    await asyncio.sleep(0)
                gc.collect()
                alive = [one for one in gc.get_objects() if type(one) is Attempt and one.benchmark == "slow"]
                held = [one.response for one in alive if one.response]
            return await super().generate(messages, sampling, seed)

    ended, graded = asyncio.Event(), 0

    class Counting(Graders):
        async def grade(self, problem: Problem, text: str) -> Grade:
            nonlocal graded
            grade = await super().grade(problem, text)
            graded += 1
            if graded == 28:
                ended.set()
            return grade

    async def run() -> list[list[Attempt]]:
        journal = Journal(tmp_path / "journal.sqlite")
        try:
            served = Slow(Replies(lambda *_: boxed(1)), slots=64)
            asker = Asker(
                served, journal, Gate(64, "off"), BuildSection(speculation="off"), run_seed=0, window=8
            )
            async with Counting(workers=1) as graders:
                return [one async for one in run_exam(problems, SECTION, COMPACT, asker, graders)]
        finally:
            await journal.close()

    found = asyncio.run(run())
    assert held == []
    assert [one.problem_id for group in found for one in group] == [
        f"p{i}" for i in range(8) for _ in range(4)
    ]
    assert {one.response for group in found for one in group} == {boxed(1).text}
