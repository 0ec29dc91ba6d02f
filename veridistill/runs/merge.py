"""Join runs that built parts of one seed file (`seeds.shard`) into one run.

Resume is replay, so only replies have to be joined. The merged run has the same settings without the shard, and its
journal holds every reply of every part. The command that would have built everything at once replays it without a call,
and asks only what no part has asked.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from veridistill.calls.journal import SCHEMA, Journal
from veridistill.config import Config, identity_differences
from veridistill.data.rundir import (
    forked_journals,
    journal_path,
    opened,
    resumed_config,
    stored_config,
    write_atomically,
)
from veridistill.errors import ConfigError, Incomplete, RunLocked

_COPY = """
INSERT INTO replies SELECT * FROM part.replies AS theirs
WHERE NOT EXISTS (
    SELECT 1 FROM known WHERE known.key = theirs.key AND known.cancelled = (theirs.status = 'cancelled')
    AND known.context = IFNULL(theirs.context, -1)
) ORDER BY rowid
"""


async def merge(parts: Sequence[Path], out: Path) -> dict[str, Any]:
    """Copy the replies of the runs `parts` into the run `out`, which is made if it is not there.

    Merging again is safe: a merge that was killed is repeated, and only the new replies of parts that were continued
    are copied. Returns for each part its shard and how many journal rows were `copied` or `already_there`, and under
    `missing` the shards of the same division that were not given. Raises `ConfigError` for runs whose identity fields
    differ in more than seeds.shard, and `RunLocked` while a process works on a part or on `out`.
    """
    configs = {part: _config(part) for part in parts}
    if out.resolve() in [part.resolve() for part in parts]:
        raise ConfigError(f"--out {out} is one of the runs to merge; name a new directory")
    whole = (
        _whole(next(iter(configs.values()))) if not (out / "config.yaml").is_file() else resumed_config(out)
    )
    for part, config in configs.items():
        _check_alike(part, config, out, whole)
    with opened(out, whole) as run:
        _add_forks(out, [journal for part in parts for journal in forked_journals(part)[1:]])
        await Journal(run.journal).close()
        counts = [_copied(part, config, run.journal) for part, config in configs.items()]
    return {
        "out": str(out),
        "parts": counts,
        "missing": missing([config.seeds.shard for config in configs.values()]),
    }


def missing(shards: Sequence[str | None]) -> list[str]:
    """The shards missing from the division of those given: 2/3 for 1/3 and 3/3; none for an undivided run."""
    if None in shards:
        return []
    cuts = {int(shard.partition("/")[2]) for shard in shards if shard}
    return [f"{n}/{cut}" for cut in sorted(cuts) for n in range(1, cut + 1) if f"{n}/{cut}" not in shards]


def _config(part: Path) -> Config:
    """Raises `ConfigError` for a directory without a run, and for settings that this version does not know."""
    stored_config(part)
    return resumed_config(part)


def _whole(config: Config) -> Config:
    """A part's settings without its shard, and without its `journal.path`: the merged journal lies in its run."""
    seeds = config.seeds.model_copy(update={"shard": None})
    return config.model_copy(
        update={"seeds": seeds, "journal": config.journal.model_copy(update={"path": None})}
    )


def _check_alike(part: Path, config: Config, out: Path, whole: Config) -> None:
    if differences := identity_differences(whole, _whole(config)):
        listed = "\n  ".join(differences)
        raise ConfigError(
            f"{part}: cannot be merged into {out}, since these settings differ between the runs:\n  {listed}"
        )


def _add_forks(out: Path, journals: Sequence[Path]) -> None:
    """Let the merged run read the journals of older runs that its parts read."""
    known = forked_journals(out)[1:]
    if new := [journal for journal in dict.fromkeys(journals) if journal not in known]:
        write_atomically(out / "forks.json", json.dumps([str(journal) for journal in (*known, *new)]))


def _copied(part: Path, config: Config, journal: Path) -> dict[str, Any]:
    """Copy a part's rows in one transaction; SQLite compares them by key, so memory does not grow with their number."""
    source = journal_path(part, config)
    if not source.is_file():
        raise ConfigError(f"{source}: no such journal; {part} has asked nothing yet")
    with _idle(part), closing(sqlite3.connect(journal, isolation_level=None, uri=True)) as connection:
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("ATTACH ? AS part", (f"{source.absolute().as_uri()}?mode=ro",))
            return {"run": str(part), "shard": config.seeds.shard, **_rows(connection, source)}
        except sqlite3.Error as error:
            raise Incomplete(
                f"{source} could not be copied to {journal} ({error}); fix that and merge again"
            ) from None


def _rows(connection: sqlite3.Connection, source: Path) -> dict[str, int]:
    version = connection.execute("PRAGMA part.user_version").fetchone()[0]
    if version != SCHEMA:
        raise ConfigError(f"{source}: journal of version {version}, this program reads {SCHEMA}")
    connection.execute(
        "CREATE TEMP TABLE known (key BLOB, cancelled INT, context INT, PRIMARY KEY (key, cancelled, context))"
        " WITHOUT ROWID"
    )
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT OR IGNORE INTO known SELECT key, status = 'cancelled', IFNULL(context, -1) FROM main.replies"
    )
    total = connection.execute("SELECT COUNT(*) FROM part.replies").fetchone()[0]
    copied = connection.execute(_COPY).rowcount
    connection.execute("COMMIT")
    return {"copied": copied, "already_there": total - copied}


@contextmanager
def _idle(part: Path) -> Iterator[None]:
    """Keep other processes from working on a run, if it has a lock (a copy may lack it)."""
    try:
        lock = os.open(part / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunLocked(f"{part}: in use by another process; merge it when that has ended") from None
    finally:
        os.close(lock)
