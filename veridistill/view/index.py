"""The index of one list: a SQLite file of the viewer's own, with FTS5.

A filter is a test of bits: a facet is a bit of an entry's mask, and all masks are read in a few milliseconds. Texts are
indexed by place alone (`entry * SLOTS + slot`) and not stored, so matches come in the order of the list: a page is read
without ranking anything, however frequent a word is. Readers see what is committed; one process writes.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from veridistill.view.items import SLOTS, Item, Text, rank

VERSION = 1
LONGEST = 20_000
"""Characters of a text that are searched."""
BITS = 62
"""Facets that can be filtered by; further ones are left out."""

_TABLES = """
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facets (name TEXT PRIMARY KEY, bit INTEGER NOT NULL, entries INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE masks (no INTEGER PRIMARY KEY, mask INTEGER NOT NULL);
CREATE TABLE items (no INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, head TEXT NOT NULL, note TEXT NOT NULL,
    place TEXT NOT NULL);
CREATE TABLE draws (stratum TEXT NOT NULL, rank INTEGER NOT NULL, no INTEGER NOT NULL, candidate INTEGER NOT NULL,
    PRIMARY KEY (stratum, rank)) WITHOUT ROWID;
CREATE VIRTUAL TABLE docs USING fts5(text, content='', prefix='2 3 4',
    tokenize="unicode61 remove_diacritics 2");
"""


class Writer:
    """Writes an index; a new file where there is none. To be closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # What is lost with the machine is built again: no fsync is waited for.
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY;"
        )
        if not self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            self._connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        self._bits: dict[str, int] = dict(self._connection.execute("SELECT name, bit FROM facets"))

    def state(self, name: str) -> int:
        return state(self._connection, name)

    def write(self, items: Iterable[Item], texts: Iterable[Text], /, **states: int) -> None:
        """Entries (in place of those of the same `no`), texts (new ones alone) and numbers to remember, or nothing."""
        with self._transaction() as connection:
            for item in items:
                self._replace(connection, item)
            connection.executemany(
                "INSERT INTO docs (rowid, text) VALUES (?, ?)",
                (
                    (one.no * SLOTS + one.slot, one.text[:LONGEST])
                    for one in sorted(texts, key=lambda one: (one.no, one.slot))
                    if one.slot < SLOTS
                ),
            )
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", states.items())

    def has_text(self, text: Text) -> bool:
        row = (text.no * SLOTS + text.slot,)
        return self._connection.execute("SELECT 1 FROM docs WHERE rowid = ?", row).fetchone() is not None

    def optimize(self) -> None:
        """Merge what the full-text index was written in: afterwards a search reads less."""
        self._connection.execute("INSERT INTO docs (docs) VALUES ('optimize')")

    def find(self, key: str) -> Item | None:
        return find(self._connection, key)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _replace(self, connection: sqlite3.Connection, item: Item) -> None:
        old = find(connection, item.key)
        if old is not None:
            connection.executemany(
                "UPDATE facets SET entries = entries - 1 WHERE name = ?", [(name,) for name in old.facets]
            )
            connection.executemany(
                "DELETE FROM draws WHERE stratum = ? AND rank = ?",
                [(stratum, rank(old.key, candidate)) for stratum, candidate in old.draws],
            )
        connection.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)",
            (item.no, item.key, item.head, _json(item.note), _json([item.place, item.facets, item.draws])),
        )
        mask = sum(1 << bit for bit in map(self._bit, item.facets) if bit < BITS)
        connection.execute("INSERT OR REPLACE INTO masks VALUES (?, ?)", (item.no, mask))
        connection.executemany(
            "INSERT INTO facets VALUES (?, ?, 1) ON CONFLICT (name) DO UPDATE SET entries = entries + 1",
            [(name, self._bit(name)) for name in item.facets],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO draws VALUES (?, ?, ?, ?)",
            [(stratum, rank(item.key, one), item.no, one) for stratum, one in item.draws],
        )

    def _bit(self, name: str) -> int:
        return self._bits.setdefault(name, len(self._bits))


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises `FileNotFoundError` where there is no index yet."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA query_only=ON")
        yield connection


def state(connection: sqlite3.Connection, name: str) -> int:
    """A number that was remembered with the entries; 0 if none was."""
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def find(connection: sqlite3.Connection, key: str) -> Item | None:
    row = connection.execute("SELECT * FROM items WHERE key = ?", (key,)).fetchone()
    return None if row is None else item_of(row)


def item_of(row: tuple[Any, ...]) -> Item:
    no, key, head, note, place = row
    where, facets, draws = json.loads(place)
    return Item(no, key, head, json.loads(note), where, tuple(facets), tuple((s, c) for s, c in draws))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
