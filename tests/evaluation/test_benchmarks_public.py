"""The public benchmarks: whole data sets in their exact formats, and what is refused, with its place."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.evaluation import hub
from veridistill.config import EvaluationSection
from veridistill.errors import ConfigError
from veridistill.evaluation import benchmarks
from veridistill.evaluation.benchmarks import BENCHMARKS, NAMES, hle, named, rows
from veridistill.evaluation.benchmarks.rows import read
from veridistill.records import Problem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local copy of everything."""
    folder = tmp_path_factory.mktemp("hub")
    for name in {BENCHMARKS[name].source.hub_id: name for name in NAMES}.values():
        hub.write(folder, name)
    return folder


# What the first problem of each is, made from the first record by hand; and how many there are by preset.
FIRST = {
    "aime24": (Problem("60", "aime24", "integer", "Find $m+n$ for 0.", "0"), 30, 30),
    "aime25": (Problem("0", "aime25", "integer", "Find the number of ways 0.", "0"), 30, 30),
    "aime26": (Problem("1", "aime26", "integer", "Patrick walks 0 miles.", "0"), 30, 30),
    "hmmt_feb25": (Problem("1", "hmmt_feb25", "math", "Compute the 0th value.", r"\frac{0}{7}"), 30, 30),
    "hmmt_nov25": (Problem("1", "hmmt_nov25", "math", "Compute the 0th value.", r"\frac{0}{7}"), 30, 30),
    "hmmt_feb26": (Problem("1", "hmmt_feb26", "math", "Compute the 0th value.", r"\frac{0}{7}"), 33, 33),
    "math500": (
        Problem(
            "test/precalculus/0.json",
            "math500",
            "math",
            "Convert 0 to polar form.",
            r"\left( 0, \frac{\pi}{2} \right)",
        ),
        500,
        500,
    ),
    "gsm8k": (Problem("test-1", "gsm8k", "integer", "How many eggs has 0?", "0"), 1319, 1319),
    "mmlu_pro": (
        Problem(
            "70",
            "mmlu_pro",
            "choice",
            "Which is it, 0?\n\nA. q of 0\nB. r of 0\nC. s of 0",
            "A",
            "science",
            ("q of 0", "r of 0", "s of 0"),
        ),
        12032,
        12032,
    ),
    "hle_text": (
        Problem(
            "66e" + "0" * 21,
            "hle_text",
            "choice",
            "What holds of 0?\n\nAnswer Choices:\nA. Egalitarian\nB. Elitism\nC. Weak\nD. Strong\nE. None",
            "A",
            "science",
            ("Egalitarian", "Elitism", "Weak", "Strong", "None"),
        ),
        513,
        513,
    ),
}


@pytest.mark.parametrize("name", FIRST)
def test_a_whole_data_set_becomes_problems(data: Path, name: str) -> None:
    problem, num_paper, num_strict = FIRST[name]
    strict, paper = named(name, "strict", str(data)), named(name, "paper", str(data))
    assert strict[0] == paper[0] == problem
    assert (len(paper), len(strict)) == (num_paper, num_strict)
    assert len({one.problem_id for one in strict}) == len(strict)
    assert {one.kind for one in strict} <= set(BENCHMARKS[name].kinds)
    assert {one.domain for one in strict} == {BENCHMARKS[name].domain}
    assert named(name, "strict", str(data), limit=3) == strict[:3]


def test_integers_are_read_as_the_sets_write_them(data: Path) -> None:
    found = {
        name: [p.reference for p in named(name, data=str(data))] for name in ("aime24", "aime25", "gsm8k")
    }
    assert found["aime24"][1:3] == ["33", "66"]  # stored as 033 and 066
    assert found["aime25"][3] == "336"  # stored with a degree sign
    assert found["gsm8k"][:4] == ["0", "1001", "-2", "1003"]  # stored as 1,001


def test_hle_is_its_multiple_choice_part_and_all_of_its_text_by_name(data: Path) -> None:
    choices, everything = (named(name, data=str(data)) for name in ("hle_text", "hle_text_all"))
    assert {problem.kind for problem in choices} == {"choice"}
    assert Counter(problem.kind for problem in everything) == {"choice": 513, "exact": 1645}
    assert [one.question for one in everything if one.kind == "choice"] == [one.question for one in choices]


