"""Every reply, durable before it is parsed: a SQLite file in WAL mode.

One writer thread commits what was queued since its last commit (`synchronous=FULL`: one fsync per commit), so the cost
per reply falls with load, and the event loop never waits for a disk. Replies are read back by unit (a question or a
problem): all of them without token ids when it opens, and those of one role with their ids when its rows are written.
The journal does not interpret replies.

Not for network file systems: SQLite's locks and shared memory do not work there.
"""

import asyncio
import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import zstandard

from veridistill.errors import ConfigError, Incomplete
from veridistill.records import Completion, TokenIds
from veridistill.records import Path as RequestPath

SCHEMA = 2
Status = Literal["ok", "refused", "cancelled"]

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    unit TEXT NOT NULL, model TEXT NOT NULL, key BLOB NOT NULL, status TEXT NOT NULL, role TEXT NOT NULL,
    path TEXT NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    text BLOB NOT NULL, ids BLOB, prompt_ids BLOB, context INTEGER
);
CREATE INDEX IF NOT EXISTS replies_by_unit ON replies (unit);
"""
_INSERT = "INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "model, key, status, role, path, finish_reason, prompt_tokens, completion_tokens, text, context"
_SELECT = f"SELECT {_COLUMNS} FROM replies WHERE unit = ? ORDER BY rowid"
_SELECT_WITH_IDS = (
    f"SELECT {_COLUMNS}, ids, prompt_ids FROM replies WHERE unit = ? AND role = ? ORDER BY rowid"
)


class Entry(NamedTuple):
    """One journalled call; `model` is the fingerprint of the model that was asked.

    A `refused` call holds the reason as its text; a `cancelled` one is not a reply and never returned as one.
    """

    unit: str
    model: str
    key: bytes
    status: Status
    role: str
    path: RequestPath
    completion: Completion


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls and tokens of one role, over the whole life of the journal."""

    role: str
    calls: int
    cancelled: int
    prompt_tokens: int
    completion_tokens: int


class Journal:
    """The journal of a run. `older`: journals of runs that this one forks, read after its own and never written."""

    def __init__(self, path: Path, older: Sequence[Path] = (), commit_rows: int = 512) -> None:
        self._path = path
        self._connection = _open(path)
        self._reading = ThreadPoolExecutor(1, "journal-reader")
        self._reader = Reader((path, *older))
        self._writer = _Writer(self._connection, commit_rows)

    async def append(self, entry: Entry) -> None:
        """Returns when the entry is on disk. Raises `Incomplete` when it cannot be written (disk full)."""
        await self._writer.put(entry)

    def note(self, entry: Entry) -> None:
        """Write an entry without waiting for it."""
        self._writer.put(entry).add_done_callback(lambda future: future.cancelled() or future.exception())

    async def replies(self, unit: str) -> dict[bytes, Entry]:
        """`Reader.replies`, from a thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._reader.replies, unit)

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]:
        """`Reader.with_ids`, from a thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(
            self._reading, self._reader.with_ids, unit, role
        )

    def usage(self) -> list[Usage]:
        """Calls and tokens by role, replies of forked journals left out."""
        return self._reader.usage()

    async def flush(self) -> None:
        """Commit what is pending; nothing can be written after it."""
        await asyncio.get_running_loop().run_in_executor(None, self._writer.stop)

    async def close(self) -> None:
        """Commit what is pending and close."""
        await self.flush()
        self._reading.shutdown()
        self._reader.close()
        self._connection.close()


