"""The statistics against scipy and by hand-made cases; intervals are `test_intervals`' and `test_coverage`'s."""

import numpy as np
import pytest
from scipy import stats

from veridistill.audit.shares import wilson
from veridistill.evaluation.statistics import (
    Gain,
    Running,
    by_question,
    describe,
    gain,
    majority_at_k,
    mean_pass_at_k,
    pass_at_1,
    pooled_gain,
    question_means,
    se_over_runs,
)
from veridistill.records import Attempt, GradeOutcome


def attempts(*rows: str) -> list[Attempt]:
    """One string per question: `1` right, `0` wrong, `?` not graded, `u` its reference cannot be read."""
    right: dict[str, GradeOutcome] = {
        "1": "pass",
        "0": "wrong",
        "?": "grader_error",
        "u": "unreadable_reference",
    }
    return [
        Attempt(f"p{p}", "bench", i, mark, right[mark])
        for p, row in enumerate(rows)
        for i, mark in enumerate(row)
    ]


@pytest.mark.parametrize(
    ("successes", "num"), [(0, 1), (1, 1), (0, 20), (3, 20), (10, 20), (20, 20), (500, 1234)]
)
def test_wilson_equals_scipy(successes: int, num: int) -> None:
    ours = wilson(successes, num)
    theirs = stats.binomtest(successes, num).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "num"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses(successes: int, num: int) -> None:
    with pytest.raises(ValueError, match="successes must be"):
        wilson(successes, num)


def test_pass_at_1_is_over_questions_in_points() -> None:
    result = pass_at_1(attempts("1111", "0000", "1100"))
    assert result.pass_at_1 == pytest.approx(50)
    assert result.se == pytest.approx(100 * np.std([1, 0, 0.5], ddof=1) / np.sqrt(3))
    assert (result.num_problems, result.samples) == (3, 4)


def test_repeating_samples_does_not_shrink_the_error() -> None:
    few, many = pass_at_1(attempts("1", "0", "1")), pass_at_1(attempts("1" * 50, "0" * 50, "1" * 50))
    assert few.se == pytest.approx(many.se)
    assert se_over_runs(attempts("1" * 50, "0" * 50, "1" * 50)) == 0  # and that is why it is not over runs


def test_what_could_not_be_graded_is_neither_right_nor_wrong() -> None:
    rows = attempts("1?", "??", "00")
    found = pass_at_1(rows)
    assert found.pass_at_1 == pytest.approx(50)
    assert (found.num_problems, found.samples) == (2, 2)
    assert question_means(rows) == {("bench", "p0"): 1.0, ("bench", "p2"): 0.0}
    nothing = pass_at_1(attempts("??"))
    assert (nothing.pass_at_1, nothing.se, nothing.num_problems) == (None, None, 0)
    assert majority_at_k(attempts("??")) is None


def test_running_question_by_question_ends_at_pass_at_1() -> None:
    rows, running = attempts("1?0", "??", "00", "111"), Running()
    assert running.pass_at_1 is None
    for question in by_question(rows).values():
        running.add(question)
    assert running.pass_at_1 == pytest.approx(pass_at_1(rows).pass_at_1)
    assert running.num_problems == 3


def test_one_question_has_no_error_and_none_is_refused() -> None:
    assert pass_at_1(attempts("10")).se is None
    with pytest.raises(ValueError, match="at least one attempt"):
        pass_at_1([])


def test_same_id_in_two_benchmarks_is_two_questions() -> None:
    pair = [Attempt("1", "a", 0, "x", "pass"), Attempt("1", "b", 0, "x", "wrong")]
    assert question_means(pair) == {("a", "1"): 1.0, ("b", "1"): 0.0}


def test_gain_equals_scipys_paired_interval() -> None:
    before, after = (
        question_means(attempts("1000", "0000", "1110", "0100")),
        question_means(attempts("1100", "0000", "1111", "1111")),
    )
    ours = gain(before, after)
    difference = np.array(list(after.values())) - np.array(list(before.values()))
    low, high = stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference))
    assert (ours.mean, ours.low, ours.high) == pytest.approx((100 * difference.mean(), 100 * low, 100 * high))


def test_gain_of_one_question_has_no_interval() -> None:
    assert gain({("b", "1"): 0.25}, {("b", "1"): 0.75}) == Gain(50.0, None, None, None, 1)


def test_gain_refuses_unpaired_questions_and_none() -> None:
    with pytest.raises(ValueError, match="same questions"):
        gain({("b", "1"): 0.25}, {("b", "2"): 0.75})
    with pytest.raises(ValueError, match="at least one question"):
        gain({}, {})


def test_pooled_gain_of_equal_runs_is_the_gain_of_one() -> None:
    before, after = {("b", "1"): 0.0, ("b", "2"): 0.5}, {("b", "1"): 0.5, ("b", "2"): 0.5}
    assert pooled_gain([(before, after)] * 3) == gain(before, after)


