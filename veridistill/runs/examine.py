"""The exam of a run's model, and with `evaluation.ttc` the cascade at test time: asked, graded and written to tables.

`evaluation` asks and grades; `results` keeps the figures.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Literal

from veridistill.calls.forecast import Forecast
from veridistill.data import tables
from veridistill.data.parquet import Writer
from veridistill.evaluation import exam, statistics, ttc
from veridistill.grading.graders import Graders
from veridistill.records import Attempt, Problem
from veridistill.report.progress import Step
from veridistill.report.traffic import Traffic
from veridistill.runs import live, results
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
    section, running, num = session.config.evaluation, statistics.Running(), 0
    total, serving.asker.forecast = len(chosen) * section.samples, None
    watch = live.traffic(serving.asker, session.config, lambda: (total, total))

    def graded() -> None:
        nonlocal num
        num += 1
        step.update(num)

    with _written(session, "exam", which, number, total, "attempts", watch) as (writer, step):
        asked = exam.run_exam(chosen, section, serving.plan.jury.prompts, serving.asker, grading, graded)
        async with aclosing(asked) as stream:
            async for attempts in stream:
                for attempt in attempts:
                    writer.add(attempt)
                running.add(attempts)
                right = running.pass_at_1
                step.update(num, None, **grading.facts, accuracy="-" if right is None else f"{right:.1f} %")


async def _cascade(
    session: Session,
    serving: Serving,
    which: str,
    number: int,
    chosen: Sequence[Problem],
    grading: Graders,
) -> None:
    """UQ-TTC and its baselines on the same problems."""
    asker, found = serving.asker, list[ttc.Answered]()
    asker.forecast = Forecast(live.work(serving.plan, len(chosen)))
    watch = live.traffic(asker, session.config, live.expected(asker, asker.forecast))
    with _written(session, "ttc", which, number, len(chosen), "problems", watch) as (writer, step):
        async with aclosing(ttc.run_ttc(chosen, serving.plan, serving.asker, grading)) as stream:
            async for answered in stream:
                writer.add(answered.attempt())
                found.append(answered.without_text())
                step.update(len(found))
    results.add_ttc(session.run, which, ttc.summary(found))


@contextmanager
def _written(
    session: Session,
    kind: Literal["exam", "ttc"],
    which: str,
    number: int,
    total: int,
    unit: str,
    watch: Callable[[], Traffic],
) -> Iterator[tuple[Writer[Attempt], Step]]:
    """A timed step of the run with progress, whose attempts go to a table of their own."""
    name = "cascade" if kind == "ttc" else kind
    path = session.run.round(number).tables / f"{kind}_{which}.parquet"
    with (
        session.timed(f"{kind}_{which}"),
        session.progress.step(f"{name} {which}", total, unit, watch) as step,
        tables.ATTEMPTS.writer(path) as writer,
    ):
        yield writer, step
