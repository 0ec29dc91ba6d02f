"""The public benchmarks: whole data sets in their exact formats, and what is refused, with its place."""

import json
import math
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
from veridistill.evaluation.benchmarks import BENCHMARKS, NAMES, hle, mmlu, named, rows
from veridistill.evaluation.benchmarks.question import without_code
from veridistill.evaluation.benchmarks.rows import read
from veridistill.records import Problem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local copy of everything."""
    folder = tmp_path_factory.mktemp("hub")
    for name in {(one.source.hub_id, one.source.files): one.name for one in BENCHMARKS.values()}.values():
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
    "svamp": (
        Problem("chal-0", "svamp", "integer", "A pack costs 0 dollars. How much do 2 packs cost?", "0"),
        300,
        300,
    ),
    "mmlu": (
        Problem(
            "astronomy-1",
            "mmlu",
            "choice",
            "What holds of 0?\n\nA. w of 0\nB. x of 0\nC. y of 0\nD. z of 0",
            "A",
            "science",
            ("w of 0", "x of 0", "y of 0", "z of 0"),
        ),
        14042,
        14042,
    ),
    "arc_challenge": (
        Problem(
            "Mercury_0",
            "arc_challenge",
            "choice",
            "Which warms 0?\n\nA. sun of 0\nB. soil of 0\nC. sea of 0",
            "A",
            "science",
            ("sun of 0", "soil of 0", "sea of 0"),
        ),
        1172,
        1172,
    ),
    "mbpp": (
        Problem(
            "11",
            "mbpp",
            "code",
            "Write a function to add 11 to a number.\n\nYour code should pass these tests:\n```python\n"
            "assert add(0) == 11\nassert add(1) == 12\nassert add(2) == 13\n```",
            "",
            "code",
            tests=json.dumps(
                {
                    "kind": "asserts",
                    "entry": "add",
                    "tests": ["assert add(0) == 11", "assert add(1) == 12", "assert add(2) == 13"],
                    "setup": "",
                    "solution": "def add(n):\r\n  return n + 11 ",
                }
            ),
        ),
        500,
        500,
    ),
    "humaneval": (
        Problem(
            "HumanEval/0",
            "humaneval",
            "code",
            "Complete this Python function:\n```python\nfrom typing import List\n\n\n"
            "def shift(numbers: List[int]) -> List[int]:\n"
            '    """ Add 0 to each.\n    >>> shift([0])\n    [0]\n    """\n```',
            "",
            "code",
            tests=json.dumps(
                {
                    "kind": "asserts",
                    "entry": "shift",
                    "prompt": hub.humaneval_record(0)["prompt"],
                    "tests": [hub.humaneval_record(0)["test"], "check(shift)"],
                    "solution": hub.humaneval_record(0)["prompt"] + "    return [n + 0 for n in numbers]\n",
                }
            ),
        ),
        164,
        164,
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
        "lcb_v6": 175, "svamp": 300, "mmlu": 14042, "arc_challenge": 1172, "mbpp": 500, "mbpp_sanitized": 257,
        "humaneval": 164,
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
    "svamp": hub.svamp_record,
    "mmlu": hub.mmlu_record,
    "arc_challenge": hub.arc_record,
    "mbpp": lambda index: hub.mbpp_record(11 + index),
    "mbpp_sanitized": lambda index: hub.mbpp_sanitized_record(11 + index),
    "humaneval": hub.humaneval_record,
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
    "svamp": ("ID", "Body", "Question", "Answer"),
    "mmlu": ("question", "subject", "choices", "answer"),
    "arc_challenge": ("id", "question", "choices", "answerKey"),
    "mbpp": ("task_id", "text", "code", "test_list", "test_setup_code"),
    "mbpp_sanitized": ("task_id", "prompt", "code", "test_list", "test_imports"),
    "humaneval": ("task_id", "prompt", "canonical_solution", "test", "entry_point"),
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
        ("svamp", {"Answer": "many"}, "Answer must be a number; found 'many'"),
        ("svamp", {"Answer": "1e3"}, "Answer must be a number; found '1e3'"),
        ("mmlu", {"subject": "law"}, "subject must be one of abstract_algebra, "),
        ("mmlu", {"answer": 4}, "answer must be an index from 0 to 3 or a letter; found 4"),
        ("mmlu", {"answer": "E"}, "answer must be an integer; found 'E'"),
        ("mmlu", {"answer": "AB"}, "answer must be an integer; found 'AB'"),
        ("mmlu", {"choices": ["w", "x", "y"]}, "choices must be 4; found 3"),
        ("arc_challenge", {"answerKey": "F"}, "answerKey 'F' must be one of the labels 1, 2, 3, 4"),
        (
            "arc_challenge",
            {"choices": {"text": ["w", "x"], "label": ["A"]}},
            "choices must be text and label, two lists of texts of the same length; found {",
        ),
        ("mbpp", {"test_list": []}, "test_list must be a non-empty list of Python texts; found []"),
        (
            "mbpp",
            {"test_list": ["assert add(1) == 2", "assert add(1 == 2"]},
            "test_list: item 2 is not Python: '(' was never closed (line 1); found 'assert add(1 == 2'",
        ),
        ("mbpp", {"test_list": ["assert sub(1) == 2"]}, "code defines no function that test_list calls"),
        ("mbpp", {"code": "def add(n) return n"}, "code is not Python: expected ':' (line 1)"),
        ("mbpp", {"test_setup_code": "root ="}, "test_setup_code is not Python: invalid syntax (line 1)"),
        ("mbpp_sanitized", {"test_imports": ["import"]}, "test_imports is not Python: "),
        (
            "humaneval",
            {"entry_point": "move"},
            "prompt does not define move, which entry_point names",
        ),
        ("humaneval", {"entry_point": "a b"}, "entry_point must name the function that the tests call"),
        ("humaneval", {"test": "def check(:"}, "test: item 1 is not Python: "),
        ("humaneval", {"canonical_solution": "  return [\n"}, "canonical_solution is not Python: "),
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


@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"gsm8k", "mmlu"}))
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


# --- local copies that are not the Hub's split --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "records"),
    [
        ("gsm8k", "gsm8k_test.jsonl", [hub.gsm8k_record(i) for i in range(1319)]),
        ("mbpp", "mbpp.jsonl", [hub.mbpp_record(i) for i in range(1, 975)]),
    ],
)
def test_a_file_of_the_original_stands_in_for_the_split(
    tmp_path: Path, data: Path, name: str, file: str, records: list[dict[str, Any]]
) -> None:
    hub.write_jsonl(tmp_path / file, records)
    assert named(name, data=str(tmp_path)) == named(name, data=str(data))


def test_all_of_the_edited_problems_of_mbpp_hold_the_split(tmp_path: Path) -> None:
    hub.write_jsonl(tmp_path / "mbpp_sanitized.jsonl", map(hub.mbpp_sanitized_record, range(254, 681)))
    found = named("mbpp_sanitized", data=str(tmp_path))
    assert [one.problem_id for one in found] == [str(task) for task in range(254, 511)]


# --- topics -------------------------------------------------------------------------------------------------


def test_one_topic_or_group_of_mmlu(data: Path) -> None:
    physics = named("mmlu:high_school_physics", data=str(data))
    everything = named("mmlu", data=str(data))
    assert {one.benchmark for one in physics} == {"mmlu:high_school_physics"}
    assert [replace(one, benchmark="mmlu") for one in physics] == everything[1::3]
    assert len(named("mmlu:science", data=str(data))) == len(everything[1::3]) + len(everything[::3])
    assert len(named("mmlu:humanities", data=str(data), limit=5)) == 5


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            "mmlu:high_school_phisics",
            r"mmlu has no topic 'high_school_phisics'; did you mean mmlu:high_school",
        ),
        (
            "mmlu:",
            r"mmlu has no topic ''; groups: stem, humanities, social_sciences, other, science; topics: ",
        ),
        ("gsm8k:algebra", r"gsm8k:algebra: gsm8k has no topics to choose from; name it alone: gsm8k"),
        ("mmlo:stem", r"there is no benchmark 'mmlo:stem'; did you mean mmlu\?"),
    ],
)
def test_a_topic_that_is_not_there(name: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^{fault}"):
        named(name)


def test_every_topic_of_mmlu_is_in_one_group() -> None:
    groups = [topics for name, topics in mmlu.GROUPS.items() if name != "science"]
    assert len(mmlu.TOPICS) == len(set(mmlu.TOPICS)) == sum(map(len, groups)) == 57
    assert set(mmlu.GROUPS["science"]) < set(mmlu.TOPICS)


OTHER_FIELDS = {
    "question": "Which?",
    "options": ["a", "b", "c", "d"],
    "answer": "C",
    "topic": "astronomy",
    "id": 7,
}


def test_a_part_of_mmlu_bears_the_name_of_its_file(tmp_path: Path) -> None:
    lost = {**OTHER_FIELDS, "options": ["a", "b", "c", math.nan], "topic": "college_physics"}
    hub.write_jsonl(tmp_path / "mmlu_science.jsonl", [OTHER_FIELDS, lost, OTHER_FIELDS])
    found = named("mmlu", data=str(tmp_path))
    assert [one.problem_id for one in found] == ["astronomy-1", "college_physics-1", "astronomy-2"]
    assert {one.benchmark for one in found} == {"mmlu_science"}
    assert [one.reference for one in found] == ["C"] * 3
    assert found[1].options[3] == "None", "which pandas takes for a missing value"
    (physics,) = named("mmlu:college_physics", data=str(tmp_path))
    assert (physics.benchmark, physics.problem_id) == ("mmlu_science:college_physics", "college_physics-1")
    with pytest.raises(
        ConfigError, match="holds no question of mmlu_science:virology; its topics are astronomy"
    ):
        named("mmlu:virology", data=str(tmp_path))
    hub.write_jsonl(tmp_path / "mmlu_science.jsonl", [{**OTHER_FIELDS, "topic": "philosophy"}])
    with pytest.raises(
        ConfigError, match=r"mmlu_science\.jsonl:1: topic must be one of anatomy, .*'philosophy'"
    ):
        named("mmlu", data=str(tmp_path))


def test_a_part_under_the_name_of_the_whole_is_refused(tmp_path: Path) -> None:
    hub.write_jsonl(tmp_path / "mmlu.jsonl", [OTHER_FIELDS])
    with pytest.raises(ConfigError, match="cais/mmlu: 14,042 rows expected, 1 found"):
        named("mmlu", data=str(tmp_path))


# --- numbers and labels -------------------------------------------------------------------------------------


def test_answers_and_labels_as_the_small_sets_write_them(data: Path, tmp_path: Path) -> None:
    found = named("svamp", data=str(data))
    assert [one.reference for one in found[:3]] == ["0", "2", "4"]  # stored as 2.0
    (half,) = few("svamp", [{**hub.svamp_record(1), "Answer": 2.5}], tmp_path)
    assert (half.kind, half.reference) == ("math", "2.5")
    digits = [one for one in named("arc_challenge", data=str(data)) if one.problem_id == "Mercury_8"]
    assert [(one.reference, len(one.options)) for one in digits] == [("D", 5)]  # stored as 4


def test_what_runs_before_the_tests_is_shown(tmp_path: Path) -> None:
    record = hub.mbpp_record(11) | {
        "code": "class Node: pass\r\ndef add(n): return n",
        "test_setup_code": "root = Node()\r\n",
        "test_list": ["assert add(root) is root"],
    }
    (problem,) = few("mbpp", [record], tmp_path)
    assert problem.question.endswith("```python\nroot = Node()\nassert add(root) is root\n```")
    assert without_code(problem.question) == record["text"]


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
    assert [problem.kind for problem in found] == [
        *("integer", "math", "choice", "exact", "code", "code", "code", "choice"),
    ]


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
