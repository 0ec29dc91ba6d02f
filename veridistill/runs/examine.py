"""The exam of a run's model: sat, graded and written down; and, where it is asked for, the cascade at test time.

How a sample is asked and graded is `evaluation`'s; what it all comes to, `results`'.
"""

from collections.abc import Sequence
from contextlib import aclosing

from veridistill.data import tables
from veridistill.evaluation import exam, statistics, ttc
from veridistill.grading.graders import Graders
from veridistill.records import Problem
from veridistill.runs import results
from veridistill.runs.session import Serving, Session


def graders(session: Session) -> Graders:
    section = session.config.evaluation
    return Graders(section.grading_workers, section.allow_code_execution)


async def examine(
    session: Session, serving: Serving, which: str, number: int, chosen: Sequence[Problem]
) -> None:
    """Put the problems to a model, write its attempts and what they come to. `which` is "base" or "after"."""
    if not chosen:
        return
    folder = session.run.round(number).tables
    tables.PROBLEMS.write(folder / "problems.parquet", chosen)
    async with graders(session) as grading:
        await _sit(session, serving, which, number, chosen, grading)
        results.add_exam(session.run, which, number, serving.engine.fingerprint)
        if session.config.evaluation.ttc:
            await _cascade(session, serving, which, number, chosen, grading)


async def _sit(
    session: Session,
    serving: Serving,
    which: str,
    number: int,
    chosen: Sequence[Problem],
    grading: Graders,
) -> None:
    section, meter = session.config.evaluation, serving.asker.meter
    path = session.run.round(number).tables / f"exam_{which}.parquet"
    running, done, before = statistics.Running(), 0, meter.new_tokens
    with (
        session.timed(f"exam_{which}"),
        session.progress.step(f"exam {which}", len(chosen), "problems") as step,
        tables.ATTEMPTS.writer(path) as writer,
    ):
        sitting = exam.sit(chosen, section, serving.plan.jury.prompts, serving.asker, grading)
        async with aclosing(sitting) as stream:
            async for attempts in stream:
                for attempt in attempts:
                    writer.add(attempt)
                running.add(attempts)
                done, right = done + 1, running.pass_at_1
                step.update(
                    done,
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
    with (
        session.timed(f"ttc_{which}"),
        session.progress.step(f"cascade {which}", len(chosen), "problems") as step,
    ):
        async with aclosing(ttc.sit(chosen, serving.plan, serving.asker, grading)) as stream:
            async for answered in stream:
                found.append(answered)
                step.update(len(found), tokens=meter.new_tokens - before)
    path = session.run.round(number).tables / f"ttc_{which}.parquet"
    tables.ATTEMPTS.write(path, (answered.attempt() for answered in found))
    results.add_ttc(session.run, which, ttc.summary(found))
