"""Test-time cascade (UQ-TTC) and its baselines on the lab's exam: accuracy, calls and tokens of four ways to answer.

    python benchmarks/ttc.py --json benchmarks/results/ttc.json     # the lab's model, 100 problems, n = 8, v = 3
    python benchmarks/ttc.py --scripted --limit 20                  # seconds, without a model

Everything is asked once, and every method is costed as if it ran alone. With `--trained RUN` the model that a run of
the lab trained answers too, to show how much of the gain training provides. The same command resumes.
"""

import argparse
import asyncio
import json
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from veridistill import config as configuration
from veridistill.data.rundir import opened, write_json
from veridistill.engines.scripted import right_answer
from veridistill.evaluation import ttc
from veridistill.evaluation.benchmarks import own
from veridistill.grading.graders import Graders
from veridistill.lab.worlds import EQUATIONS, files
from veridistill.report.progress import Progress
from veridistill.runs.session import Session, serving

DEMO = configuration.preset_file("lab")


async def answered_all(session: Session, limit: int) -> list[ttc.Answered]:
    """The lab's exam, everything asked."""
    problems = own.load(files.exam_file(EQUATIONS, session.run.path, limit))
    if session.config.engine.kind == "scripted":  # it has its own idea of what is right
        problems = [replace(problem, reference=str(right_answer(problem.question))) for problem in problems]
    found: list[ttc.Answered] = []
    async with serving(session, 1) as served, Graders() as graders:
        with session.progress.step("ttc", len(problems), "problems") as step:
            async with aclosing(ttc.run_ttc(problems, served.plan, served.asker, graders)) as stream:
                async for answered in stream:
                    found.append(answered)
                    step.update(len(found))
    return found


def measured(out: Path, overrides: list[str], limit: int) -> dict[str, Any]:
    chosen = configuration.load(DEMO, ["build.asks=exhaustive", *overrides])
    with opened(out, chosen) as run:
        found = asyncio.run(answered_all(Session(run, Progress(out, "auto")), limit))
    return ttc.summary(found) | {
        "candidates": chosen.generate.candidates,
        "votes": chosen.judge.votes,
        "most_possible_calls": chosen.generate.candidates
        * (1 + (len(chosen.judge.stages) + 1) * chosen.judge.votes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=100, help="problems of the lab's exam")
    parser.add_argument("--out", type=Path, default=Path("runs/ttc"))
    parser.add_argument("--trained", type=Path, help="a finished run of the lab, whose model answers as well")
    parser.add_argument("--scripted", action="store_true", help="without a model")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("-o", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    sets = [*(["engine.kind=scripted"] if options.scripted else []), *options.sets]
    arms = {"base": sets}
    if options.trained:
        model = options.trained / "rounds" / "1" / "model"
        if not model.is_dir():
            sys.exit(f"{model}: no trained model; make one with: veridistill run lab --out {options.trained}")
        arms["trained"] = [*sets, f"model={model.absolute()}", "prompts=compact"]
    data: dict[str, Any] = {"command": " ".join(["python", "benchmarks/ttc.py", *sys.argv[1:]])}
    for name, overrides in arms.items():
        data[name] = measured(options.out / f"{name}-{options.limit}", overrides, options.limit)
        print(f"{name}\n{ttc.table(data[name])}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, json.loads(json.dumps(data)))


if __name__ == "__main__":
    main()
