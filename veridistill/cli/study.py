"""Commands on finished or partial runs: replay, audit, grade, merge."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from veridistill.cli import common, completion
from veridistill.cli.common import AllowCode, Json, Quiet
from veridistill.data.rundir import RunDir, forked_journals, stored_config


def ablate(
    run: Annotated[
        Path,
        typer.Argument(
            help="Directory of a run that was built with build.asks=exhaustive.",
            autocompletion=completion.runs,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-d", help="Directory for a dataset per cell and ablation.json.")
    ],
    n: Annotated[str | None, typer.Option("--n", help="Candidates of the grid, e.g. 1,4,8.")] = None,
    votes: Annotated[
        str | None, typer.Option("--votes", "--v", help="Votes of the grid, e.g. 1,3,5.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replay an exhaustive run under other settings.

    An n x v grid and the paper's ablations: a dataset per cell, without a model.

    \b
    Examples:
      veridistill ablate runs/full --out runs/ablation
      veridistill ablate runs/full --out runs/grid --n 1,4,8 --votes 1,3,5
    """
    from veridistill.report.progress import Progress
    from veridistill.runs import ablate as ablation
    from veridistill.runs.session import Session

    run_dir = RunDir(run, stored_config(run), forked_journals(run)[1:])
    cells = ablation.grid(
        ablation.source(run_dir).plan, common.numbers("--n", n), common.numbers("--votes", votes)
    )
    if "simple" not in {stage for cell in cells for stage in cell.stages}:
        common.note(
            "the run did not ask the simple verifier, so there is no cell for it (see build.extra_stages)"
        )
    common.make_directory(out)
    with Progress(out, "quiet" if quiet else "auto") as progress:
        session = Session(run_dir, progress)
        found = common.complete(session, ablation.ablate(run_dir, out, cells, progress))
    print(json.dumps(found, ensure_ascii=False) if as_json else ablation.table(found))
    common.note(f"datasets: {out}")


def audit(
    run: Annotated[
        Path,
        typer.Argument(
            help="Directory of a run, built exhaustively or with an audit share.",
            autocompletion=completion.runs,
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            help="JSONL: id, candidate, correct; or id, kind, answer to grade the candidates against."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Measure a run's judges against labels.

    Precision, recall and false accepts of each stage and of the cascade.

    \b
    Examples:
      veridistill audit runs/math --labels answers.jsonl
    """
    from veridistill.audit import judges
    from veridistill.grading.graders import Graders

    async def measured() -> dict[str, Any]:
        async with Graders() as graders:
            return await judges.audit(RunDir(run, stored_config(run)), labels, graders)

    found = asyncio.run(measured())
    print(json.dumps(found, ensure_ascii=False) if as_json else judges.table(found))


def benchmarks(as_json: Json = False) -> None:
    """List the public benchmarks.

    `--benchmarks` and seeds.decontaminate take their names.

    \b
    Examples:
      veridistill benchmarks
      veridistill benchmarks --json
    """
    from veridistill.evaluation import benchmarks as known

    entries = [asdict(entry) for entry in known.table()]
    if as_json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    shown = ("name", "rows", "kinds", "source", "licence")
    line = "{:16} {:>6}  {:20} {:38} {}"
    print(line.format(*shown))
    for entry in entries:
        gate = ", gated" if entry["gated"] else ""
        print(line.format(*(entry[name] for name in shown)) + gate)


def grade(
    file: Annotated[
        Path, typer.Argument(help="An exam's Parquet, or JSONL: id, kind, reference or tests, response.")
    ],
    allow_code_execution: AllowCode = False,
    program_python: Annotated[
        str | None, typer.Option(help="Interpreter of the programs; default: the one that runs veridistill.")
    ] = None,
) -> None:
    """Grade responses again, without calling a model.

    Prints a JSON line for each response, with outcome, answer and error.

    \b
    Examples:
      veridistill grade runs/math/rounds/1/tables/exam_base.parquet
      veridistill grade responses.jsonl --allow-code-execution
    """
    from veridistill.grading.graders import Graders
    from veridistill.grading.regrade import regrade

    async def graded() -> None:
        async with (
            Graders(allow_code=allow_code_execution, python=program_python) as graders,
            aclosing(regrade(file, graders)) as lines,
        ):
            async for line in lines:
                print(json.dumps(line, ensure_ascii=False), flush=True)

    asyncio.run(graded())


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Directories of runs with seeds.shard=1/N ... N/N.", autocompletion=completion.runs
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-d", help="Directory of the merged run.")],
    as_json: Json = False,
) -> None:
    """Join runs that built shards of one seed file.

    `veridistill run` with the same --out then trains on all of it.

    \b
    Examples:
      veridistill merge runs/part1 runs/part2 --out runs/all
      veridistill run --out runs/all
    """
    from veridistill.runs import merge as merging

    found = asyncio.run(merging.merge(runs, out))
    if as_json:
        common.show(found, as_json)
    for part in [] if as_json else found["parts"]:
        shard = f" (shard {part['shard']})" if part["shard"] else ""
        print(
            f"{part['run']}{shard}: {part['copied']:,} rows copied, {part['already_there']:,} already there"
        )
    if found["missing"]:
        common.note(
            f"shards that were not given: {', '.join(found['missing'])}; their questions will be asked"
        )
    common.note(f"continue with: veridistill run --out {out}")
