"""The command `veridistill`: parse, call, print. stdout is data, stderr is progress.

Exit codes: 0 done or nothing to do; 2 usage or configuration; 3 incomplete, run again to resume; 4 finished but a
quality limit was crossed; 5 run directory in use; 130 and 143 signals; 1 a bug.
"""

import errno
import os
import sys
import warnings
from typing import Annotated

import typer

import veridistill
from veridistill.cli import completion, look, model, run, share, start, study, training
from veridistill.cli.common import Signalled, note
from veridistill.cli.helping import Grouped
from veridistill.errors import VeridistillError

app = typer.Typer(
    name="veridistill",
    cls=Grouped,
    help="Self-Verified Distillation: a language model improves itself from unlabeled questions.",
    epilog="`veridistill COMMAND --help` shows a command's options and examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = {
    "Run": (run.run, run.build, run.train, run.evaluate, study.ablate, study.merge),
    "Look": (run.status, look.view, run.report, share.diff, study.audit),
    "Data": (start.init, start.schema, study.benchmarks, study.grade, share.export, run.clean),
    "Models": (training.plan, training.adopt, training.push, model.solve, model.doctor),
}
for group, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)
lab_app = typer.Typer(help="Make the model of the built-in lab.", no_args_is_help=True, rich_markup_mode=None)
lab_app.command("pretrain")(model.lab_pretrain)
app.add_typer(lab_app, name="lab", rich_help_panel="Models")


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(veridistill.__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: run a command and turn its end into an exit code."""
    _hide_deprecations()
    try:
        if completion.asked_by_bash():
            completion.completed(app, os.environ)
        app()
    except VeridistillError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        note(f"error: the disk is full ({error}); free space and run the same command again")
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)
    except Signalled as signalled:
        note("stopped; run the same command again to resume")
        sys.exit(128 + signalled.number)


def _hide_deprecations() -> None:
    """Hide what libraries say of their own future, which users can do nothing about; `python -W` shows it again."""
    if not sys.warnoptions:
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
