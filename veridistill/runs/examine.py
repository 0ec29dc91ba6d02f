"""The exam of a run's model, and with `evaluation.ttc` the cascade at test time: asked, graded and written to tables.

`evaluation` asks and grades; `results` keeps the figures.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Literal

from veridistill.data import tables
from veridistill.data.parquet import Writer
from veridistill.evaluation import exam, statistics, ttc
from veridistill.grading.graders import Graders
from veridistill.records import Attempt, Problem
from veridistill.report.progress import Step
from veridistill.runs import results
from veridistill.runs.session import Serving, Session


def graders(session: Session) -> Graders:
    section = session.config.evaluation
    return Graders(section.grading_workers, section.allow_code_execution, section.program_python)


async def examine(
    session: Session, serving: Serving, which: str, number: int, chosen: Sequence[Problem]
) -> None:
    """Examine a model, write its attempts and their figures. `which` is "base" or "after"."""
    if not chosen:
        return
    folder = session.run.round(number).tables
    tables.PROBLEMS.write(folder / "problems.parquet", chosen)
    async with graders(session) as grading:
        await _exam(session, serving, which, number, chosen, grading)
        results.add_exam(session.run, which, number, serving.engine.fingerprint)
        if session.config.evaluation.ttc:
            await _cascade(session, serving, which, number, chosen, grading)


async def _exam(
    session: Session,
    serving: Serving,
    which: str,
    number: int,
    chosen: Sequence[Problem],
    grading: Graders,
) -> None:
    section, meter = session.config.evaluation, serving.asker.meter
    running, done, before = statistics.Running(), 0, meter.new_tokens
    with _written(session, "exam", which, number, len(chosen)) as (writer, step):
        asked = exam.run_exam(chosen, section, serving.plan.jury.prompts, serving.asker, grading)
        async with aclosing(asked) as stream:
            async for attempts in stream:
                for attempt in attempts:
                    writer.add(attempt)
                running.add(attempts)
                done, right = done + 1, running.pass_at_1
                step.update(
                    done,
                    None,
                    **grading.facts,
                    accuracy="-" if right is None else f"{right:.1f} %",
                    tokens=meter.new_tokens - before,
                )


async def _cascade(
    session: Session,
    serving: Serving,
    which: str,
    number: int,
    chosen: Sequence[Problem],
    grading: Graders,
) -> None:
    """UQ-TTC and its baselines on the same problems."""
    meter = serving.asker.meter
    before, found = meter.new_tokens, list[ttc.Answered]()
    with _written(session, "ttc", which, number, len(chosen)) as (writer, step):
        async with aclosing(ttc.run_ttc(chosen, serving.plan, serving.asker, grading)) as stream:
            async for answered in stream:
                writer.add(answered.attempt())
                found.append(answered.without_text())
                step.update(len(found), tokens=meter.new_tokens - before)
    results.add_ttc(session.run, which, ttc.summary(found))


@contextmanager
def _written(
    session: Session, kind: Literal["exam", "ttc"], which: str, number: int, num_problems: int
) -> Iterator[tuple[Writer[Attempt], Step]]:
    """A timed step of the run with progress, whose attempts go to a table of their own."""
    name = "cascade" if kind == "ttc" else kind
    path = session.run.round(number).tables / f"{kind}_{which}.parquet"
    with (
        session.timed(f"{kind}_{which}"),
        session.progress.step(f"{name} {which}", num_problems, "problems") as step,
        tables.ATTEMPTS.writer(path) as writer,
    ):
        yield writer, step