def test_the_number_of_problems_is_checked_after_filters(tmp_path: Path) -> None:
    records = [{**record, "image": ""} for record in hub.hle_records()]
    hub.write_file(tmp_path / "hle_text.parquet", records)
    wanted = r"513 problems of hle_text \(no image, multiple choice\) expected, 684 found; give the whole"
    with pytest.raises(ConfigError, match=rf"^cais/hle: {wanted}"):
        named("hle_text", data=str(tmp_path), limit=1)


def test_the_numbers_of_problems() -> None:
    assert {name: one.num_problems for name, one in BENCHMARKS.items()} == {
        "aime24": 30, "aime25": 30, "aime26": 30, "hmmt_feb25": 30, "hmmt_nov25": 30, "hmmt_feb26": 33, "math500": 500,
        "gsm8k": 1319, "gpqa_diamond": 198, "mmlu_pro": 12032, "hle_text": 513, "hle_text_all": 2158, "lcb_v5": 279,
        "lcb_v6": 175,
    }  # fmt: skip


# --- what is refused ----------------------------------------------------------------------------------------


def few(name: str, records: Sequence[dict[str, Any]], folder: Path) -> list[Problem]:
    """The problems of a data set of these records alone, as JSONL."""
    path = hub.write_jsonl(folder / "few.jsonl", records)
    benchmark = replace(BENCHMARKS[name], num_rows=len(records), num_problems=None)
    return benchmark.read(benchmark, [path])


RECORDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "aime24": hub.aime24_record,
    "aime26": hub.aime26_record,
    "hmmt_feb25": hub.hmmt_record,
    "math500": hub.math500_record,
    "gsm8k": hub.gsm8k_record,
    "gpqa_diamond": hub.gpqa_record,
    "mmlu_pro": hub.mmlu_pro_record,
    "hle_text": lambda index: hub.hle_record(index, "multipleChoice"),
    "lcb_v6": lambda index: hub.lcb_record(index, "2025-03-01T00:00:00", functional=True),
}
USED = {
    "aime24": ("id", "problem", "answer"),
    "aime26": ("id", "problem", "answer"),
    "hmmt_feb25": ("problem_idx", "problem", "answer"),
    "math500": ("unique_id", "problem", "answer"),
    "gsm8k": ("question", "answer"),
    "gpqa_diamond": ("Record ID", "Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 3"),
    "mmlu_pro": ("question_id", "question", "options", "answer", "answer_index"),
    "hle_text": ("id", "question", "image", "answer", "answer_type"),
    "lcb_v6": (
        "question_id",
        "question_content",
        "contest_date",
        "starter_code",
        "public_test_cases",
        "private_test_cases",
        "metadata",
    ),
}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, used in USED.items() for field in used])
def test_a_used_field_that_is_missing_or_of_another_type_is_told_with_its_row(
    tmp_path: Path, name: str, field: str
) -> None:
    good, record = RECORDS[name](0), RECORDS[name](1)
    assert len(few(name, [good, record], tmp_path)) == 2
    without = {key: value for key, value in record.items() if key != field}
    for broken, fault in (
        (without, f"{field} is missing"),
        ({**record, field: {"x": 1}}, f"{field} must be "),
    ):
        with pytest.raises(ConfigError) as error:
            few(name, [good, broken], tmp_path)
        assert f"few.jsonl:2: {fault}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("aime26", {"answer": 1000}, "answer must be an integer from 0 to 999; found '1000'"),
        ("aime26", {"answer": "12.5"}, "answer must be an integer from 0 to 999; found '12.5'"),
        ("aime26", {"answer": True}, "answer must be text; found True"),
        ("aime26", {"problem": " \n"}, "problem is empty"),
        ("gsm8k", {"answer": "She has 12."}, "answer must end in '#### ' and an integer"),
        ("gsm8k", {"answer": "12\n#### 1.5"}, "answer must end in '#### ' and an integer"),
        ("mmlu_pro", {"answer": "J"}, "answer 'J' and answer_index 1 name no one of 4 options"),
        ("mmlu_pro", {"answer": "E", "answer_index": 4}, "answer 'E' and answer_index 4 name no one of 4"),
        ("mmlu_pro", {"answer": "Z", "answer_index": -1}, "answer 'Z' and answer_index -1 name no one of 4"),
        ("mmlu_pro", {"answer": "A"}, "answer 'A' and answer_index 1 name no one of 4 options"),
        ("mmlu_pro", {"answer": "AB", "answer_index": 0}, "name no one of 4 options"),
        ("mmlu_pro", {"options": ["one"], "answer_index": 0}, "options must be 2 to 10; found 1"),
        ("mmlu_pro", {"options": ["x"] * 11}, "options must be 2 to 10; found 11"),
        ("mmlu_pro", {"options": ["x", None]}, "options must be a list of texts"),
        (
            "hle_text",
            {"answer_type": "essay"},
            "answer_type must be multipleChoice or exactMatch; found 'essay'",
        ),
        ("gpqa_diamond", {"Incorrect Answer 2": "\n"}, "Incorrect Answer 2 is empty"),
        ("lcb_v6", {"metadata": "[]"}, "metadata must be a JSON object as text; found '[]'"),
        ("lcb_v6", {"metadata": "{}"}, "metadata must name func_name where tests are functional"),
        ("lcb_v6", {"public_test_cases": "oh"}, "public_test_cases must be a JSON list as text; found 'oh'"),
        ("lcb_v6", {"contest_date": "March"}, "contest_date must be like 2025-01-31T00:00:00; found 'March'"),
    ],
)
def test_values_that_cannot_be_right_are_told(
    tmp_path: Path, name: str, change: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigError) as error:
        few(name, [RECORDS[name](0), {**RECORDS[name](1), **change}], tmp_path)
    assert "few.jsonl:2: " in str(error.value)
    assert fault in str(error.value)