class Reader:
    """Journals to read from, never written; if several hold a reply to one request, that of the first journal counts.

    A reply that was cut at a context length is superseded by one that was asked for again with more room.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sources = [_read_only(path) for path in paths]
        self._decompress = zstandard.ZstdDecompressor().decompress

    def replies(self, unit: str) -> dict[bytes, Entry]:
        """The replies of a unit by request key, without token ids; cancelled calls left out."""
        return self._first_of_each(_SELECT, unit)

    def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]:
        """The replies of one role of a unit, with the token ids that were kept."""
        return self._first_of_each(_SELECT_WITH_IDS, unit, role)

    def _first_of_each(self, query: str, unit: str, *more: str) -> dict[bytes, Entry]:
        known: dict[bytes, Entry] = {}
        for source in self._sources:
            for entry in _entries(source, self._decompress, query, unit, *more):
                if entry.status != "cancelled" and _room(entry) > _room(known.get(entry.key)):
                    known[entry.key] = entry
        return known

    def usage(self) -> list[Usage]:
        """Calls and tokens by role in the first of the journals."""
        rows = self._sources[0].execute(
            "SELECT role, SUM(status != 'cancelled'), SUM(status = 'cancelled'), SUM(prompt_tokens),"
            " SUM(completion_tokens) FROM replies GROUP BY role ORDER BY role"
        )
        return [Usage(*row) for row in rows]

    def close(self) -> None:
        for source in self._sources:
            source.close()


class _Writer:
    """The one thread that writes: takes all that is pending, commits it, and wakes those that wait for it."""

    def __init__(self, connection: sqlite3.Connection, commit_rows: int) -> None:
        self._connection = connection
        self._commit_rows = commit_rows
        self._pending: deque[tuple[Entry, asyncio.Future[None]]] = (
            deque()
        )  # appended to and popped from atomically
        self._wake = threading.Event()
        self._stopping = False
        self._compress = zstandard.ZstdCompressor(level=3).compress
        self._thread = threading.Thread(target=self._loop, name="journal-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((entry, future))
        if not self._wake.is_set():
            self._wake.set()
        return future

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                self._commit(batch)
            if self._stopping:
                return

    def _take(self) -> list[tuple[Entry, asyncio.Future[None]]]:
        num = min(len(self._pending), self._commit_rows)
        return [self._pending.popleft() for _ in range(num)]

    def _commit(self, batch: list[tuple[Entry, asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            with self._connection:
                self._connection.executemany(_INSERT, [self._row(entry) for entry, _ in batch])
        except sqlite3.Error as cause:
            error = Incomplete(
                f"the journal cannot be written ({cause}); free space on its disk and run again"
            )
        except Exception as bug:
            # A bug must surface where the reply is awaited: if this thread died, all would wait forever.
            error = bug
        futures = [future for _, future in batch]
        with suppress(RuntimeError):  # the event loop is closed, and with it those that waited
            futures[0].get_loop().call_soon_threadsafe(_resolve, futures, error)

    def _row(self, entry: Entry) -> tuple[Any, ...]:
        c = entry.completion
        return (
            entry.unit, entry.model, entry.key, entry.status, entry.role, json.dumps(entry.path), c.finish_reason,
            c.prompt_tokens, c.completion_tokens, self._compress(c.text.encode("utf-8")),
            self._ids(c.token_ids), self._ids(c.prompt_token_ids), c.context,
        )  # fmt: skip

    def _ids(self, ids: TokenIds | None) -> bytes | None:
        return None if ids is None else self._compress(memoryview(ids))


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _check_version(connection, path)
        connection.executescript(_TABLES)
        connection.execute(f"PRAGMA user_version={SCHEMA}")
        connection.commit()
    except sqlite3.Error as error:
        raise ConfigError(
            f"{path}: cannot be used as a journal ({error}); name another journal.path"
        ) from None
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `ConfigError` for another version's journal; 0 is the version of a file that is still empty."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA):
        raise ConfigError(
            f"{path}: journal of version {version}, this program uses {SCHEMA}; start a new run, or continue with the "
            "version of veridistill that made it"
        )


def _room(entry: Entry | None) -> float:
    """The context at which an entry's reply was cut or refused; infinite for a complete reply, -1 for no entry."""
    if entry is None:
        return -1
    return float("inf") if entry.completion.context is None else entry.completion.context


def _read_only(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ConfigError(f"{path}: no such journal; --fork takes a run directory that has one")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    try:
        _check_version(connection, path)
    except ConfigError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path}: cannot be read as a journal ({error})") from None
    return connection


def _entries(
    source: sqlite3.Connection, decompress: Callable[[bytes], bytes], query: str, unit: str, *more: str
) -> Iterator[Entry]:
    rows = source.execute(query, (unit, *more))
    for model, key, status, role, path, finish, prompt, completion, text, context, *packed in rows:
        sampled, prompted = (
            None if one is None else TokenIds(decompress(one)) for one in packed or (None, None)
        )
        reply = Completion(
            decompress(text).decode("utf-8"), finish, prompt, completion, sampled, prompted, context
        )
        yield Entry(unit, model, key, cast(Status, status), role, tuple(json.loads(path)), reply)
