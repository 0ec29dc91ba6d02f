"""Commands on a run: all steps, one step, the report and the progress."""

import json
from pathlib import Path
from typing import Annotated

import typer

from veridistill.cli import common, completion
from veridistill.cli.common import (
    DEFAULT_OUT,
    AllowCode,
    Benchmarks,
    Candidates,
    ConfigFile,
    Fork,
    Json,
    Limit,
    Metrics,
    Model,
    Out,
    Problems,
    Quiet,
    Samples,
    Seeds,
    Sets,
    Votes,
)
from veridistill.data.rundir import RunDir, read_json, stored_config
from veridistill.errors import ConfigError

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Directory of a run.", autocompletion=completion.runs)
]


def run(
    config: ConfigFile = None,
    out: Out = DEFAULT_OUT,
    sets: Sets = None,
    model: Model = None,
    seeds: Seeds = None,
    n: Candidates = None,
    votes: Votes = None,
    k: Samples = None,
    limit: Limit = None,
    problems: Problems = None,
    benchmarks: Benchmarks = None,
    allow_code_execution: AllowCode = False,
    fork: Fork = None,
    metrics: Metrics = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build, train, evaluate and report; run it again to resume.

    The same command resumes a run that was stopped.

    \b
    Examples:
      veridistill run lab --out runs/demo
      veridistill run --model Qwen/Qwen3-0.6B --seeds math.jsonl --out runs/math
      veridistill run qwen3-0.6b-math-24gb -o seeds.path=math.jsonl --out runs/a
    """
    from veridistill.runs import figures, pipeline

    short = {
        "model": model,
        "seeds": seeds,
        "n": n,
        "votes": votes,
        "k": k,
        "limit": limit,
        "problems": problems,
        "benchmarks": benchmarks,
        "evaluation.allow_code_execution": allow_code_execution or None,
    }
    with common.session(config, out, sets, short, fork, quiet, metrics) as session:
        found = common.complete(session, pipeline.run(session))
        print(json.dumps(found, ensure_ascii=False) if as_json else figures.summary_lines(found))
        _note_target(session.run)
        common.note(f"report: {session.run.report}")


def build(
    config: ConfigFile = None,
    out: Out = DEFAULT_OUT,
    sets: Sets = None,
    model: Model = None,
    seeds: Seeds = None,
    n: Candidates = None,
    votes: Votes = None,
    limit: Limit = None,
    fork: Fork = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate calls, tokens and time, from 30 questions.")
    ] = False,
    metrics: Metrics = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Distil the seed questions into a training dataset.

    \b
    Examples:
      veridistill build run.yaml --dry-run --out runs/math
      veridistill build run.yaml --out runs/math
      veridistill build --out runs/math --fork runs/v3 --votes 3
    """
    from veridistill.runs import figures, pipeline

    short = {"model": model, "seeds": seeds, "n": n, "votes": votes, "limit": limit}
    with common.session(config, out, sets, short, fork, quiet, metrics) as session:
        if dry_run:
            common.show(common.complete(session, pipeline.dry_run(session)), as_json)
            return
        found = common.complete(session, pipeline.build_step(session))
        print(json.dumps(found, ensure_ascii=False) if as_json else figures.funnel_lines(found))
        _note_target(session.run)
        common.note(f"dataset: {session.run.round(pipeline.next_round(session.run)).dataset}")


def _note_target(run: RunDir) -> None:
    from veridistill.runs import figures

    if (line := figures.target_line(read_json(run.results))) is not None:
        common.note(line)


def train(
    out: Out = DEFAULT_OUT,
    sets: Sets = None,
    metrics: Metrics = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the model on the examples that `build` kept.

    \b
    Examples:
      veridistill train --out runs/math
      veridistill train --out runs/math -o train.micro_batch_size=2
    """
    from veridistill.runs import pipeline

    stored_config(out)
    with common.session(None, out, sets, {}, None, quiet, metrics) as session:
        common.show(common.complete(session, pipeline.train_step(session)), as_json)


def evaluate(
    config: ConfigFile = None,
    out: Out = DEFAULT_OUT,
    sets: Sets = None,
    model: Model = None,
    problems: Problems = None,
    benchmarks: Benchmarks = None,
    k: Samples = None,
    limit: Annotated[
        int | None, typer.Option(help="Use only the first N problems of each benchmark (evaluation.limit).")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Directory with local copies of the benchmarks (evaluation.data).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Subsets of the benchmarks: paper or strict (evaluation.preset).")
    ] = None,
    ttc: Annotated[
        bool, typer.Option("--ttc", help="Also answer by the cascade at test time, UQ-TTC (evaluation.ttc).")
    ] = False,
    allow_code_execution: AllowCode = False,
    metrics: Metrics = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure pass@1 of a model, or of a run's before and after.

    \b
    Examples:
      veridistill evaluate --out runs/math --benchmarks aime26,hmmt_feb25
      veridistill evaluate --model DIR --problems exam.jsonl --k 4 --out runs/exam
    """
    from veridistill.runs import figures, pipeline

    short = {
        "model": model, "problems": problems, "k": k,
        "benchmarks": benchmarks,
        "evaluation.limit": limit, "evaluation.data": data, "evaluation.preset": preset,
        "evaluation.ttc": ttc or None, "evaluation.allow_code_execution": allow_code_execution or None,
    }  # fmt: skip
    if config is None and model is None and not (out / "config.yaml").is_file():
        raise ConfigError(
            f"{out}: not a run directory; name the model to evaluate: --model PATH, or a preset, or a YAML file"
        )
    with common.session(config, out, sets, short, None, quiet, metrics) as session:
        section = session.config.evaluation
        if not section.problems and not section.benchmarks:
            raise ConfigError(
                "there is nothing to evaluate on; give --benchmarks NAMES (`veridistill benchmarks` lists them) or"
                " --problems FILE (JSONL: id, kind, question, answer)"
            )
        found = common.complete(session, pipeline.evaluate_step(session))
        print(json.dumps(found, ensure_ascii=False) if as_json else figures.exam_lines(found))


def report(run: RunArgument = DEFAULT_OUT) -> None:
    """Write report.html again from a run's files.

    \b
    Examples:
      veridistill report runs/math
    """
    from veridistill.runs import pipeline

    print(pipeline.report(RunDir(run, stored_config(run))))


def status(run: RunArgument = DEFAULT_OUT, as_json: Json = False) -> None:
    """Show how far a run is, and whether its process is still at work.

    \b
    Examples:
      veridistill status runs/math
      veridistill status runs/math --json
    """
    from veridistill.runs import status as looking

    found = looking.status(run, stored_config(run))
    print(json.dumps(found, ensure_ascii=False) if as_json else looking.lines(found))


def clean(
    run: RunArgument = DEFAULT_OUT,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
    as_json: Json = False,
) -> None:
    """Free what a run no longer needs: --yes removes it.

    Nothing is removed that another command reads.

    \b
    Examples:
      veridistill clean runs/math
      veridistill clean runs/math --yes
    """
    from veridistill.runs import clean as cleaning

    found = cleaning.clean(run, stored_config(run), yes)
    print(json.dumps(found, ensure_ascii=False) if as_json else cleaning.lines(found))
