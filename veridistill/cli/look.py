"""The command that shows a run in the browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from veridistill.cli import common, completion
from veridistill.data.rundir import RunDir, forked_journals, stored_config


def view(
    run: Annotated[
        Path,
        typer.Argument(help="Directory of a run, finished or not.", autocompletion=completion.runs),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Show a run in the browser, also while it is on, and take labels.

    \b
    Examples:
      veridistill view runs/demo
      veridistill audit runs/demo --labels runs/demo/labels.jsonl
    """
    from veridistill.view.serve import serve

    def ready(address: str) -> None:
        print(address, flush=True)
        common.note("Ctrl-C ends the viewer")
        if open_page:
            webbrowser.open(address)

    serve(RunDir(run, stored_config(run), forked_journals(run)[1:]), port, ready)
    common.note("the viewer has ended")
