"""Tables: what is written is what is read, and a file is whole or not there."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridistill.data import parquet, tables
from veridistill.errors import ConfigError, Incomplete
from veridistill.records import (
    Attempt,
    Candidate,
    Completion,
    Example,
    Message,
    Problem,
    Seed,
    TokenIds,
    Verdict,
    Vote,
)

ids = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(TokenIds)
ints = st.integers(-(2**31), 2**31 - 1)
words = st.text(max_size=8)
messages = st.lists(st.builds(Message, words, words), max_size=3).map(tuple)
maybe = st.none() | words

ROWS: list[tuple[parquet.Table[Any], st.SearchStrategy[Any]]] = [
    (tables.SEEDS, st.builds(Seed, words, words, st.sampled_from(["math", "science", "code"]), words)),
    (
        tables.CANDIDATES,
        st.builds(
            tables.CandidateRow, words, ints, words, maybe, st.booleans(), words, words, words, ints, ints
        ),
    ),
    (tables.VOTES, st.builds(tables.VoteRow, words, ints, words, ints, words, words)),
    (tables.EXAMPLES, st.builds(Example, words, ints, ids, ids, messages)),
    (
        tables.ATTEMPTS,
        st.builds(Attempt, words, words, ints, maybe, words, words, words, ints, words),
    ),
    (
        tables.PROBLEMS,
        st.builds(
            Problem, words, words, words, words, words, words, st.lists(words, max_size=3).map(tuple), words
        ),
    ),
]


@pytest.mark.parametrize(("table", "rows"), ROWS, ids=[table.name for table, _ in ROWS])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(
    table: parquet.Table[Any], rows: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    written = data.draw(st.lists(rows, max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        assert table.write(path, written) == len(written)
        assert list(table.read(path)) == written
        assert parquet.num_rows(path) == len(written)
        assert pq.read_schema(path).equals(table.schema())
        again = Path(folder) / "again.parquet"
        table.write(again, iter(written))
        assert again.read_bytes() == path.read_bytes()


def seed(number: int) -> Seed:
    return Seed(f"{number:04}", f"What is {number}?", "math", f"q.jsonl:{number}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "seeds.parquet"


def test_row_groups_are_bounded_by_rows_and_by_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 4)
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1000)
    rows = [seed(number) for number in range(6)]
    rows += [Seed("long", "x" * 1000), seed(7)]
    tables.SEEDS.write(path, rows)
    meta = pq.read_metadata(path)
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [4, 3, 1]
    assert {meta.row_group(0).column(i).compression for i in range(meta.num_columns)} == {"ZSTD"}
    assert list(tables.SEEDS.read(path)) == rows


@pytest.mark.parametrize(
    ("row", "size"),
    [
        (Example("s", 1, TokenIds(range(250)), TokenIds(range(250)), ()), 2000),
        (
            Example(
                "s", 1, TokenIds(), TokenIds(), (Message("user", "q" * 900), Message("assistant", "a" * 900))
            ),
            1800,
        ),
        (Seed("s", "é" * 600), 1200),
    ],
    ids=["token ids take four bytes", "messages have texts", "letters may take more than a byte"],
)
def test_what_a_row_weighs(path: Path, monkeypatch: pytest.MonkeyPatch, row: Any, size: int) -> None:
    table: parquet.Table[Any] = tables.EXAMPLES if isinstance(row, Example) else tables.SEEDS
    for limit, groups in ((size, 3), (size + 200, 2)):
        monkeypatch.setattr(parquet, "GROUP_BYTES", limit)
        table.write(path, [row] * 3)
        assert pq.read_metadata(path).num_row_groups == groups


def test_token_ids_are_read_a_row_group_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 600)
    rows = [Example(str(n), n, TokenIds(range(n % 7)), TokenIds((n,)), ()) for n in range(2500)]
    tables.EXAMPLES.write(path, rows)
    assert pq.read_metadata(path).num_row_groups == 5
    assert list(tables.EXAMPLES.read(path)) == rows


def test_token_ids_within_a_larger_array() -> None:
    """A slice of a column shares the whole column's numbers."""
    column = pa.array([[1, 2], [], [3], [4, 5, 6]], pa.list_(pa.int32())).slice(1, 3)
    assert list(parquet._read_column("list<int32>", column)) == [(), (3,), (4, 5, 6)]


def test_a_failed_block_leaves_nothing(path: Path) -> None:
    def rows() -> Iterator[Seed]:
        yield seed(1)
        assert not path.exists()
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        tables.SEEDS.write(path, rows())
    assert list(path.parent.iterdir()) == []


