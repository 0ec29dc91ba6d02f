"""Where seeds lie and in which format: the same questions from each, and a fault named by file and row."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_seeds import errors, jsonl, q
from veridistill.config import SeedsSection
from veridistill.data import seeds
from veridistill.data.seeds import files
from veridistill.errors import ConfigError, MissingExtra

ROWS = [{"question": f'What, "{n}"?\nSay {n}.', "id": f"q{n}", "answer": n} for n in range(9)]
CSV = "question,id\n"


def written(path: Path, rows: Sequence[dict[str, Any]], indent: int | None = None) -> Path:
    """Rows in the format that the suffix names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=2)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    else:
        jsonl(path, *rows)
    return path


def load(*paths: Path | str, **section: Any) -> seeds.Seeds:
    return seeds.load(SeedsSection(path=tuple(map(str, paths)), **section))


def faults(*paths: Path | str, **section: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*paths, **section)
    return str(caught.value).split("\n")


@pytest.mark.parametrize("name", ["q.jsonl", "q.ndjson", "q.json", "q.parquet", "q.csv", "q"])
def test_every_format_holds_the_same_questions(tmp_path: Path, name: str) -> None:
    found = load(written(tmp_path / name, ROWS), id="id")
    assert [(s.seed_id, s.question) for s in found] == [(r["id"], r["question"]) for r in ROWS]
    # A row of CSV is named by the line on which it begins, and here each question is two lines long.
    rows = [2 * n + 2 if name == "q.csv" else n + 1 for n in range(9)]
    assert [s.source for s in found] == [f"{name}:{row}" for row in rows]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.txt", b'[{"question": "a"}]'),
        ("data.json", b'\xef\xbb\xbf\n [\n{"question":\n "a"}]'),
        ("data.json", b'{"question": "a"}\n\n{"question": "A"}\n'),
        ("data.csv", b"\xef\xbb\xbfquestion\r\na\r\n\r\n"),
        ("data.csv", b'"question",b\n"a","' + b"x" * 200_000 + b'"\n'),
    ],
)
def test_what_a_file_holds_is_seen_by_its_content(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert [s.question for s in load(tmp_path / name)] == ["a"]


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path / "q.parquet", ROWS).rename(tmp_path / "q.csv")
    assert len(load(path)) == 9


UNREADABLE = [
    (
        "a.json",
        b'{"data": [{"question": "a"}]}',
        "a.json: is no JSON array: give an array of objects, [{...}, {...}]",
    ),
    ("a.json", b'{\n "data": [\n {"question": "a"}]}', "a.json: is no JSON array: give an array of objects"),
    ("a.json", b'"text"', "a.json: must be a JSON array of objects; found 'text'"),
    ("a.json", b'[{"question": "a"},]', "a.json: is not JSON: "),
    ("a.json", b'[{"question": "a"}\n', "a.json: is not JSON: Expecting ',' delimiter (line 2, character 1)"),
    ("a.json", b'[{"question": "\xff"}]', "a.json: is not UTF-8 at byte 16; save the file as UTF-8"),
    (
        "a.json",
        b"[" * 200_000,
        "a.json: is not JSON that can be read: a number is too long or the nesting too deep",
    ),
    ("a.json", b'[{"question": "a"}, "b"]', "a.json:2: must be a JSON object; found 'b'"),
    (
        "a.json",
        b'[{"question": "a", "question": "b"}]',
        "a.json:1: has the key 'question' twice; keep one of them",
    ),
    ("a.json", b"[]", "a.json: holds no questions; give a file of them"),
    ("a.csv", b"question,id\n", "a.csv: holds no questions; give a file of them"),
    (
        "a.csv",
        b"question,id\na,1\nb\n",
        "a.csv:3: has 1 cells, the header 2; put cells that hold commas or quotes",
    ),
    (
        "a.csv",
        b"question,id\na,b,c\n",
        "a.csv:2: has 3 cells, the header 2; put cells that hold commas or quotes",
    ),
    ("a.csv", b'question\n"a\nb\n', "a.csv:2: is not CSV: unexpected end of data"),
    ("a.csv", b'question\n"a"b\nc\n', "a.csv:2: is not CSV: ',' expected after '\"'"),
    ("a.csv", b"question\na\n\xc3\xa9\xff\n", "a.csv:3: question is not UTF-8 at byte 3"),
    ("a.csv", b"question,\xff\na,b\n", "a.csv: has a header that is not UTF-8; save the file as UTF-8"),
    ("a.csv", b"question,question\na,b\n", "a.csv: has the column question twice; rename one"),
    (
        "a.csv",
        b"Question\na\n",
        "a.csv: no column question (columns: Question); did you mean seeds.question=Question?",
    ),
    ("a.csv", b"question\n \n", "a.csv:2: question is blank"),
    ("a.tsv", b"question\tid\na\t1\n", "a.tsv: is neither Parquet nor JSON; a CSV file must be named .csv"),
    ("a.parquet", b'{"question": "a"}', "a.parquet: is not a Parquet file, though it is named like one"),
    ("a.parquet", b"PAR1xxxx", "a.parquet: is not a readable Parquet file ("),
    ("a.jsonl.gz", b"\x1f\x8b\x08\x00", "a.jsonl.gz: is packed (gzip); give the file that is in it"),
    ("a.jsonl", b"", "a.jsonl: is empty; give a file of questions"),
]


