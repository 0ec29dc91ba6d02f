"""The exam against a plain double of the asker; the real one has its own tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from veridistill import prompts
from veridistill.config import EvaluationSection
from veridistill.errors import ConfigError, EngineDown, RequestRefused
from veridistill.evaluation.exam import Ask, sit
from veridistill.evaluation.statistics import describe
from veridistill.grading.graders import Graders
from veridistill.records import Attempt, Completion, GradeOutcome, Messages, Path, Problem, Sampling

PROBLEMS = [Problem(f"p{i}", "bench", "integer", f"What is {i}+1?", str(i + 1)) for i in range(3)]
SECTION = EvaluationSection(samples=4, temperature=0.5, max_tokens=99)


class Replies:
    """Answers by path; keeps what it was asked, and how many asks of one problem were open at once."""

    def __init__(self, answer: Callable[[Path], Completion]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Path, Messages, Sampling]] = []
        self.open = self.widest = 0
        self.units: list[str] = []

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        self.asked.append((role, path, messages, sampling))
        self.open += 1
        self.widest = max(self.widest, self.open)
        try:
            await asyncio.sleep(0)
            return self.answer(path)
        finally:
            self.open -= 1

    async def over(
        self, items: Iterable[Any], unit: Callable[[Any], str], work: Callable[[Any, Ask], Awaitable[Any]]
    ) -> AsyncIterator[Any]:
        for item in items:
            self.units.append(unit(item))
            yield await work(item, self)


def boxed(value: object, finish_reason: str = "stop") -> Completion:
    return Completion(f"<think>x</think>\\boxed{{{value}}}", finish_reason, 5, 7)


async def results(asker: Replies) -> list[list[Attempt]]:
    prompt_set = prompts.load("compact")
    async with Graders(workers=1) as graders:
        return [attempts async for attempts in sit(PROBLEMS, SECTION, prompt_set, asker, graders)]


def test_every_sample_is_asked_once_with_the_prompt_of_generation() -> None:
    asker = Replies(lambda path: boxed(int(str(path[1])[1:]) + 1 if path[2] in (0, 3) else 0))
    graded = asyncio.run(results(asker))
    assert asker.units == ["bench/p0", "bench/p1", "bench/p2"]
    paths = [("bench", f"p{p}", i) for p in range(3) for i in range(4)]
    assert sorted(path for _, path, _, _ in asker.asked) == paths
    assert {role for role, *_ in asker.asked} == {"exam"}
    assert {sampling for *_, sampling in asker.asked} == {Sampling(0.5, 0.95, 0, 99)}
    expected = prompts.message(prompts.load("compact").solve_math, question=PROBLEMS[0].question)
    assert asker.asked[0][2] == expected
    assert asker.widest == 4
    assert [[a.correct for a in group] for group in graded] == [[True, False, False, True]] * 3
    assert [a.index for a in graded[0]] == [0, 1, 2, 3]


def test_a_problem_whose_reference_cannot_be_read_leaves_as_a_whole() -> None:
    """Right, wrong, none, and refused: no sample counts for or against the model."""

    def answer(path: Path) -> Completion:
        if path[2] == 3:
            raise RequestRefused("prompt too long")
        return (boxed("many"), boxed(1), Completion("none", "stop", 5, 7))[int(path[2])]

    async def attempts() -> list[Attempt]:
        async with Graders(workers=1) as graders:
            unreadable = [Problem("p", "bench", "integer", "?", "many")]
            prompt_set = prompts.load("compact")
            (found,) = [one async for one in sit(unreadable, SECTION, prompt_set, Replies(answer), graders)]
            return found

    assert [one.outcome for one in asyncio.run(attempts())] == ["unreadable_reference"] * 4


def test_a_refused_request_is_a_wrong_attempt() -> None:
    def answer(path: Path) -> Completion:
        if path[2] == 1:
            raise RequestRefused("prompt too long")
        return boxed(0, "length") if path[2] == 2 else Completion("<think>", "length", 5, 99)

    graded = asyncio.run(results(Replies(answer)))[0]
    assert (graded[1].correct, graded[1].error) == (False, "prompt too long")
    made = describe(graded)
    assert (made.truncated, made.no_answer, made.refused) == (75, 50, 25)
    assert made.tokens == pytest.approx((99 + 0 + 7 + 99) / 4)
    assert (made.pass_at_1, made.se, made.samples) == (0, None, 4)


def test_an_engine_that_is_down_ends_the_exam_with_its_own_error() -> None:
    def answer(path: Path) -> Completion:
        raise EngineDown("gone")

    with pytest.raises(EngineDown, match="gone"):
        asyncio.run(results(Replies(answer)))


def test_each_problem_is_asked_in_its_own_domain_and_graded_by_its_own_kind() -> None:
    mixed = [
        Problem("m", "b1", "math", "Sine of 60 degrees?", r"\frac{\sqrt3}{2}"),
        Problem("s", "b2", "choice", "Which?\n(A) x\n(B) y", "B", "science", ("x", "y")),
    ]
    said = {"m": r"\boxed{\sqrt{3}/2}", "s": "Answer: B"}
    asker = Replies(lambda path: Completion(said[str(path[1])], "stop", 5, 7))
    prompt_set = prompts.load("thinking")

    async def sat() -> list[list[Attempt]]:
        async with Graders(workers=1) as graders:
            return [attempts async for attempts in sit(mixed, SECTION, prompt_set, asker, graders)]

    graded = asyncio.run(sat())
    assert [[a.outcome for a in group] for group in graded] == [["pass"] * 4] * 2
    asked = {path[1]: messages for _, path, messages, _ in asker.asked}
    assert asked["m"] == prompts.message(prompt_set.solve_math, question=mixed[0].question)
    assert asked["s"] == prompts.message(prompt_set.solve_science, question=mixed[1].question)


def test_what_cannot_be_graded_is_told_before_anything_is_asked() -> None:
    asker = Replies(lambda path: boxed(1))
    code = Problem("c", "lcb", "code", "?", "", "code", tests="[]")

    async def sat() -> None:
        async with Graders() as graders:
            async for _ in sit([*PROBLEMS, code], SECTION, prompts.load("compact"), asker, graders):
                pass

    with pytest.raises(ConfigError, match="--allow-code-execution"):
        asyncio.run(sat())
    assert asker.asked == []


def test_the_ungraded_are_kept_apart_from_the_wrong() -> None:
    outcomes: list[GradeOutcome] = ["pass", "wrong", "grader_error", "sandbox_error", "no_answer"]
    made = describe(
        [Attempt("p", "b", i, None if o == "no_answer" else "x", o) for i, o in enumerate(outcomes)]
    )
    assert (made.ungraded, made.no_answer, made.refused, made.truncated) == (40, 20, 0, 0)