@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"gsm8k"}))
def test_an_id_used_twice_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"few\.jsonl:2: id '.+' is already used in .*few\.jsonl:1$"):
        few(name, [RECORDS[name](0), RECORDS[name](0)], tmp_path)


def test_faults_come_at_once_with_the_wrong_number_of_rows(tmp_path: Path) -> None:
    records = [{**hub.aime26_record(i), "answer": -1, "problem": None} for i in range(12)]
    path = hub.write_jsonl(tmp_path / "aime26.jsonl", records)
    with pytest.raises(ConfigError) as error:
        named("aime26", data=str(tmp_path))
    told = str(error.value).split("\n")
    assert told[:2] == [
        f"{path}:1: problem must be text; found None",
        f"{path}:1: answer must be an integer from 0 to 999; found '-1'",
    ]
    assert len(told) == 21
    assert told[-1] == "... and 5 more"  # of 24 faults and one wrong number


def test_a_line_that_cannot_be_read_has_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "aime26.jsonl"
    hub.write_jsonl(path, map(hub.aime26_record, range(30)))
    path.write_text(path.read_text().replace('{"id": 4', "", 1))
    with pytest.raises(ConfigError) as error:
        named("aime26", data=str(tmp_path))
    assert str(error.value).split("\n") == [
        f"{path}:4: is not JSON: Expecting value (character 1); give one object per line"
    ]


@pytest.mark.parametrize("num", [0, 29, 31])
def test_the_number_of_rows_is_checked(tmp_path: Path, num: int) -> None:
    hub.write_jsonl(tmp_path / "aime26.jsonl", map(hub.aime26_record, range(num)))
    with pytest.raises(ConfigError, match=f"math-ai/aime26: 30 rows expected, {num} found"):
        named("aime26", data=str(tmp_path), limit=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(RECORDS)),
    record=st.dictionaries(
        st.sampled_from(sorted({field for used in USED.values() for field in used})),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.lists(st.text(max_size=5), max_size=4),
    ),
)
def test_any_record_is_a_problem_or_an_error_for_the_user(
    tmp_path: Path, name: str, record: dict[str, Any]
) -> None:
    try:
        found = few(name, [{**RECORDS[name](0), **record}], tmp_path)
    except ConfigError as error:
        assert "few.jsonl:1: " in str(error)  # noqa: PT017
    else:
        assert all(problem.question and problem.problem_id for problem in found)


