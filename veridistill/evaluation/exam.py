"""An exam: k samples of each problem, asked through the one path to a model, and graded.

The prompt is the solve template of the problem's domain, the same as for generation, so that the model is evaluated
with the prompt it was trained on. `grading` grades; `statistics` summarises.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from veridistill.calls.ask import Asker
from veridistill.config import EvaluationSection
from veridistill.domains import DOMAINS
from veridistill.errors import RequestRefused
from veridistill.grading.graders import Graders, attempt
from veridistill.lazy import Ask
from veridistill.prompts import PromptSet, message
from veridistill.records import Attempt, Completion, Messages, Problem, Sampling

T = TypeVar("T")
ROLE = "exam"


async def run_exam(
    problems: Sequence[Problem],
    section: EvaluationSection,
    prompts: PromptSet,
    asker: Asker,
    graders: Graders,
) -> AsyncGenerator[list[Attempt], None]:
    """The graded samples of each problem, in the order of the problems.

    Raises `ConfigError` before anything is asked when `graders` cannot grade one of the problems.
    """
    await graders.prepare(problems)

    async def work(problem: Problem, ask: Ask) -> list[Attempt]:
        messages = message(DOMAINS[problem.domain].solve(prompts), question=problem.question)
        asked = (
            _sample(problem, index, messages, section.sampling, ask, graders)
            for index in range(section.samples)
        )
        return await _together(asked)

    async for attempts in asker.map_units(problems, unit_name, work):
        yield attempts


def unit_name(problem: Problem) -> str:
    """The name of a problem in the journal."""
    return f"{problem.benchmark}/{problem.problem_id}"


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; the first error cancels the rest and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _sample(
    problem: Problem, index: int, messages: Messages, sampling: Sampling, ask: Ask, graders: Graders
) -> Attempt:
    path = (problem.benchmark, problem.problem_id, index)
    try:
        reply = await ask(ROLE, path, messages, sampling)
    except RequestRefused as error:
        nothing = Completion("", "refused", 0, 0)
        return attempt(problem, index, nothing, await graders.refused(problem, str(error)))
    return attempt(problem, index, reply, await graders.grade(problem, reply.text))
