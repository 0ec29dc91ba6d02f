"""The journal: durable before its reply is used, read back by unit, read-only for forks, honest about a full disk."""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from veridistill.calls.journal import Entry, Journal, Reader
from veridistill.errors import ConfigError, Incomplete
from veridistill.records import Completion, TokenIds

REPLY = Completion(
    "<think>\nü\u2028\n</think>\n\n\\boxed{4}",
    "stop",
    3,
    4,
    TokenIds((5, 6, 7, 2**31 - 1)),
    TokenIds((1, 2, 3)),
)
BARE = replace(REPLY, token_ids=None, prompt_token_ids=None)


def entry(
    number: int = 0, unit: str = "u", status: str = "ok", reply: Completion = REPLY, model: str = "m"
) -> Entry:
    return Entry(unit, model, number.to_bytes(16, "big"), status, "solve", (unit, number), reply)  # type: ignore[arg-type]


def with_journal(
    path: Path, work: Callable[[Journal], Awaitable[None]], older: tuple[Path, ...] = ()
) -> None:
    async def main() -> None:
        journal = Journal(path, older)
        try:
            await work(journal)
        finally:
            await journal.close()

    asyncio.run(main())


def written(path: Path) -> list[Entry]:
    with closing(Reader((path,))) as reader:
        return list(reader.replies("u").values())


def test_a_reply_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        await journal.append(entry())
        other = sqlite3.connect(tmp_path / "j")  # what another process would see
        assert other.execute("SELECT COUNT(*) FROM replies").fetchone() == (1,)
        other.close()

    with_journal(tmp_path / "j", work)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        await journal.append(entry(1))
        await journal.append(entry(2, unit="other"))
        assert await journal.replies("u") == {entry(1).key: entry(1, reply=BARE)}
        assert await journal.with_ids("u", "solve") == {entry(1).key: entry(1)}
        assert await journal.with_ids("u", "exam") == await journal.replies("another") == {}

    with_journal(tmp_path / "j", work)
    assert written(tmp_path / "j") == [entry(1, reply=BARE)]


def test_cancelled_calls_are_written_and_never_served(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        journal.note(entry(1, status="cancelled"))
        await journal.append(entry(2, status="refused"))
        assert list(await journal.replies("u")) == [entry(2).key]
        (usage,) = journal.usage()
        assert (usage.calls, usage.cancelled) == (1, 1)

    with_journal(tmp_path / "j", work)


def test_appends_that_come_together_share_commits(tmp_path: Path) -> None:
    commits = 0

    async def work(journal: Journal) -> None:
        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        journal._connection.set_trace_callback(count)
        await asyncio.gather(*(journal.append(entry(i)) for i in range(400)))

    with_journal(tmp_path / "j", work)
    assert 1 <= commits < 40
    assert len(written(tmp_path / "j")) == 400


def test_a_fork_reads_older_journals_after_its_own_and_never_writes_them(tmp_path: Path) -> None:
    async def first(journal: Journal) -> None:
        await journal.append(entry(1))
        await journal.append(entry(2))

    async def second(journal: Journal) -> None:
        own = entry(2, reply=Completion("own", "stop", 1, 1))
        await journal.append(own)
        found = await journal.replies("u")
        assert found[entry(1).key] == entry(1, reply=BARE)
        assert (await journal.with_ids("u", "solve"))[entry(1).key] == entry(1)
        assert found[own.key] == own
        assert [usage.calls for usage in journal.usage()] == [1], "the forked run's calls are not this run's"

    with_journal(tmp_path / "old", first)
    with_journal(tmp_path / "new", second, (tmp_path / "old",))
    assert len(written(tmp_path / "old")) == 2


def test_a_full_disk_stops_the_run_and_says_so(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own "disk is full"
        big = Completion(random.Random(0).randbytes(60_000).hex(), "stop", 1, 1)
        with pytest.raises(Incomplete, match=r"full.*run again"):
            await journal.append(entry(1, reply=big))

    with_journal(tmp_path / "j", work)


@pytest.mark.parametrize("fault", ["garbage", "version", "directory"])
def test_a_file_that_is_no_journal_of_ours_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "j"
    if fault == "garbage":
        path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    elif fault == "version":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=99")
        connection.close()
    else:
        path.mkdir()
    with pytest.raises(ConfigError, match=str(path)):
        Journal(path)


def test_a_missing_older_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        Journal(tmp_path / "j", (tmp_path / "absent",))


def test_a_bug_in_the_writer_surfaces_where_the_reply_is_awaited(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        with pytest.raises(UnicodeEncodeError):
            await asyncio.wait_for(journal.append(entry(1, reply=Completion("\ud800", "stop", 1, 1))), 10)
        await journal.append(entry(2))

    with_journal(tmp_path / "j", work)
    assert [found.key for found in written(tmp_path / "j")] == [entry(2).key]
