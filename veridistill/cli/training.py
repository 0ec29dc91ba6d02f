"""Commands around training: what it needs, a model that was trained elsewhere, and the way to the Hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from veridistill.cli import common, completion
from veridistill.cli.common import DEFAULT_OUT, ConfigFile, Json, Model, Out, Sets
from veridistill.data.rundir import RunDir, opened, stored_config


def plan(
    config: ConfigFile = None,
    out: Out = DEFAULT_OUT,
    sets: Sets = None,
    model: Model = None,
    gpus: Annotated[
        str | None,
        typer.Option(help="Plan for this machine instead: NUMBERxNAME-GIB, for example 8xH100-80."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Calculate what training needs, and which settings fit.

    \b
    Examples:
      veridistill plan qwen3-4b-math-8gpu --gpus 8xH100-80
      veridistill plan --out runs/math
    """
    from veridistill.runs import preflight

    found = preflight.planned(common.load(config, out, common.overrides(sets, {"model": model})), gpus)
    print(json.dumps(found.as_json()) if as_json else "\n".join(preflight.lines(found)))


def adopt(
    run: Annotated[
        Path,
        typer.Argument(help="Directory of a run whose dataset is built.", autocompletion=completion.runs),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of the model: its base with other weights.")
    ],
    as_json: Json = False,
) -> None:
    """Take a model that was trained elsewhere as the round's model.

    `veridistill run --out RUN` goes on with its exam.

    \b
    Examples:
      veridistill build my.yaml --out runs/mine
      veridistill adopt runs/mine trained/
    """
    from veridistill.runs import adopt as adopting

    with opened(run, stored_config(run)) as directory:
        number = adopting.adopt(directory, folder)
    common.show({"round": number, "model": str(directory.round(number).model)}, as_json)


def push(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", autocompletion=completion.runs)],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")],
    what: Annotated[Literal["model", "dataset"], typer.Option(help="What is uploaded.")] = "model",
    licence: Annotated[
        str | None, typer.Option("--license", help="The Hub's name of the licence, such as apache-2.0.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--round", min=1, help="Which round; default: the latest.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files and print the card; send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload a run's model or dataset with its card to the Hub.

    The token is read from HF_TOKEN.

    \b
    Examples:
      veridistill push runs/math me/math-model --dry-run
      veridistill push runs/math me/math-data --what dataset
    """
    from veridistill.runs import push as pushing

    directory = RunDir(run, stored_config(run))
    if dry_run:
        found = pushing.plan(directory, repository, what, licence, number)
    else:
        found = pushing.push(directory, repository, what, licence, number, private=not public)
    if as_json:
        print(json.dumps({**asdict(found), "sent": not dry_run}, ensure_ascii=False))
        return
    for name, size in found.files.items():
        print(f"{size:>15,}  {name}")
    if dry_run:
        print(f"\n{found.card}")
    common.note(
        f"{'would go' if dry_run else 'went'} to https://huggingface.co/{_page(found.kind, repository)}"
    )


def _page(kind: str, repository: str) -> str:
    return f"datasets/{repository}" if kind == "dataset" else repository
