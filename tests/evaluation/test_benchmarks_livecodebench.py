"""LiveCodeBench: windows of months, tests left in the file, and files that are larger than memory should be."""

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluation import hub
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks import BENCHMARKS, named
from veridistill.evaluation.benchmarks.benchmark import Preset
from veridistill.grading.cases import decode_cases
from veridistill.records import Problem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lcb")
    hub.write(folder, "lcb_v6")
    return folder


def recorded(problem: Problem) -> hub.Record:
    """The record that a problem's tests point to, read as `programs` does."""
    path, offset, length = problem.tests.removeprefix("@").removeprefix("private:").rsplit(":", 2)
    with open(path, "rb") as file:
        file.seek(int(offset))
        raw = file.read(int(length))
    assert raw[:1] + raw[-1:] == b"{}"
    record = json.loads(raw)
    assert isinstance(record, dict)
    return record


V5 = ["2024-08", "2024-09", "2024-10", "2024-11", "2024-12", "2025-01"]
V6 = ["2025-01", "2025-02", "2025-03", "2025-04"]


@pytest.mark.parametrize(
    ("name", "preset", "months", "files"),
    [
        ("lcb_v5", "paper", V5, range(1, 6)),
        ("lcb_v5", "strict", V5, range(1, 6)),
        ("lcb_v6", "paper", V6, range(1, 7)),
        ("lcb_v6", "strict", V6, range(6, 7)),
    ],
)
def test_a_window_holds_every_contest_of_its_months_and_files_and_no_other(
    data: Path, name: str, preset: Preset, months: list[str], files: range
) -> None:
    found = named(name, preset, str(data))
    dates = Counter(recorded(problem)["contest_date"][:7] for problem in found)
    folder = data / "livecodebench/code_generation_lite"
    paths = [folder / f"test{number if number > 1 else ''}.jsonl" for number in files]
    lines = [line for path in paths for line in path.read_text().splitlines()]
    there = Counter(json.loads(line)["contest_date"][:7] for line in lines)
    assert dates == {month: there[month] for month in months}
    assert all(there[month] for month in months)


def test_the_strict_release_6_is_one_file_whole_and_shares_nothing_with_release_5(
    data: Path, tmp_path: Path
) -> None:
    def ids(name: str, preset: Preset) -> set[str]:
        return {problem.problem_id for problem in named(name, preset, str(data))}

    assert ids("lcb_v5", "paper") & ids("lcb_v6", "paper"), "the paper's windows share January 2025"
    assert not ids("lcb_v5", "strict") & ids("lcb_v6", "strict")
    assert len(ids("lcb_v6", "strict")) == 175
    assert BENCHMARKS["lcb_v6"].source.files == ("test6.jsonl",)


def test_a_problem_shows_its_starter_code_and_points_to_its_record(data: Path) -> None:
    found = named("lcb_v6", "strict", str(data))
    for problem in found:
        record = recorded(problem)
        assert record["question_id"] == problem.problem_id
        assert problem.question.startswith(record["question_content"])
        assert (problem.kind, problem.domain, problem.reference) == ("code", "code", "")
        if record["starter_code"]:
            starter = "class Solution:\n    def total(self, xs: List[int], k: int) -> int:"
            assert problem.question.endswith(f"\n\nStart from this code:\n```python\n{starter}\n```")
        else:
            assert problem.question == record["question_content"]
    assert Counter(bool(recorded(problem)["starter_code"]) for problem in found).keys() == {True, False}


@pytest.mark.parametrize("name", ["lcb_v5", "lcb_v6"])
def test_the_papers_preset_hides_starter_code_and_runs_private_tests_alone(data: Path, name: str) -> None:
    for problem in named(name, "paper", str(data), limit=4):
        record = recorded(problem)
        assert problem.question == record["question_content"]
        assert problem.tests.startswith("@private:/")
        assert len(decode_cases(problem.tests).cases) == 1
        official = decode_cases("@" + problem.tests.removeprefix("@private:"))
        assert len(official.cases) == 2, "one public, one private"


def few(folder: Path, *lines: bytes) -> list[Problem]:
    path = folder / "test6.jsonl"
    path.write_bytes(b"".join(lines))
    num = sum(bool(line.strip()) for line in lines)
    benchmark = replace(BENCHMARKS["lcb_v6"].under("paper"), num_rows=num)
    return benchmark.read(benchmark, [path])


def line(index: int, date: str = "2025-03-01T00:00:00", end: bytes = b"\n") -> bytes:
    return json.dumps(hub.lcb_record(index, date), ensure_ascii=False).encode() + end