@pytest.mark.parametrize(("name", "content", "expected"), UNREADABLE)
def test_a_fault_is_told_with_file_and_row(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = faults(tmp_path / name)
    assert found.startswith(f"{tmp_path}/{expected}")


def test_csv_names_every_fault_and_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,id\n"two\nlines",1\n"x"y,2\n,3\n\nlast\n', encoding="utf-8")
    assert faults(path) == [
        f"{path}:4: is not CSV: ',' expected after '\"'",
        f"{path}:5: question is empty",
        f"{path}:7: has 1 cells, the header 2; put cells that hold commas or quotes into quotes",
    ]


def test_the_values_of_other_columns_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"question,answer\na,\xff\xfe\n")
    assert [s.question for s in load(path)] == ["a"]
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    pq.write_table(pa.table({"question": ["a"], "answer": bad}), tmp_path / "a.parquet")
    assert [s.question for s in load(tmp_path / "a.parquet")] == ["a"]


def test_text_inside_a_list_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"ab\xff")]
    )
    tests = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), text)
    pq.write_table(pa.table({"tests": tests}), tmp_path / "a.parquet")
    assert faults(tmp_path / "a.parquet", question="{tests[0]}") == [
        f"{tmp_path}/a.parquet:2: tests is not UTF-8 at byte 2"
    ]


# --- several files ------------------------------------------------------------------------------------------


def test_several_files_are_one_set_of_questions(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "one.jsonl", q("a"), q("b"))
    two = written(tmp_path / "two.csv", [q("B"), q("c")])
    found = load(one, two, one)
    assert [(s.question, s.source) for s in found] == [
        ("a", "one.jsonl:1"),
        ("b", "one.jsonl:2"),
        ("c", "two.csv:3"),
    ]
    assert (found.num_rows, found.num_duplicates) == (4, 1)
    assert [s.question for s in load(two, one, limit=2)] == ["B", "c"]


def test_an_id_is_one_questions_in_all_files(tmp_path: Path) -> None:
    jsonl(tmp_path / "1.jsonl", q("a", id="x"))
    jsonl(tmp_path / "2.jsonl", q("b", id="y"), q("c", id="x"))
    assert faults(tmp_path / "*.jsonl", id="id") == [
        f"{tmp_path}/2.jsonl:2: id 'x' has a different question in 1.jsonl:1; give each question its own id"
    ]


def test_the_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    jsonl(tmp_path / "1.jsonl", q(1))
    (tmp_path / "2.csv").write_text("text\na\n", encoding="utf-8")
    jsonl(tmp_path / "4.jsonl", q("fine"), q(""))
    names = [tmp_path / name for name in ("1.jsonl", "2.csv", "3.jsonl", "4.jsonl")]
    assert faults(*names) == [
        f"{names[0]}:1: question must be text (found 1)",
        f"{names[1]}: no column question (columns: text); did you mean seeds.question=text?",
        f"{names[2]}: cannot be read (No such file or directory); check seeds.path",
        f"{names[3]}:2: question is empty",
    ]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "sub/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        jsonl(tmp_path / f"{name}.jsonl", q(name))
    (tmp_path / "d.jsonl").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [s.source for s in load("*.jsonl")] == ["a.jsonl:1", "b.jsonl:1"]
    assert [s.source for s in load("**/*.jsonl")] == ["a.jsonl:1", "b.jsonl:1", "c.jsonl:1"]
    assert [s.source for s in load("b.jsonl", "[ab].jsonl")] == ["b.jsonl:1", "a.jsonl:1"]
    jsonl(tmp_path / "[ab].jsonl", q("its own"))
    assert [s.question for s in load("[ab].jsonl")] == ["its own"]
    assert faults("*.json", "x*") == [
        "seeds.path: no file matches *.json",
        "seeds.path: no file matches x*",
    ]