# --- formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "record"),
    [("aime24", hub.aime24_record), ("hmmt_feb25", hub.hmmt_record), ("aime26", hub.aime26_record)],
)
def test_every_format_gives_the_same_problems(
    tmp_path: Path, name: str, record: Callable[[int], dict[str, Any]]
) -> None:
    found = []
    for suffix in (".parquet", ".jsonl", ".csv"):
        path = hub.write_file(tmp_path / suffix[1:] / (name + suffix), [record(i) for i in range(30)])
        found.append(named(name, data=str(path.parent)))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, suffix: str) -> None:
    path = hub.write_file(tmp_path / f"aime26{suffix}", [hub.aime26_record(i) for i in range(30)])
    before = named("aime26", data=str(tmp_path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert named("aime26", data=str(tmp_path)) == before


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("aime26.parquet", b"PAR1 and no more", "not a readable Parquet file"),
        ("aime26.csv", b"", "has no column id, problem, answer; it has none"),
        ("aime26.csv", b"id,problem\n1,two\n", "has no column answer; it has id, problem"),
        ("aime26.csv", b'id,problem,answer\n1,"two,3\n', "aime26.csv:1: answer must be text; found None"),
        ("aime26.csv", b"id,problem,answer\n1,two,3,4\n", "aime26.csv:1: has more cells than the header"),
        ("aime26.csv", b"id,problem,answer\n1,two\n", "aime26.csv:1: answer must be text; found None"),
        ("aime26.csv", b"id,problem,answer\n1,\xff,3\n", "is not UTF-8"),
        ("aime26.jsonl", b'{"id": 1}\n\n{', "aime26.jsonl:3: is not JSON"),
        ("aime26.jsonl", b"\xff\n", "aime26.jsonl:1: is not UTF-8 at byte 1"),
        ("aime26.jsonl", b"[1]\n", "aime26.jsonl:1: must be a JSON object; found [1]"),
        ("aime26.jsonl", b'{"id": 1, "id": 2}\n', "aime26.jsonl:1: has the key 'id' twice"),
        ("aime26.jsonl", b"[" * 100_000, "aime26.jsonl:1: is not JSON"),
    ],
)
def test_files_that_are_not_what_their_suffix_says(
    tmp_path: Path, file: str, content: bytes, fault: str
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        named("aime26", data=str(tmp_path))
    assert fault in str(error.value)


def test_a_csv_cell_beyond_all_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"id": 1, "problem": "x" * 200_000, "answer": 3}
    path = hub.write_file(tmp_path / "aime26.csv", [large])
    assert [len(row.text("problem")) for row in read([path], ("problem",))] == [200_000]
    monkeypatch.setattr(rows, "_MAX_CELL", 100_000)
    with pytest.raises(ConfigError, match=r"aime26\.csv: is not CSV after line 1 \(field larger"):
        list(read([path], ("problem",)))


def test_a_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"problem": texts}), tmp_path / "bad.parquet")
    with pytest.raises(ConfigError, match=r"bad\.parquet: is not UTF-8"):
        list(read([tmp_path / "bad.parquet"], ("problem",)))


def test_files_without_a_column_or_that_are_not_there(tmp_path: Path) -> None:
    path = hub.write_file(tmp_path / "aime26.parquet", [{"id": 1, "problem": "p"}])
    with pytest.raises(ConfigError, match="has no column answer; it has id, problem"):
        list(read([path], ("id", "problem", "answer")))
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read([tmp_path / "none.csv"], ()))


