"""Graders: one response, one problem, one grade.

The final answer is what the kind's rules find after the last `</think>`; so a box inside the reasoning, or one in
a truncated reply whose reasoning never closed, is no answer. A reply cut by the token limit *after* its answer
still counts as right: the field scores answers, not endings. Comparing text is `comparison`'s, algebra `mathcheck`'s
behind `workers`, running programs `programs`'.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

from veridistill.decide import split
from veridistill.errors import ConfigError, missing_extra
from veridistill.grading.compare import bounds, comparison
from veridistill.grading.compare.comparison import KINDS as KINDS
from veridistill.grading.compare.latex import MAX_ANSWER
from veridistill.grading.workers import Workers
from veridistill.records import Attempt, Completion, Grade, Problem

if TYPE_CHECKING:
    from veridistill.grading.programs import Programs

_REMEMBERED = 20_000
"""Comparisons that are remembered: the samples of one problem tend to agree."""


class Graders:
    """Grades by the problem's kind. Used with `async with`; processes start when they are first needed.

    `workers`: processes that compare and run answers, by default one a core. `allow_code`: whether programs may run.
    `num_compared` counts the comparisons that text did not settle, and a worker had to.
    """

    def __init__(self, workers: int | None = None, allow_code: bool = False) -> None:
        self.num_compared = 0
        self._num = workers
        self._allow_code = allow_code
        self._workers: Workers | None = None
        self._programs: Programs | None = None
        self._opening = asyncio.Lock()
        self._known: dict[tuple[str, str], Grade] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            await self._workers.close()
        if self._programs is not None:
            await self._programs.__aexit__(kind, error, trace)

    def check(self, problems: Iterable[Problem]) -> None:
        """Raise `ConfigError` when one of the problems cannot be graded as things are set."""
        kinds = {problem.kind: problem for problem in problems}
        if "code" in kinds and not self._allow_code:
            raise ConfigError(
                f"{kinds['code'].benchmark} asks for programs, which are graded by running them; allow it with"
                " --allow-code-execution (evaluation.allow_code_execution=true; they run in a sandbox), or leave these"
                " problems out"
            )
        if "math" in kinds and find_spec("math_verify") is None:
            raise missing_extra("grading mathematics", "eval")

    async def prepare(self, problems: Sequence[Problem]) -> None:
        """`check`, and open the sandbox if there are programs to run: what cannot be graded is told before it is asked.

        Raises `ConfigError` as `check` does, and when no sandbox holds.
        """
        self.check(problems)
        if any(problem.kind == "code" for problem in problems):
            await self._sandboxed()

    async def grade(self, problem: Problem, response: str) -> Grade:
        """The grade of a whole reply, reasoning included. Raises `ConfigError` as `check` does."""
        self.check((problem,))
        answer = comparison.final_answer(problem, split(response).answer)
        if answer is None or not answer.strip():
            return Grade("no_answer")
        if problem.kind == "code":
            return replace(await self._run(answer, problem.tests), answer=answer)
        return await self._compare(problem, answer.strip())

    async def _compare(self, problem: Problem, answer: str) -> Grade:
        shown, reference = answer[:MAX_ANSWER], problem.reference
        if len(reference) > MAX_ANSWER:
            long = f"a reference of {len(reference):,} characters is longer than the {MAX_ANSWER:,} that are read"
            return Grade("grader_error", shown, long)
        if len(answer) > MAX_ANSWER:
            return Grade(
                "wrong", shown, f"{len(answer):,} characters are longer than the {MAX_ANSWER:,} that are read"
            )
        if problem.kind == "choice":
            return _chosen(answer, problem)
        right = comparison.same(problem.kind, answer, reference)
        if problem.kind == "integer" and comparison.integer(reference) is None:
            return Grade("grader_error", shown, f"the reference {reference!r} is no integer")
        if right is not None:
            return Grade("pass" if right else "wrong", shown)
        return replace(await self._algebra(answer, reference), answer=shown)

    async def _algebra(self, answer: str, reference: str) -> Grade:
        """The grade of mathematics that text does not settle."""
        if too_much := bounds.beyond(answer) or bounds.beyond(reference):
            return Grade("wrong", error=f"not compared: {too_much}")
        key = (answer, reference)
        if key not in self._known:
            if self._workers is None:
                self._workers = Workers("veridistill.grading.mathcheck", self._num)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self.num_compared += 1
            self._known[key] = await _asked(self._workers, answer, reference)
        return self._known[key]

    async def _run(self, code: str, tests: str) -> Grade:
        return await (await self._sandboxed()).grade(code, tests)

    async def _sandboxed(self) -> "Programs":
        async with self._opening:
            if self._programs is None:
                from veridistill.grading.programs import Programs

                self._programs = await Programs(self._num).__aenter__()
        return self._programs


def _chosen(answer: str, problem: Problem) -> Grade:
    wanted = comparison.chosen(problem.reference, problem.options)
    if wanted is None:
        return Grade("grader_error", answer, f"the reference {problem.reference!r} is no option")
    return Grade("pass" if answer == wanted else "wrong", answer)


async def _asked(workers: Workers, answer: str, reference: str) -> Grade:
    reply = await workers.ask((answer, reference))
    if reply.failure == "unstartable":
        return Grade("grader_error", error=f"no worker to compare with: {reply.detail}")
    if reply.failure:
        return Grade("wrong", error=f"not compared: {reply.detail}")
    value = reply.value
    if value.get("unreadable") == "reference":
        return Grade("grader_error", error=f"the reference {reference!r} cannot be read as mathematics")
    if value.get("unreadable"):
        return Grade("wrong", error="the answer cannot be read as mathematics")
    if value.get("error"):
        return Grade("wrong", error=f"not compared: {value['error']}")
    return Grade("pass" if value["same"] else "wrong")


def attempt(problem: Problem, index: int, completion: Completion, grade: Grade) -> Attempt:
    """The graded sample as a record. Error "truncated" marks a reply that ended before it gave an answer."""
    cut = grade.outcome == "no_answer" and completion.finish_reason != "stop"
    return Attempt(
        problem_id=problem.problem_id,
        benchmark=problem.benchmark,
        index=index,
        answer=grade.answer,
        outcome=grade.outcome,
        error="truncated" if cut else grade.error,
        finish_reason=completion.finish_reason,
        completion_tokens=completion.completion_tokens,
        response=completion.text,
    )