def test_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        jsonl(tmp_path / folder / "train.jsonl", q(folder))
    jsonl(tmp_path / "other.jsonl", q("c"))
    monkeypatch.chdir(tmp_path)
    sources = [s.source for s in load("*/train.jsonl", tmp_path / "other.jsonl")]
    assert sources == ["a/train.jsonl:1", "b/train.jsonl:1", "other.jsonl:1"]


# --- the Hub ------------------------------------------------------------------------------------------------

FOLDER = "datasets/us/sums"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """fsspec's file system in memory in the place of the Hub's, which has the same interface."""
    system = fsspec.filesystem("memory")
    monkeypatch.setattr(files, "hub", lambda: (system, (OSError, ValueError)))
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def stored(hub: Any, name: str, path: Path) -> None:
    hub.pipe(f"/{FOLDER}/{name}", path.read_bytes())


def test_questions_from_the_hub(tmp_path: Path, hub: Any) -> None:
    stored(hub, "main/train-1.parquet", written(tmp_path / "1.parquet", ROWS[4:]))
    stored(hub, "main/train-0.parquet", written(tmp_path / "0.parquet", ROWS[:4]))
    stored(hub, "main/test-0.parquet", written(tmp_path / "2.parquet", [q("test")]))
    stored(hub, "more.csv", written(tmp_path / "more.csv", [q("more", id="m")]))
    found = load(f"hf://{FOLDER}/main/train-*.parquet", f"hf://{FOLDER}/more.csv", id="id")
    assert [s.seed_id for s in found] == [f"q{n}" for n in range(9)] + ["m"]
    assert [s.source for s in found][3:5] == ["train-0.parquet:4", "train-1.parquet:1"]


def test_a_fault_on_the_hub_is_told_with_file_and_row(tmp_path: Path, hub: Any) -> None:
    stored(hub, "a.jsonl", jsonl(tmp_path / "a.jsonl", q("a"), q(1)))
    (fault,) = faults(f"hf://{FOLDER}/a.jsonl")
    assert fault.startswith("hf://")
    assert fault.endswith(f"{FOLDER}/a.jsonl:2: question must be text (found 1)")


def test_a_hub_path_without_a_match_says_what_to_do(hub: Any) -> None:
    (fault,) = faults(f"hf://{FOLDER}/train-*.parquet")
    assert fault.startswith(
        f"seeds.path: no file on the Hub matches hf://{FOLDER}/train-*.parquet; check the name"
    )
    assert "hf auth login" in fault


def test_a_hub_path_without_access_says_what_to_do(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise FileNotFoundError(f"{path} (repository not found)")

    monkeypatch.setattr(hub, "glob", refuse, raising=False)
    found = faults(f"hf://{FOLDER}/a.jsonl", "missing*.jsonl")
    assert found[0].startswith(
        f"seeds.path: hf://{FOLDER}/a.jsonl cannot be reached on the Hub (FileNotFoundError: "
    )
    assert "hf auth login" in found[0]
    assert found[1] == "seeds.path: no file matches missing*.jsonl"


def test_a_hub_file_that_breaks_off_is_told(
    tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("the connection was reset")

    stored(hub, "a.jsonl", jsonl(tmp_path / "a.jsonl", q("a")))
    monkeypatch.setattr(hub, "open", lambda *args: Broken(), raising=False)
    (fault,) = faults(f"hf://{FOLDER}/a.jsonl")
    assert "cannot be read (the connection was reset); check seeds.path" in fault


def test_the_hubs_client_raises_what_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, which is told here that it is offline, and given a path that is none."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = faults("hf://datasets/us/none/*.parquet", "hf://none")
    assert all("cannot be reached on the Hub" in fault for fault in found)
    assert len(found) == 2


def test_without_the_hubs_client_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'veridistill\[eval\]'"):
        load("hf://datasets/us/none/*.parquet")
    with pytest.raises(MissingExtra):
        files.hub()


def test_files_here_need_no_client_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert len(load(jsonl(tmp_path / "a.jsonl", q("a")))) == 1
    assert errors(jsonl(tmp_path / "a.jsonl", q(""))) == [f"{tmp_path}/a.jsonl:1: question is empty"]