# --- HLE's questions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which?\n\nAnswer Choices:\nA. one\nB. two", ("one", "two")),
        ("Which?\n\nAnswer choices:\n\nA) one\nB) two\n", ("one", "two")),
        ("Which?\nAnswer Choices:\nA. one\n   and more\nB. two", ("one\n   and more", "two")),
        ("It says\nAnswer Choices:\nA. no\nWhich?\nAnswer Choices:\nA. one\nB. two", ("one", "two")),
        ("Which?\nAnswer Choices:\nA. one\nC. three\nB. two", ("one\nC. three", "two")),
        ("Which?\nAnswer Choices: see above", ()),
        ("Which?\nA. one\nB. two", ()),
        ("Which?\nAnswer Choices:\none\ntwo", ()),
        ("Which?\nAnswer Choices:\n", ()),
    ],
)
def test_options_of_an_hle_question(question: str, options: tuple[str, ...]) -> None:
    assert hle.options_of(question) == options


@pytest.mark.parametrize(
    ("answer_type", "answer", "kind", "num_options"),
    [
        ("multipleChoice", "C", "choice", 5),
        ("multipleChoice", "F", "choice", 0),  # five options were recognised, so one was not
        ("multipleChoice", "A, C", "exact", 0),
        ("exactMatch", "C", "exact", 0),
        ("exactMatch", "42", "math", 0),
        ("exactMatch", "-1,234.5", "math", 0),
        ("exactMatch", "3/4", "math", 0),
        ("exactMatch", r"$\frac{1}{2}$", "math", 0),
        ("exactMatch", "2^{10}", "math", 0),
        ("exactMatch", "H2O2", "exact", 0),
        ("exactMatch", "The Iliad, book 2", "exact", 0),
        ("exactMatch", "Yes", "exact", 0),
    ],
)
def test_how_an_hle_answer_is_compared(
    tmp_path: Path, answer_type: str, answer: str, kind: str, num_options: int
) -> None:
    record = {**hub.hle_record(1, "multipleChoice"), "answer": answer, "answer_type": answer_type}
    (problem,) = few("hle_text_all", [record], tmp_path)
    assert (problem.kind, problem.reference, len(problem.options)) == (kind, answer, num_options)


# --- by name ------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"there is no benchmark 'aime_26'; did you mean aime26\? All: aime24, "
    ):
        named("aime_26")


def test_the_table_lists_everything_once() -> None:
    found = benchmarks.table()
    assert tuple(entry.name for entry in found) == NAMES
    assert {entry.name for entry in found if entry.gated} == {"gpqa_diamond", "hle_text", "hle_text_all"}
    assert all(entry.licence and entry.source and entry.rows and entry.kinds for entry in found)


def test_the_documentation_lists_what_there_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for entry in benchmarks.table():
        source = f"[{entry.source}](https://huggingface.co/datasets/{entry.source})"
        cells = (
            f"`{entry.name}`",
            source + (", gated" if entry.gated else ""),
            entry.split,
            entry.licence,
            f"{entry.rows:,}",
            entry.kinds,
            entry.domain,
        )
        assert f"| {' | '.join(cells)} |" in text


def test_the_problems_of_the_documentation_load(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = text.partition("```json\n")[2].partition("```")[0]
    (tmp_path / "mine.jsonl").write_text(lines, encoding="utf-8")
    found = benchmarks.load(tmp_path / "mine.jsonl")
    assert [problem.kind for problem in found] == ["integer", "math", "choice", "exact", "code", "code"]


def test_a_configuration_selects_its_own_file_and_each_benchmark_once(data: Path, tmp_path: Path) -> None:
    own = hub.write_jsonl(
        tmp_path / "mine.jsonl",
        [{"id": i, "kind": "integer", "question": "1+1?", "answer": 2} for i in range(4)],
    )
    section = EvaluationSection(
        problems=str(own), benchmarks=("aime26", "gsm8k", "aime26"), data=str(data), limit=2
    )
    found = [problem.benchmark for problem in benchmarks.selected(section)]
    assert found == ["mine"] * 2 + ["aime26"] * 2 + ["gsm8k"] * 2
    assert benchmarks.selected(EvaluationSection()) == []
    hle = EvaluationSection(benchmarks=("hle_text",), data=str(data), preset="paper")
    assert len(benchmarks.selected(hle)) == FIRST["hle_text"][1]
    clash = own.rename(tmp_path / "aime26.jsonl")
    with pytest.raises(ConfigError, match="is named like the benchmark aime26"):
        benchmarks.selected(section.model_copy(update={"problems": str(clash)}))
