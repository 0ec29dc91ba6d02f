"""Graders: one response, one problem, one grade.

The final answer is what the rules of the problem's kind find after the last `</think>`; so a box inside the
reasoning, or in a truncated reply whose reasoning never closed, is no answer. A reply cut by the token limit *after*
its answer still counts as right: the field scores answers, not endings.

Whether a problem's reference can be read is decided once per problem, from the reference alone: where it cannot, every
attempt is "unreadable_reference", the right ones too, so that the problem leaves every mean as a whole.

Finding and comparing text is left to `compare`, algebra to `algebra`, running programs to `programs`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

from veridistill.decide import split
from veridistill.errors import ConfigError, missing_extra
from veridistill.grading.algebra import Algebra, NoReply
from veridistill.grading.cases import is_livecodebench
from veridistill.grading.compare import answers, bounds, comparison, reading
from veridistill.grading.compare.latex import MAX_ANSWER
from veridistill.grading.dialogue import NotGraded
from veridistill.records import Attempt, Completion, Grade, Problem

if TYPE_CHECKING:
    from veridistill.grading.programs import Programs


class Graders:
    """Grades by the problem's kind. Used with `async with`; processes start when they are first needed.

    `workers`: processes that compare and run answers, by default one per core. `allow_code`: whether programs may run.
    `python`: the interpreter that they run on, by default ours.
    """

    def __init__(
        self, workers: int | None = None, allow_code: bool = False, python: str | None = None
    ) -> None:
        self._num = workers
        self._allow_code = allow_code
        self._python = python
        self._algebra = Algebra(workers)
        self._programs: Programs | None = None
        self._opening = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._faults: dict[Problem, str] = {}

    @property
    def num_compared(self) -> int:
        """The comparisons that text did not settle and a worker made."""
        return self._algebra.num_compared

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._algebra.close()
        if self._programs is not None:
            await self._programs.__aexit__(kind, error, trace)

    def check(self, problems: Iterable[Problem]) -> None:
        """Raise `ConfigError` when one of the problems cannot be graded with the present settings."""
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
        """`check`, and open the sandbox if there are programs to run, so that errors come before any question is asked.

        Raises `ConfigError` as `check` does, when no sandbox holds, and when programs for LiveCodeBench would not find
        NumPy.
        """
        self.check(problems)
        programs = [problem for problem in problems if problem.kind == "code"]
        if not programs:
            return
        seen = (await self._sandboxed()).confinement
        needing = next((problem for problem in programs if is_livecodebench(problem.tests)), None)
        if needing is not None and not seen.numpy:
            raise ConfigError(
                f"{needing.benchmark} expects programs to find NumPy, and Python {seen.version}"
                f" ({seen.python.executable}) has none: pip install 'veridistill[eval]', or set"
                " evaluation.program_python to an interpreter that has it"
            )

    @property
    def facts(self) -> dict[str, str]:
        """What a progress report shows about programs: the versions that they see; empty if none are run."""
        if self._programs is None:
            return {}
        seen = self._programs.confinement
        numpy = f", NumPy {seen.numpy}" if seen.numpy else ", no NumPy"
        return {"programs": f"Python {seen.version}{numpy} in {seen.name}"}

    async def grade(self, problem: Problem, response: str) -> Grade:
        """The grade of a whole reply, reasoning included. Raises `ConfigError` as `check` does."""
        self.check((problem,))
        answer = _tidy(problem, answers.final_answer(problem, split(response).answer) or "") or None
        try:
            if fault := await self._fault(problem):
                return Grade("unreadable_reference", answer and answer[:MAX_ANSWER], fault)
            if answer is None:
                return Grade("no_answer")
            if problem.kind == "code":
                return await (await self._sandboxed()).grade(answer, problem.tests)
            return replace(await self._compared(problem, answer), answer=answer[:MAX_ANSWER])
        except NotGraded as error:
            return Grade("sandbox_error", answer and answer[:MAX_ANSWER], str(error))
        except NoReply as error:
            return Grade(
                "grader_error", answer and answer[:MAX_ANSWER], f"no worker to compare with: {error}"
            )

    async def refused(self, problem: Problem, error: str = "") -> Grade:
        """The grade of a sample that the engine refused. Raises `ConfigError` as `check` does."""
        grade = await self.grade(problem, "")
        return Grade("refused", error=error) if grade.outcome == "no_answer" else grade

    async def _compared(self, problem: Problem, answer: str) -> Grade:
        if len(answer) > MAX_ANSWER:
            return Grade(
                "wrong", error=f"{len(answer):,} characters are longer than the {MAX_ANSWER:,} that are read"
            )
        reference = problem.reference
        if problem.kind == "choice":
            return Grade("pass" if answer == reading.chosen(reference, problem.options) else "wrong")
        right = comparison.same(problem.kind, answer, reference)
        if right is not None:
            return Grade("pass" if right else "wrong")
        if too_much := bounds.beyond(answer) or bounds.beyond(reference):
            return Grade("wrong", error=f"not compared: {too_much}")
        return await self._algebra.compare(answer, reference)

    async def _fault(self, problem: Problem) -> str:
        """Why the problem's reference cannot be read, or empty. Raises `NoReply`, of programs `NotGraded`."""
        if problem.kind == "code":
            return await (await self._sandboxed()).fault(problem.tests)
        async with self._probing:
            if problem not in self._faults:
                fault = comparison.fault(problem)
                self._faults[problem] = (
                    await self._algebra.fault(problem.reference) if fault is None else fault
                )
            return self._faults[problem]

    async def _sandboxed(self) -> "Programs":
        async with self._opening:
            if self._programs is None:
                from veridistill.grading.programs import Programs

                self._programs = await Programs(self._num, python=self._python).__aenter__()
        return self._programs


def _tidy(problem: Problem, answer: str) -> str:
    """An answer without the white space around it; that at the beginning of a program belongs to it."""
    return answer.rstrip() if problem.kind == "code" else answer.strip()


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
