"""Seed files: what is accepted, and that every fault is told with its row before anything runs."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from veridistill.config import SeedsSection
from veridistill.data import seeds
from veridistill.errors import ConfigError
from veridistill.records import seed_id


def jsonl(path: Path, *rows: Any) -> Path:
    """A file of rows: bytes as they are, all else as JSON."""
    path.write_bytes(b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows))
    return path


def load(path: Path, **section: Any) -> seeds.Seeds:
    return seeds.load(SeedsSection(path=(str(path),), **section))


def errors(path: Path, **section: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, **section)
    return str(caught.value).split("\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "questions.jsonl"


def q(text: Any, **more: Any) -> dict[str, Any]:
    return {"question": text, **more}


def test_questions_with_their_rows(file: Path) -> None:
    found = load(jsonl(file, q("1+1?"), b"", q("2+2?", answer="4")), domain="science")
    assert [s.question for s in found] == ["1+1?", "2+2?"]
    assert [s.source for s in found] == ["questions.jsonl:1", "questions.jsonl:3"]
    assert [s.seed_id for s in found] == [seed_id("1+1?"), seed_id("2+2?")]
    assert {s.domain for s in found} == {"science"}
    assert (found.num_rows, found.num_duplicates, found.num_replaced, len(found)) == (2, 0, 0, 2)


def test_normalised_duplicates_are_counted_and_the_first_kept(file: Path) -> None:
    found = load(jsonl(file, q("What is  X?"), q("what is x?"), q("ｗhat is X? "), q("What is Y?")))
    assert [s.question for s in found] == ["What is  X?", "What is Y?"]
    assert (found.num_rows, found.num_duplicates) == (4, 2)


def test_limit_takes_the_first_unique_questions_and_still_validates_all(file: Path) -> None:
    rows = [q("a"), q("A"), q("b"), q("c")]
    assert [s.question for s in load(jsonl(file, *rows), limit=2)] == ["a", "b"]
    assert len(load(file, limit=99)) == 3
    assert errors(jsonl(file, *rows, q(7)), limit=2) == [f"{file}:5: question must be text (found 7)"]


@pytest.mark.parametrize(("parts", "limit"), [(1, None), (2, None), (3, 50), (8, 100), (500, None)])
def test_shards_are_disjoint_and_together_the_whole(file: Path, parts: int, limit: int | None) -> None:
    jsonl(file, *[q(f"What is {number} + 1?") for number in [*range(200), *range(10)]])
    whole = load(file, limit=limit)
    shards = [load(file, limit=limit, shard=f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(seed.source for shard in shards for seed in shard) == sorted(seed.source for seed in whole)
    assert all(list(shard) == [seed for seed in whole if seed in set(shard)] for shard in shards)
    assert {(shard.num_rows, shard.num_duplicates) for shard in shards} == {(210, 10)}


def test_a_questions_shard_depends_on_its_id_alone(file: Path) -> None:
    rows = [q(f"What is {number} + 1?") for number in range(400)]
    shard = {seed.seed_id for seed in load(jsonl(file, *rows), shard="2/4")}
    assert {seed.seed_id for seed in load(jsonl(file, *reversed(rows)), shard="2/4")} == shard
    assert 60 < len(shard) < 140
    # Fixed: every version and every process must agree.
    assert [n for n in range(1, 9) if seeds.in_shard("0123456789abcdef", f"{n}/8")] == [5]


def test_lines_end_at_newlines_alone(file: Path) -> None:
    text = "a\u2028b\u0085c\x0bd"
    file.write_bytes(json.dumps(q(text), ensure_ascii=False).encode() + b"\r\n" + json.dumps(q("e")).encode())
    assert [s.question for s in load(file)] == [text, "e"]


def test_a_byte_order_mark_is_accepted(file: Path) -> None:
    assert len(load(jsonl(file, b"\xef\xbb\xbf" + b'{"question": "a"}'))) == 1


def test_lone_surrogates_are_replaced_and_counted(file: Path) -> None:
    found = load(jsonl(file, b'{"question": "a\\ud800b\\udfff"}', b'{"question": "\\ud83d\\ude00"}'))
    assert [s.question for s in found] == ["a\ufffdb\ufffd", "\U0001f600"]
    assert found.num_replaced == 2


def test_own_ids(file: Path) -> None:
    found = load(jsonl(file, q("a", key="x"), q("b", key=7), q("A", key="x"), q("a", key="y")), id="key")
    assert [s.seed_id for s in found] == ["x", "7"]
    assert found.num_duplicates == 2


TOO_MUCH = "is not JSON that can be read: a number is too long or the nesting too deep"
FAULTS: list[tuple[Any, str]] = [
    (
        b"{question}",
        "is not JSON: Expecting property name enclosed in double quotes (character 2); give one object per line",
    ),
    (b'{"question": "\xff"}', "is not UTF-8 at byte 15 of the line; save the file as UTF-8"),
    (
        b'{"question": ' + b"[" * 100_000,
        "is not JSON that can be read: a number is too long or the nesting too deep",
    ),
    (
        b'{"question": ' + b"9" * 5_000 + b"}",
        "is not JSON that can be read: a number is too long or the nesting too deep",
    ),
    ([1], "must be a JSON object; found [1]"),
    ("text", "must be a JSON object; found 'text'"),
    (q(None), "question must be text (found None)"),
    (q(["a"] * 99), f"question must be text (found {repr(['a'] * 99)[:57]}...)"),
    (q(""), "question is empty"),
    (q(" \n\u3000"), "question is blank"),
    ({}, "no column question (columns: none); set seeds.question"),
    ({"Question": "a"}, "no column question (columns: Question); did you mean seeds.question=Question?"),
    ({"qestion": "a"}, "no column question (columns: qestion); did you mean seeds.question=qestion?"),
    (
        {"id": 1, "Problem": "a"},
        "no column question (columns: id, Problem); did you mean seeds.question=Problem?",
    ),
]


@pytest.mark.parametrize(("row", "expected"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_told_with_its_row(file: Path, row: Any, expected: str) -> None:
    assert errors(jsonl(file, q("fine"), row)) == [f"{file}:2: {expected}"]


ID_FAULTS: list[tuple[Any, str]] = [
    (q("b"), "no column id (columns: question); set seeds.id"),
    (q("b", id=True), "id must be text or an integer (found True)"),
    (q("b", id=1.5), "id must be text or an integer (found 1.5)"),
    (q("b", id=" "), "id is empty"),
    (q("b", id="x"), "id 'x' has a different question in questions.jsonl:1; give each question its own id"),
]


@pytest.mark.parametrize(("row", "expected"), ID_FAULTS)
def test_a_faulty_id_is_told_with_its_row(file: Path, row: Any, expected: str) -> None:
    assert errors(jsonl(file, q("a", id="x"), row), id="id") == [f"{file}:2: {expected}"]


def test_all_faults_come_at_once_up_to_twenty(file: Path) -> None:
    found = errors(jsonl(file, *[q(number) for number in range(50)], q("")))
    assert found[0] == f"{file}:1: question must be text (found 0)"
    assert found[19:] == [f"{file}:20: question must be text (found 19)", "... and 31 more"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read (No such file"), (b"", "is empty"), (b"\n \r\n", "holds no questions")],
)
def test_a_file_without_questions(file: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        file.write_bytes(content)
    assert expected in errors(file)[0]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in errors(tmp_path)[0]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    path = parquet(
        tmp_path / "q.parquet", question=pa.array(["a", "b", "A"], kind), id=[3, 4, 3], x=[1, 2, 3]
    )
    found = load(path, id="id")
    assert [(s.seed_id, s.question, s.source) for s in found] == [
        ("3", "a", "q.parquet:1"),
        ("4", "b", "q.parquet:2"),
    ]
    assert found.num_duplicates == 1


def test_parquet_faults(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")]
    )
    path = tmp_path / "q.parquet"
    assert errors(parquet(path, question=bad)) == [f"{path}:2: question is not UTF-8 at byte 1"]
    assert errors(parquet(path, question=["a", None, ""])) == [
        f"{path}:2: question must be text (found None)",
        f"{path}:3: question is empty",
    ]
    assert errors(parquet(path, question=[1])) == [f"{path}:1: question must be text (found 1)"]
    assert errors(parquet(path, question=pa.array([b"a"]))) == [
        f"{path}:1: question must be text (found b'a')"
    ]
    assert errors(parquet(path, problem=["a"])) == [
        f"{path}: no column question (columns: problem); did you mean seeds.question=problem?"
    ]
    path.write_bytes(path.read_bytes()[:-9])
    assert "not a readable Parquet file" in errors(path)[0]


def test_the_papers_number_of_questions_loads(file: Path) -> None:
    jsonl(file, *[q(f"Question {number}: " + "what is the value of x? " * 20) for number in range(53_000)])
    assert len(load(file)) == 53_000


STORY = "The {who} of a small island counts {num} boats at noon and wants to know how many of them come back by night."
CLEAN = [f"Which of the {n} words rhymes with orange, and why?" for n in ("seven", "eight", "nine", "ten")]


def test_near_duplicates_and_benchmarks_questions_are_dropped_and_told(file: Path) -> None:
    story = STORY.format(who="keeper", num=12)
    secret = (
        "Nobody has ever asked in print what colour the mayor's third umbrella was on the day of the flood."
    )
    rows = [
        CLEAN[0],
        story,
        story.replace("keeper", "ruler"),
        secret,
        CLEAN[1],
        secret + " Tell me.",
        CLEAN[2],
    ]
    jsonl(file, *map(q, [*rows, CLEAN[0].upper()]))
    found = seeds.load(SeedsSection(path=(str(file),), near_duplicates=0.6), [("b", "7", secret)])
    assert [s.question for s in found] == [CLEAN[0], story, CLEAN[1], CLEAN[2]]
    assert (found.num_rows, found.num_duplicates, found.num_near_duplicates, found.num_contaminated) == (
        8,
        1,
        1,
        2,
    )
    # A question that is both is told as the benchmark's.
    assert [(o.source, o.rule, o.problem_id) for o in found.overlaps] == [
        ("questions.jsonl:3", "near_duplicate", seed_id(story)),
        ("questions.jsonl:4", "exact", "7"),
        ("questions.jsonl:6", "contained", "7"),
    ]


def test_the_limit_counts_what_is_left_and_shards_share_it(file: Path) -> None:
    story = STORY.format(who="keeper", num=12)
    jsonl(file, q(story), q(story.replace("keeper", "ruler")), *map(q, CLEAN))
    items = [("b", "1", story)]

    def sources(**section: Any) -> list[str]:
        return [
            s.source.partition(":")[2] for s in seeds.load(SeedsSection(path=(str(file),), **section), items)
        ]

    assert sources(limit=2, near_duplicates=0.6) == ["3", "4"]
    parts = [sources(limit=3, near_duplicates=0.6, shard=f"{part}/3") for part in (1, 2, 3)]
    assert sorted(source for part in parts for source in part) == ["3", "4", "5"]


def test_reported_questions_stay(file: Path) -> None:
    found = seeds.load(
        SeedsSection(path=str(jsonl(file, q("What is 7 + 8?")))), [("b", "1", "What is 2 + 3?")]
    )
    assert [s.question for s in found] == ["What is 7 + 8?"]
    assert [(o.rule, o.action) for o in found.overlaps] == [("masked_short", "reported")]
    assert found.num_contaminated == 0


def test_nothing_left_is_an_error(file: Path) -> None:
    jsonl(file, q(CLEAN[0]))
    with pytest.raises(ConfigError, match="all 1 questions overlap"):
        seeds.load(SeedsSection(path=(str(file),)), [("b", "1", CLEAN[0])])