def test_offsets_are_bytes_whatever_ends_a_line(tmp_path: Path) -> None:
    accented = line(1).replace(b"Title", "Tïtlé\u2028".encode())
    found = few(
        tmp_path, accented, b"\n", line(2, end=b"\r\n"), line(3, "2023-05-01T00:00:00"), line(4, end=b"")
    )
    assert [recorded(problem)["question_id"] for problem in found] == ["abc1_a", "abc2_a", "abc4_a"]


def test_a_record_beside_the_window_is_counted_and_no_more(tmp_path: Path) -> None:
    broken = b'{"contest_date": "2023-05-01", "private_test_cases": \n'
    assert [problem.problem_id for problem in few(tmp_path, line(1), broken)] == ["abc1_a"]
    with pytest.raises(ConfigError, match=r"test6\.jsonl:2: is not JSON"):
        few(tmp_path, line(1), broken.replace(b"2023", b"2025").replace(b"-05-", b"-03-"))


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (b"{}\n", "test6.jsonl:2: contest_date is missing"),
        (
            b'{"contest_date": "May"}\n',
            "test6.jsonl:2: contest_date must be like 2025-01-31T00:00:00; found 'May'",
        ),
        (b'{"contest_date": "2025-03-32x"}\n', "test6.jsonl:2: contest_date must be like"),
    ],
)
def test_a_record_without_a_date_is_told(tmp_path: Path, broken: bytes, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        few(tmp_path, line(1), broken)
    assert fault in str(error.value)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "test6.jsonl").mkdir()
    benchmark = BENCHMARKS["lcb_v6"]
    with pytest.raises(ConfigError, match=r"test6\.jsonl: cannot be read \(Is a directory\)"):
        benchmark.read(benchmark, [tmp_path / "test6.jsonl"])


def test_a_date_in_the_text_of_a_question_is_none(tmp_path: Path) -> None:
    """`lcb_record` quotes a date of 1999 in its question."""
    assert b'\\"contest_date\\": \\"1999-01\\"' in line(1)
    swapped = dict(reversed(hub.lcb_record(1, "2025-03-01T00:00:00").items()))
    found = few(tmp_path, line(2), json.dumps(swapped).encode())
    assert [problem.problem_id for problem in found] == ["abc2_a", "abc1_a"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Twelve lines of 4 MB, half of them wanted: a few lines' worth is held at once, not 48 MB."""
    size = 4_000_000
    lines = []
    for index in range(12):
        record = hub.lcb_record(index, "2025-03-01" if index % 2 else "2023-03-01")
        lines.append(json.dumps({**record, "private_test_cases": "x" * size}).encode() + b"\n")
    path = tmp_path / "test6.jsonl"
    path.write_bytes(b"".join(lines))
    del lines
    benchmark = replace(BENCHMARKS["lcb_v6"].under("paper"), num_rows=12)
    tracemalloc.start()
    try:
        found = benchmark.read(benchmark, [path])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 6
    assert peak < 5 * size


def test_all_files_of_the_release_are_needed(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "livecodebench/code_generation_lite"
    folder.mkdir(parents=True)
    for number in ("", "2", "3", "4"):
        source = data / "livecodebench/code_generation_lite" / f"test{number}.jsonl"
        (folder / source.name).symlink_to(source)
    with pytest.raises(
        ConfigError, match=r"lcb_v5: .* holds no test5\.jsonl; https://huggingface\.co/datasets/live"
    ):
        named("lcb_v5", data=str(tmp_path))
    (folder / "test5.jsonl").write_bytes(line(1))
    with pytest.raises(ConfigError, match="880 rows expected, 714 found"):
        named("lcb_v5", data=str(tmp_path))


def test_the_strict_release_6_may_be_one_file_of_lines_under_its_name(tmp_path: Path, data: Path) -> None:
    (tmp_path / "lcb_v6.jsonl").symlink_to(data / "livecodebench/code_generation_lite/test6.jsonl")
    assert len(named("lcb_v6", data=str(tmp_path))) == 175
    with pytest.raises(ConfigError, match="does not hold it"):
        named("lcb_v6", "paper", data=str(tmp_path))


def test_one_file_under_the_benchmarks_name_is_no_release(tmp_path: Path) -> None:
    (tmp_path / "lcb_v5.jsonl").write_bytes(line(1))
    with pytest.raises(ConfigError, match=r"does not hold it; set .*/test5\.jsonl$"):
        named("lcb_v5", data=str(tmp_path))
