"""GPQA's shuffle: a permutation, tied to the record, blind to the file's order, and balanced over the letters."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation import hub
from veridistill.domains.options import LETTERS
from veridistill.evaluation.benchmarks import gpqa, named
from veridistill.records import Problem

IDS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=250, unique=True)


def load(folder: Path, records: list[hub.Record]) -> dict[str, Problem]:
    hub.write_file(folder / "Idavidrein/gpqa/gpqa_diamond.csv", records)
    return {problem.problem_id: problem for problem in named("gpqa_diamond", data=str(folder))}


@pytest.fixture(scope="module")
def records() -> list[hub.Record]:
    return [hub.gpqa_record(i) for i in range(198)]


@pytest.fixture(scope="module")
def problems(records: list[hub.Record], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Problem]:
    return load(tmp_path_factory.mktemp("gpqa"), records)


def test_each_option_is_shown_once_and_the_letter_is_the_right_one(
    records: list[hub.Record], problems: dict[str, Problem]
) -> None:
    for record in records:
        problem = problems[record["Record ID"]]
        right = record["Correct Answer"].strip()
        wrong = [record[f"Incorrect Answer {i}"].strip() for i in (1, 2, 3)]
        assert sorted(problem.options) == sorted([right, *wrong])
        assert problem.options[LETTERS.index(problem.reference)] == right
        shown = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", problem.options, strict=True))
        assert problem.question == f"{record['Question'].strip()}\n\n{shown}"


def test_every_letter_is_right_equally_often(problems: dict[str, Problem]) -> None:
    counts = Counter(problem.reference for problem in problems.values())
    assert sorted(counts) == ["A", "B", "C", "D"]
    assert sorted(counts.values()) == [49, 49, 50, 50]


def test_the_wrong_options_are_shuffled_too(problems: dict[str, Problem]) -> None:
    """Where the first wrong option of the file stands among the three: about 66 times in each place."""
    places = Counter(
        [o for o in problem.options if o.startswith("wrong")].index(
            next(o for o in problem.options if o.startswith("wrong one"))
        )
        for problem in problems.values()
    )
    assert len(places) == 3
    assert all(40 < num < 92 for num in places.values())  # 66 ± 4 standard deviations


def test_neighbours_in_the_file_do_not_follow_a_pattern(
    records: list[hub.Record], problems: dict[str, Problem]
) -> None:
    letters = [LETTERS.index(problems[record["Record ID"]].reference) for record in records]
    steps = Counter((after - before) % 4 for before, after in pairwise(letters))
    assert all(25 < steps[step] < 74 for step in range(4))  # 49 ± 4 standard deviations


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_file_changes_nothing(
    tmp_path: Path, records: list[hub.Record], problems: dict[str, Problem], seed: int
) -> None:
    wrong = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
    backwards = [  # nor does the order of the wrong answers in a record
        {**record, **dict(zip(wrong, [record[name] for name in reversed(wrong)], strict=True))}
        for record in records
    ]
    mixed = random.Random(seed).sample(backwards, len(records))
    assert load(tmp_path, mixed) == problems


def test_a_shuffle_that_is_published_stays(problems: dict[str, Problem]) -> None:
    """Replies are kept by the question that was asked: another order would ask everything anew."""
    first = problems["rec00000000000000"]
    assert first.reference == "C"
    assert first.options == ('wrong "two" of 0', "wrong one, of 0", "right 0", "wrong three of 0")


@given(IDS, st.integers(2, 10), st.randoms())
def test_places_are_balanced_and_blind_to_the_order(ids: list[str], num: int, random: random.Random) -> None:
    places = gpqa.right_places(ids, num)
    mixed = list(ids)
    random.shuffle(mixed)
    assert gpqa.right_places(mixed, num) == places
    counts = Counter(places.values())
    assert max(counts[place] for place in range(num)) - min(counts[place] for place in range(num)) <= 1


@given(st.text(min_size=1), st.lists(st.text(), min_size=4, max_size=4), st.integers(0, 3))
def test_a_shuffled_problem_has_its_options_and_its_right_one(
    problem_id: str, options: list[str], place: int
) -> None:
    before = Problem(problem_id, "gpqa_diamond", "choice", "Which?", "A", "science", tuple(options))
    after = gpqa.shuffled(before, place)
    assert sorted(after.options) == sorted(options)
    assert after.options[place] == options[0]
    assert after.reference == "ABCD"[place]
    backwards = Problem(
        problem_id, "gpqa_diamond", "choice", "Which?", "A", "science", (options[0], *options[:0:-1])
    )
    assert gpqa.shuffled(backwards, place) == after