def test_a_failed_block_keeps_the_table_that_was_there(path: Path) -> None:
    tables.SEEDS.write(path, [seed(1)])
    with pytest.raises(RuntimeError, match="stop"), tables.SEEDS.writer(path):
        raise RuntimeError("stop")
    assert list(tables.SEEDS.read(path)) == [seed(1)]


def test_what_a_killed_writer_left_is_overwritten(path: Path) -> None:
    writer = tables.SEEDS.writer(path)
    litter = next(path.parent.iterdir())
    writer.discard()
    litter.write_bytes(b"PAR1 torn")
    tables.SEEDS.write(path, [seed(2)])
    assert [p.name for p in path.parent.iterdir()] == ["seeds.parquet"]
    assert list(tables.SEEDS.read(path)) == [seed(2)]


def test_a_row_that_does_not_fit_leaves_nothing(path: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        tables.SEEDS.write(path, [Seed("1", 5)])  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []


def test_rows_lost_on_the_way_are_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "num_rows", lambda _: 1)
    with pytest.raises(Incomplete, match="2 rows written, 1 read back"):
        tables.SEEDS.write(path, [seed(1), seed(2)])
    assert list(path.parent.iterdir()) == []


def test_another_table_is_refused(path: Path) -> None:
    tables.SEEDS.write(path, [seed(1)])
    with pytest.raises(ConfigError, match="no votes table, it lacks ballot, candidate, index, reason, stage"):
        list(tables.VOTES.read(path))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 torn"])
def test_a_torn_or_missing_file_is_refused(path: Path, content: bytes | None) -> None:
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"seeds\.parquet: not a readable Parquet file"):
        list(tables.SEEDS.read(path))


def test_rows_from_a_verdict() -> None:
    reply = Completion("<think>r</think>a", "stop", 3, 4)
    votes = (Vote("factuality", 0, "yes"), Vote("correctness", 0, "invalid", "no verdict"))
    verdict = Verdict("s", 2, "unjudged", "correctness", votes)
    row = tables.CandidateRow.of(Candidate("s", 2, "a", reply), verdict, kept=False)
    assert row == tables.CandidateRow(
        "s", 2, "unjudged", "correctness", False, "a", "<think>r</think>a", "stop", 3, 4
    )
    assert tables.VoteRow.of(verdict) == [
        tables.VoteRow("s", 2, "factuality", 0, "yes", ""),
        tables.VoteRow("s", 2, "correctness", 0, "invalid", "no verdict"),
    ]


def test_pandas_reads_them(path: Path) -> None:
    pd = pytest.importorskip("pandas")
    example = Example(
        "s", 1, TokenIds((1, 2)), TokenIds((3,)), (Message("user", "q"), Message("assistant", "a"))
    )
    tables.EXAMPLES.write(path, [example])
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(tables.EXAMPLES.columns)
    assert frame.completion_ids[0].tolist() == [3]
    assert frame.messages[0][1] == {"role": "assistant", "content": "a"}


def test_columns_can_be_left_unread(tmp_path: Path) -> None:
    attempt = Attempt("p", "b", 0, "7", "pass", response="long")
    tables.ATTEMPTS.write(tmp_path / "t", [attempt])
    assert list(tables.ATTEMPTS.read(tmp_path / "t", without=["response"])) == [replace(attempt, response="")]


def test_the_rows_of_some_questions_come_from_the_row_groups_that_hold_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    rows = [tables.VoteRow(f"q{index // 2}", index, "factuality", 0, "yes", "") for index in range(20)]
    tables.VOTES.write(path, rows)
    assert list(tables.VOTES.where(path, "seed_id", ["q7", "q2", "none"])) == [
        rows[4],
        rows[5],
        rows[14],
        rows[15],
    ]
    assert list(tables.VOTES.where(path, "seed_id", [])) == []


@pytest.mark.parametrize(
    ("start", "count"), [(0, 1), (2, 2), (2, 7), (5, 1), (18, 9), (20, 1), (4, 0), (0, 20)]
)
def test_rows_by_their_place_come_from_the_row_groups_that_hold_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, start: int, count: int
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    rows = [tables.VoteRow(f"q{index}", index, "factuality", 0, "yes", "why") for index in range(20)]
    tables.VOTES.write(path, rows)
    read: list[int] = []
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, **kw: read.append(group) or whole(self, group, **kw),
    )
    expected = rows[start : start + count]
    assert list(tables.VOTES.slice(path, start, count)) == expected
    assert read == sorted({row.candidate // 3 for row in expected})
