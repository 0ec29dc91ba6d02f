"""A run's rows as a folder for others: Parquet with a dataset card for the Hub, JSONL, or CSV.

`kinds` says what the rows are, `files` how they become files, `card` what the folder's README says. The folder appears
whole under its name or not at all, and never takes the place of another one.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veridistill.data.parquet import sync_directory
from veridistill.data.rundir import RunDir, write_atomically
from veridistill.errors import ConfigError, Incomplete
from veridistill.runs.export import card, files, kinds
from veridistill.runs.export.files import Format
from veridistill.runs.export.kinds import What

__all__ = ["Exported", "Format", "What", "export", "latest_round"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder, the round that it is of, and its files by what is in them."""

    out: Path
    round: int
    files: dict[What, files.Written]


def export(
    run: RunDir,
    out: Path,
    what: Sequence[What] = ("examples",),
    form: Format = "hub",
    number: int | None = None,
) -> Exported:
    """Write rows of the round `number` (default: the latest that is built) into the new directory `out`.

    Raises `ConfigError` when `out` exists or the run has no such rows, and `Incomplete` when a process built the round
    again meanwhile.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out}: exists already; name a new directory, or remove it")
    number = number or latest_round(run)
    sources = [path for one in dict.fromkeys(what) for path in kinds.sources(run, number, one)]
    before = _stamps(sources)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be created ({error.strerror}); name another directory") from None
    try:
        staged.chmod(0o755)  # mkdtemp's are for their owner alone
        written = {
            one: files.write(staged, kinds.TABLES[one], kinds.rows(run, number, one), form)
            for one in dict.fromkeys(what)
        }
        write_atomically(staged / card.NAME, card.card(run, number, written, form))
        if _stamps(sources) != before:
            raise Incomplete(f"{run.path}: a process wrote these tables meanwhile; export again")
        _publish(staged, out)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return Exported(out, number, written)


def latest_round(run: RunDir) -> int:
    """The latest round that is built, or else examined. Raises `ConfigError` when there is none."""
    folders = sorted((run.path / "rounds").glob("[0-9]*"), key=lambda folder: int(folder.name), reverse=True)
    numbers = [int(folder.name) for folder in folders]
    built = [number for number in numbers if run.round(number).built]
    examined = [number for number in numbers if any(run.round(number).tables.glob("exam_*.parquet"))]
    if not built and not examined:
        raise ConfigError(f"{run.path}: {_nothing(run)}")
    return (built or examined)[0]


def _nothing(run: RunDir) -> str:
    """Why there is nothing to export, and what to do."""
    if not run.results.is_file():  # such as a merged run, which holds replies alone
        return f"nothing is built there yet; run veridistill build --out {run.path}"
    return f"no round is built to its end; run veridistill run --out {run.path} again"


def _stamps(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Tells a file from one that has since taken its name."""
    return [(found.st_ino, found.st_mtime_ns) for found in (path.stat() for path in paths if path.exists())]


def _publish(staged: Path, out: Path) -> None:
    for folder in (staged / "data", staged):
        if folder.is_dir():
            sync_directory(folder)
    if out.exists():  # made meanwhile: an empty directory would be replaced without a word
        raise ConfigError(f"{out}: exists already; name a new directory, or remove it")
    os.rename(staged, out)
    sync_directory(out.parent)