def test_pooled_gain_of_disjoint_runs_is_over_all_questions() -> None:
    first, second = ({("b", "1"): 0.0}, {("b", "1"): 1.0}), ({("b", "2"): 0.0}, {("b", "2"): 0.5})
    pooled = pooled_gain([first, second])
    assert (pooled.mean, pooled.num_problems) == (75.0, 2)
    assert pooled == gain(first[0] | second[0], first[1] | second[1])


def test_pass_at_k_and_majority() -> None:
    rows = attempts("1000", "0000", "1111")
    assert mean_pass_at_k(rows, 1) == pytest.approx(pass_at_1(rows).pass_at_1)
    assert mean_pass_at_k(rows, 2) == pytest.approx(100 * (0.5 + 0 + 1) / 3)
    assert majority_at_k(rows) == pytest.approx(100 / 3)
    with pytest.raises(ValueError, match="k must be between"):
        mean_pass_at_k(rows, 5)


def test_majority_ties_go_to_the_first_and_no_answer_never_wins() -> None:
    tie = [Attempt("p", "b", 1, "7", "pass"), Attempt("p", "b", 0, "8", "wrong")]
    assert majority_at_k(tie) == 0
    silent = [Attempt("p", "b", i, None, "no_answer") for i in range(3)]
    assert majority_at_k([*silent, Attempt("p", "b", 3, "7", "pass")]) == 100
    assert majority_at_k(silent) == 0


def test_samples_that_differ_vote_by_their_form() -> None:
    rows = [
        Attempt("p", "b", 0, "8", "wrong"),
        Attempt("p", "b", 1, "07", "pass"),
        Attempt("p", "b", 2, "7", "pass"),
        Attempt("p", "b", 3, "8", "sandbox_error"),
    ]
    assert majority_at_k(rows) == 0
    assert majority_at_k(rows, lambda attempt: int(attempt.answer or 0)) == 100
    assert describe(rows).majority_at_k == 0
    assert describe(rows, lambda attempt: int(attempt.answer or 0)).majority_at_k == 100


def test_the_error_over_runs_is_that_of_the_runs_means() -> None:
    rows = attempts("110", "100", "111", "010")
    runs = [np.mean([row[i] == "1" for row in ("110", "100", "111", "010")]) for i in range(3)]
    assert se_over_runs(rows) == pytest.approx(100 * np.std(runs, ddof=1) / np.sqrt(3))
    assert se_over_runs(attempts("1", "0")) is None


def test_a_missing_grade_does_not_move_a_run() -> None:
    """Were run 1 the mean of its graded samples, it would be 100 where run 0 is 50, on the same abilities."""
    assert se_over_runs(attempts("11", "0?")) == pytest.approx(0)


def test_pass_at_k_leaves_out_questions_with_too_few_grades() -> None:
    rows = attempts("100", "1??", "000")
    assert mean_pass_at_k(rows, 2) == pytest.approx(100 * (2 / 3) / 2)
    assert mean_pass_at_k(rows, 1) == pytest.approx(100 * (1 / 3 + 1 + 0) / 3)


def test_a_description_counts_everything_apart() -> None:
    rows = [
        Attempt("p", "b", 0, "7", "pass", completion_tokens=10),
        Attempt("p", "b", 1, None, "no_answer", finish_reason="length", completion_tokens=20),
        Attempt("p", "b", 2, None, "refused", finish_reason="refused"),
        Attempt("p", "b", 3, "7", "grader_error", completion_tokens=10),
        *(Attempt("q", "b", i, "7", "sandbox_error", completion_tokens=10) for i in range(4)),
    ]
    found = describe(rows)
    assert found.pass_at_1 == pytest.approx(100 / 3)
    assert (found.num_problems, found.ungraded_problems, found.samples) == (1, 1, 4)
    assert (found.truncated, found.no_answer, found.refused, found.ungraded) == (12.5, 12.5, 12.5, 62.5)
    assert found.tokens == 10
    assert list(found.pass_at_k) == [1, 2, 3]
    assert found.pass_at_k[3] == 100
    assert found.majority_at_k == 100
    with pytest.raises(ValueError, match="at least one attempt"):
        describe([])


def test_a_problem_whose_reference_cannot_be_read_is_left_out_whole() -> None:
    """Samples without an answer, or with just the reference's text, are graded all the same: that must not count."""
    rows, others = attempts("11", "01", "1u0"), attempts("11", "01")
    found, without = describe(rows), describe(others)
    assert (found.unreadable_problems, without.unreadable_problems) == (1, 0)
    for name in ("pass_at_1", "low", "high", "se_runs", "num_problems", "pass_at_k", "majority_at_k"):
        assert getattr(found, name) == getattr(without, name), name
    assert (found.ungraded, found.ungraded_problems) == (0, 0)
    running = Running()
    for question in by_question(rows).values():
        running.add(question)
    assert running.pass_at_1 == without.pass_at_1
    nothing = describe(attempts("u0", "uu"))
    assert (nothing.pass_at_1, nothing.num_problems, nothing.unreadable_problems) == (None, 0, 2)
