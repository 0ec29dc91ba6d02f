"""An exam: k samples of each problem, asked through the one path to a model, and graded.

The prompt is the solve template of the problem's domain, the same as for generation, so that the model is evaluated
with the prompt it was trained on. `grading` grades; `statistics` summarises. While a problem waits for an earlier one,
memory holds its grades alone: the replies are read from the journal again when the problem's turn comes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from veridistill.calls.ask import Asker
from veridistill.config import EvaluationSection
from veridistill.domains import DOMAINS
from veridistill.errors import RequestRefused
from veridistill.grading.graders import Graders, attempt
from veridistill.lazy import Ask, Call
from veridistill.prompts import PromptSet, message
from veridistill.records import Attempt, Completion, Messages, Path, Problem, Sampling

T = TypeVar("T")
ROLE = "exam"


async def run_exam(
    problems: Sequence[Problem],
    section: EvaluationSection,
    prompts: PromptSet,
    asker: Asker,
    graders: Graders,
    graded: Callable[[], object] = lambda: None,
) -> AsyncGenerator[list[Attempt], None]:
    """The graded samples of each problem, in the order of the problems; `graded` is called for each as it comes.

    Raises `ConfigError` before anything is asked when `graders` cannot grade one of the problems.
    """
    await graders.prepare(problems)

    async def work(problem: Problem, ask: Ask) -> list[Attempt]:
        messages = _messages(problem, prompts)
        asked = (
            _sample(problem, index, messages, section.sampling, ask, graders, graded)
            for index in range(section.samples)
        )
        return [replace(attempt, response="") for attempt in await _together(asked)]

    # The attempts come in the order of the problems.
    turns = iter(problems)
    async with aclosing(asker.map_units(problems, unit_name, work)) as stream:
        async for attempts in stream:
            problem = next(turns)
            answered = await asker.answered(unit_name(problem), ROLE)
            messages = _messages(problem, prompts)
            yield [
                await _with_response(one, problem, messages, section.sampling, answered) for one in attempts
            ]


def unit_name(problem: Problem) -> str:
    """The name of a problem in the journal."""
    return f"{problem.benchmark}/{problem.problem_id}"


def _messages(problem: Problem, prompts: PromptSet) -> Messages:
    return message(DOMAINS[problem.domain].solve(prompts), question=problem.question)


def _path(problem: Problem, index: int) -> Path:
    return (problem.benchmark, problem.problem_id, index)


async def _with_response(
    attempt: Attempt, problem: Problem, messages: Messages, sampling: Sampling, answered: Call
) -> Attempt:
    """The attempt with its reply's text, asked of the journal."""
    if attempt.finish_reason == "refused":
        return attempt
    reply = await answered(ROLE, _path(problem, attempt.index), messages, sampling)
    return replace(attempt, response=reply.text)


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; the first error cancels the rest and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _sample(
    problem: Problem,
    index: int,
    messages: Messages,
    sampling: Sampling,
    ask: Ask,
    graders: Graders,
    graded: Callable[[], object],
) -> Attempt:
    found = await _graded(problem, index, messages, sampling, ask, graders)
    graded()
    return found


async def _graded(
    problem: Problem, index: int, messages: Messages, sampling: Sampling, ask: Ask, graders: Graders
) -> Attempt:
    try:
        reply = await ask(ROLE, _path(problem, index), messages, sampling)
    except RequestRefused as error:
        nothing = Completion("", "refused", 0, 0)
        return attempt(problem, index, nothing, await graders.refused(problem, str(error)))
    return attempt(problem, index, reply, await graders.grade(problem, reply.text))
