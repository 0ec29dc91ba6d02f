"""Commands on finished runs that ask nothing: compare two of them, and hand out their rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from veridistill.cli import common, completion
from veridistill.cli.common import Json
from veridistill.config.values import listed
from veridistill.data.rundir import RunDir, stored_config, write_atomically
from veridistill.errors import ConfigError

Round = Annotated[
    int | None, typer.Option("--round", min=1, help="Which round; default: the latest that is built.")
]


def export(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", autocompletion=completion.runs)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New directory for the files.")],
    form: Annotated[
        Literal["hub", "jsonl", "csv"],
        typer.Option("--format", help="hub: Parquet, for Hugging Face datasets; jsonl or csv."),
    ] = "hub",
    what: Annotated[
        str, typer.Option(help="examples, candidates, votes, attempts, or several, as in examples,votes.")
    ] = "examples",
    number: Round = None,
    as_json: Json = False,
) -> None:
    """Write a run's dataset as a folder with a card for the Hub.

    Nothing is ever overwritten.

    \b
    Examples:
      veridistill export runs/demo demo-dataset
      veridistill export runs/demo tables --format csv --what candidates,votes
    """
    from veridistill.runs import export as exporting

    done = exporting.export(RunDir(run, stored_config(run)), folder, _kinds(what), form, number)
    if as_json:
        print(json.dumps({**asdict(done), "out": str(done.out)}, ensure_ascii=False))
        return
    for one in done.files.values():
        print(f"{done.out / one.path}: {one.rows:,} rows")
    common.note(f"{done.out / 'README.md'}: fill in the licence before you publish it")


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Directory of a run.", autocompletion=completion.runs)
    ],
    b: Annotated[
        Path,
        typer.Argument(
            metavar="B", help="Directory of the run to compare it with.", autocompletion=completion.runs
        ),
    ],
    html: Annotated[Path | None, typer.Option(help="Also write the comparison as one HTML page.")] = None,
    show: Annotated[
        int, typer.Option(min=0, help="How many questions and problems of each kind are listed.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Compare two runs: settings, what each kept, and exams.

    Settings, funnel, cost, what each kept, judges, and problems won and lost.

    \b
    Examples:
      veridistill diff runs/first runs/second
      veridistill diff runs/first runs/second --html diff.html
    """
    from veridistill.runs import diff as comparing
    from veridistill.runs.diff.page import page
    from veridistill.runs.diff.text import text

    found = comparing.compare(a, b, show)
    if html is not None:
        try:
            write_atomically(html, page(found))
        except OSError as error:
            raise ConfigError(f"--html {html}: cannot be written ({error.strerror})") from None
        common.note(f"page: {html}")
    print(json.dumps(found.summary(), ensure_ascii=False) if as_json else text(found))


def _kinds(text: str) -> list[Any]:
    from veridistill.runs.export import What

    known = get_args(What)
    named = [part for part in listed(text) if part]
    if not named or (unknown := [name for name in named if name not in known]):
        found = ", ".join(unknown) if named else "nothing"
        raise ConfigError(f"--what {text}: choose among {', '.join(known)} (found {found})")
    return named
