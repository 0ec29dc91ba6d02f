"""What the commands share: option types, opening the run directory of a command, and the one `asyncio.run`."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from veridistill.cli import completion
from veridistill.config import ALIASES, Config
from veridistill.config.values import listed
from veridistill.data.rundir import chosen_config, forked_journals, names_a_model, opened
from veridistill.errors import ConfigError

ConfigFile = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help="Preset (`veridistill init --list`) or YAML file. Default: the configuration in the run directory;"
        " without one, the default settings if a model is named, else the preset lab.",
        autocompletion=completion.configs,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-d",
        help="Run directory. The same command resumes the run in it.",
        autocompletion=completion.runs,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="KEY=VALUE",
        help="Set any field, e.g. -o judge.votes=3. Repeatable.",
        autocompletion=completion.settings,
    ),
]
Model = Annotated[str | None, typer.Option(help="Directory or Hub id of the model (model.path).")]
Seeds = Annotated[str | None, typer.Option(help="Seed questions: files, patterns or Hub paths (seeds.path).")]
Candidates = Annotated[int | None, typer.Option("--n", help="Candidates per question (generate.candidates).")]
Votes = Annotated[int | None, typer.Option("--votes", "--v", help="Votes per stage (judge.votes).")]
Samples = Annotated[int | None, typer.Option("--k", help="Samples per problem (evaluation.samples).")]
Limit = Annotated[int | None, typer.Option(help="Use only the first N questions (seeds.limit).")]
Problems = Annotated[
    str | None, typer.Option(help="JSONL file of problems with answers (evaluation.problems).")
]
Benchmarks = Annotated[
    str | None,
    typer.Option(
        help="Public benchmarks, e.g. aime26,gpqa_diamond; `veridistill benchmarks` lists them.",
        autocompletion=completion.benchmarks,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code-execution", help="Run programs that the model wrote, in a sandbox, to grade them."
    ),
]
Fork = Annotated[
    Path | None, typer.Option(help="Start a new run here that reuses the replies of the run in --out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr.")]
Metrics = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Serve the progress for Prometheus on 127.0.0.1:PORT (0: any)."
    ),
]
DEFAULT_OUT = Path("runs/default")


class Signalled(BaseException):
    """A signal ended the run; raised once everything is closed."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def session(
    config: str | None,
    out: Path,
    sets: list[str] | None,
    short: dict[str, Any],
    fork: Path | None,
    quiet: bool,
    metrics: int | None = None,
) -> Iterator[Any]:
    """The session of a command. With `metrics`, its progress is served on that port."""
    from veridistill.report.metrics import served
    from veridistill.report.progress import Progress
    from veridistill.runs.session import Session

    chosen = load(config, out, overrides(sets, short))
    where, older = (out, ()) if fork is None else (fork, forked_journals(out))
    with ExitStack() as stack:
        run_dir = stack.enter_context(opened(where, chosen, older))
        progress = stack.enter_context(Progress(run_dir.path, "quiet" if quiet else "auto"))
        if metrics is not None:
            port = stack.enter_context(served(lambda: progress.record, metrics))
            note(f"metrics: http://127.0.0.1:{port}/metrics")
        yield Session(run_dir, progress)


def load(config: str | None, out: Path, overrides: list[str]) -> Config:
    """The configuration by `chosen_config`; says so when nobody named one."""
    if config is None and not (out / "config.yaml").is_file() and not names_a_model(overrides):
        note("no configuration and no model were named: running the lab's demonstration")
    return chosen_config(config, out, overrides)


def overrides(sets: list[str] | None, short: dict[str, Any]) -> list[str]:
    # As JSON, which is YAML: a path that looks like a number, a list or a comment stays text.
    aliases = [
        f"{ALIASES.get(name, name)}={json.dumps(value, ensure_ascii=False)}"
        for name, value in short.items()
        if value is not None
    ]
    return [*(sets or []), *aliases]


def numbers(option: str, text: str | None) -> list[int]:
    """The whole numbers of an option: `1`, `1,4` or `[1, 4]`."""
    try:
        return [int(part) for part in listed(text)]
    except (ValueError, TypeError):
        raise ConfigError(
            f"{option} {text}: must be whole numbers separated by commas, for example 1,4,8"
        ) from None


def make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created ({error.strerror}); name another --out") from None


def complete(session: Any, work: Awaitable[Any]) -> Any:
    """Run to the end. The first Ctrl-C waits for the calls in the engine and journals them, the second does not."""
    return asyncio.run(_interruptible(session, work))


async def _interruptible(session: Any, work: Awaitable[Any]) -> Any:
    task = asyncio.ensure_future(work)
    loop, caught = asyncio.get_running_loop(), []

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        if number == signal.SIGINT and len(caught) == 1 and session.gate is not None:
            note("waiting for the running calls to finish; press Ctrl-C again to stop at once")
            session.gate.drain(task.cancel)
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if caught:
            raise Signalled(caught[-1]) from None
        raise


def show(data: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, ensure_ascii=False))
        return
    for name, value in data.items():
        print(
            f"{name:20} {json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value}"
        )


def note(text: str) -> None:
    print(text, file=sys.stderr)
