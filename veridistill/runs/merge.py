"""Join runs that built parts of one seed file (`seeds.shard`) into one run.

Resume is replay, so the replies are all that there is to join: the merged run has the same settings without the shard
and every reply of every part in its journal, and the same command that would have built it whole replays it without a
call. What it then asks is what no part has asked.
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
from veridistill.data.rundir import forked_journals, journal_path, opened, stored_config, write_atomically
from veridistill.errors import ConfigError, Incomplete, RunLocked

_COPY = """
INSERT INTO replies SELECT * FROM part.replies AS theirs
WHERE NOT EXISTS (
    SELECT 1 FROM known WHERE known.key = theirs.key AND known.cancelled = (theirs.status = 'cancelled')
) ORDER BY rowid
"""


async def merge(parts: Sequence[Path], out: Path) -> dict[str, Any]:
    """Copy the replies of the runs `parts` into the run `out`, which is made if it is not there.

    Merging again changes nothing, and so a merge that was killed is simply repeated; parts that went on meanwhile bring
    what is new. Returns for each part its shard and how many journal rows were `copied` or `already_there`, and under
    `missing` the shards of the same cut that were not given. Raises `ConfigError` for runs whose identity fields,
    seeds.shard left out, differ, and `RunLocked` while a part or `out` is at work.
    """
    configs = {part: stored_config(part) for part in parts}
    if out.resolve() in [part.resolve() for part in parts]:
        raise ConfigError(f"--out {out} is one of the runs to merge; name a new directory")
    whole = (
        _whole(next(iter(configs.values()))) if not (out / "config.yaml").is_file() else stored_config(out)
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
    """The shards that complete the cuts of those given: 1/3 and 3/3 lack 2/3. Nothing is lacking beside a whole run."""
    if None in shards:
        return []
    cuts = {int(shard.partition("/")[2]) for shard in shards if shard}
    return [f"{n}/{cut}" for cut in sorted(cuts) for n in range(1, cut + 1) if f"{n}/{cut}" not in shards]


def _whole(config: Config) -> Config:
    """A part's settings without what made it a part; its journal may lie anywhere, the merged one in its run."""
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
    """What a part reads of older runs, the merged run reads too."""
    known = forked_journals(out)[1:]
    if new := [journal for journal in dict.fromkeys(journals) if journal not in known]:
        write_atomically(out / "forks.json", json.dumps([str(journal) for journal in (*known, *new)]))


def _copied(part: Path, config: Config, journal: Path) -> dict[str, Any]:
    """Copy a part's rows in one transaction. Rows and not tokens are compared, in SQLite, whatever their number."""
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
                f"{source} could not be copied to {journal} ({error}); when that is put right, merge again"
            ) from None


def _rows(connection: sqlite3.Connection, source: Path) -> dict[str, int]:
    version = connection.execute("PRAGMA part.user_version").fetchone()[0]
    if version != SCHEMA:
        raise ConfigError(f"{source}: journal of version {version}, this program reads {SCHEMA}")
    connection.execute(
        "CREATE TEMP TABLE known (key BLOB, cancelled INT, PRIMARY KEY (key, cancelled)) WITHOUT ROWID"
    )
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR IGNORE INTO known SELECT key, status = 'cancelled' FROM main.replies")
    total = connection.execute("SELECT COUNT(*) FROM part.replies").fetchone()[0]
    copied = connection.execute(_COPY).rowcount
    connection.execute("COMMIT")
    return {"copied": copied, "already_there": total - copied}


@contextmanager
def _idle(part: Path) -> Iterator[None]:
    """Hold a run against a process that would work on it, where its lock can be taken at all (a copy may lack it)."""
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
