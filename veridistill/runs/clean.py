"""`veridistill clean`: what a run no longer needs, and how much space that takes.

Files of a process that was killed, the optimizer's checkpoints beside a model that is finished, and what SQLite keeps
beside the journal. Whatever resume, report, view, diff or export may read stays: tables, datasets, models, the journal
with all its replies, and checkpoints of a training that is not finished. Nothing is touched while a process is at work.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.config import Config
from veridistill.data.rundir import RoundDir, RunDir, locked
from veridistill.errors import Incomplete

_TEMPORARY = ("*.tmp", ".train.jsonl")


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that may go; `journal`: it is SQLite's and goes by folding it into the journal."""

    path: Path
    why: str
    num_bytes: int
    journal: bool = False


def clean(path: Path, config: Config, yes: bool) -> dict[str, Any]:
    """What the run at `path` no longer needs; with `yes` it is freed. Raises `RunLocked` while a process is at work."""
    run = RunDir(path, config)
    with locked(path):
        found = list(leftovers(run))
        if yes:
            for one in found:
                _free(run, one)
    return {
        "run": str(path),
        "freed": yes,
        "bytes": sum(one.num_bytes for one in found),
        "items": [{"path": str(one.path), "why": one.why, "bytes": one.num_bytes} for one in found],
    }


def leftovers(run: RunDir) -> Iterator[Leftover]:
    for folder in sorted((run.path / "rounds").glob("*")):
        yield from _of_round(RoundDir(folder))
        for inner in ("", "tables", "dataset"):
            yield from _temporary(folder / inner)
    yield from _temporary(run.path)
    wal = run.journal.with_name(run.journal.name + "-wal")
    if wal.is_file() and (size := wal.stat().st_size):
        yield Leftover(wal, "replies that are folded into the journal itself", size, journal=True)


def _of_round(folder: RoundDir) -> Iterator[Leftover]:
    checkpoints = folder.train / "checkpoints"
    if folder.model.is_dir() and checkpoints.is_dir() and not checkpoints.is_symlink():
        yield Leftover(
            checkpoints, "optimizer checkpoints of a training that is finished", _size(checkpoints)
        )


def _temporary(folder: Path) -> Iterator[Leftover]:
    for pattern in _TEMPORARY:
        for path in sorted(folder.glob(pattern)):
            if not path.is_symlink():
                yield Leftover(path, "left by a process that was killed", _size(path))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())


def _free(run: RunDir, one: Leftover) -> None:
    try:
        if one.journal:
            with closing(sqlite3.connect(run.journal)) as connection:
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("somebody reads the journal, such as veridistill view")
        elif one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise Incomplete(
            f"{one.path}: cannot be freed ({error}); what was freed before it stays so"
        ) from None


def lines(found: dict[str, Any]) -> str:
    """For a terminal."""
    if not found["items"]:
        return f"{found['run']}: nothing to free"
    listed = [f"  {_shown(one['bytes']):>10}  {one['path']}: {one['why']}" for one in found["items"]]
    total = _shown(found["bytes"])
    end = (
        f"freed {total}"
        if found["freed"]
        else f"{total} could be freed, with veridistill clean --yes {found['run']}"
    )
    return "\n".join([*listed, end])


def _shown(num: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num >= size:
            return f"{num / size:.1f} {unit}"
    return f"{num} bytes"
