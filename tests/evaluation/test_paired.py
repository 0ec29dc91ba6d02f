"""Paired differences: against scipy, by hand-made cases, and the bootstrap by its laws."""

import numpy as np
import pytest
from scipy import stats

from veridistill.evaluation import paired
from veridistill.evaluation.paired import Difference, compare, percentile_interval
from veridistill.records import Attempt, GradeOutcome


def exam(benchmark: str, *rows: str) -> list[Attempt]:
    """One string per question: `1` right, `0` wrong, `?` not graded, `u` its reference cannot be read."""
    right: dict[str, GradeOutcome] = {
        "1": "pass",
        "0": "wrong",
        "?": "sandbox_error",
        "u": "unreadable_reference",
    }
    return [
        Attempt(f"p{p}", benchmark, i, mark, right[mark])
        for p, row in enumerate(rows)
        for i, mark in enumerate(row)
    ]


def drawn(benchmark: str, num: int, seed: int, shift: float = 0.1) -> tuple[list[Attempt], list[Attempt]]:
    rng = np.random.default_rng(seed)
    ability = rng.beta(0.8, 0.8, num)
    rows = [
        ["".join("01"[int(x)] for x in rng.random(10) < p) for p in np.clip(ability + by, 0, 1)]
        for by in (0, shift)
    ]
    return exam(benchmark, *rows[0]), exam(benchmark, *rows[1])


def difference(found: Difference | None) -> Difference:
    assert found is not None
    return found


def per_question(
    before: list[Attempt], after: list[Attempt]
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    means = [
        np.array([a.correct for a in side], float).reshape(-1, 10).mean(axis=1) for side in (before, after)
    ]
    return np.asarray(means[1] - means[0])


def test_a_benchmark_equals_scipys_paired_interval() -> None:
    before, after = drawn("aime", 30, 1)
    found = difference(compare(before, after, draws=200).benchmarks["aime"])
    d = per_question(before, after)
    low, high = stats.t.interval(0.95, 29, d.mean(), stats.sem(d))
    assert (found.mean, found.low, found.high) == pytest.approx((100 * d.mean(), 100 * low, 100 * high))
    assert found.after - found.before == pytest.approx(found.mean)
    assert (found.num_problems, found.left_out) == (30, 0)


def test_the_bootstrap_equals_scipys_within_its_noise() -> None:
    before, after = drawn("aime", 60, 2)
    found = difference(compare(before, after).benchmarks["aime"])
    theirs = stats.bootstrap(
        (per_question(before, after),),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx(
        (100 * theirs.low, 100 * theirs.high), abs=0.35
    )


def test_the_sum_of_two_benchmarks_is_welchs() -> None:
    one, two = drawn("aime", 30, 3), drawn("hmmt", 20, 4, 0.3)
    found = compare(one[0] + two[0], one[1] + two[1], {"aime": "math", "hmmt": "math"})
    total = found.domains["math"].total
    assert total is not None
    a, b = per_question(*one), per_question(*two)
    # a sum is a difference from the negated other: scipy's own interval for unequal variances
    low, high = stats.ttest_ind(a, -b, equal_var=False).confidence_interval()
    assert (total.low, total.high) == pytest.approx((100 * low, 100 * high))
    assert total.sum == pytest.approx(100 * (a.mean() + b.mean()))
    assert total.mean == pytest.approx(total.sum / 2)
    assert total.benchmarks == ("aime", "hmmt")
    assert total.low is not None
    assert total.bootstrap_low is not None
    assert abs(total.bootstrap_low - total.low) < 2
    pooled = difference(found.domains["math"].pooled)
    assert pooled == found.pooled
    assert pooled.low is not None
    assert pooled.bootstrap_low is not None
    assert abs(pooled.bootstrap_low - pooled.low) < 2
    assert pooled.mean == pytest.approx(100 * np.concatenate([a, b]).mean())


def test_benchmarks_are_drawn_apart() -> None:
    """Two like benchmarks: their sum is √2 times as uncertain as one of them; drawn in step it would be twice."""
    one, two = drawn("aime", 40, 9), drawn("hmmt", 40, 9)
    found = compare(one[0] + two[0], one[1] + two[1], {"aime": "math", "hmmt": "math"})
    single, total = difference(found.benchmarks["aime"]), found.domains["math"].total
    assert total is not None
    assert single.bootstrap_high is not None
    assert single.bootstrap_low is not None
    assert total.bootstrap_high is not None
    assert total.bootstrap_low is not None
    ratio = (total.bootstrap_high - total.bootstrap_low) / (single.bootstrap_high - single.bootstrap_low)
    assert ratio == pytest.approx(2**0.5, abs=0.1)


def test_the_same_seed_gives_the_same_interval_and_order_does_not_matter_to_a_benchmark() -> None:
    one, two = drawn("aime", 30, 5), drawn("hmmt", 30, 6)
    both = one[0] + two[0], one[1] + two[1]
    assert compare(*both, draws=500) == compare(*both, draws=500)
    other = compare(*both, draws=500, seed=1)
    assert other != compare(*both, draws=500)
    assert compare(*one, draws=500).benchmarks["aime"] == compare(*both, draws=500).benchmarks["aime"]


def test_what_has_no_grade_on_one_side_is_left_out_of_both_and_counted() -> None:
    found = difference(compare(exam("b", "11", "1?", "??"), exam("b", "00", "0?", "11")).pooled)
    assert (found.before, found.after, found.mean) == (100, 0, -100)
    assert (found.num_problems, found.left_out) == (2, 1)
    turned = difference(compare(exam("b", "00", "0?", "11"), exam("b", "11", "1?", "??")).pooled)
    assert (turned.mean, turned.num_problems, turned.left_out) == (100, 2, 1)
    nothing = compare(exam("b", "??"), exam("b", "11"), {"b": "code"})
    assert nothing.pooled is nothing.benchmarks["b"] is nothing.domains["code"].total is None


def test_one_question_has_no_interval() -> None:
    one = difference(compare(exam("b", "00"), exam("b", "11")).pooled)
    assert (one.mean, one.low, one.bootstrap_low, one.num_problems) == (100, None, None, 1)


def test_equal_differences_have_an_interval_and_no_bootstrap() -> None:
    """Forty questions that moved alike: up to 3 in 40 may be otherwise, and nothing can be drawn that differs."""
    same = compare(exam("b", *["01"] * 40), exam("b", *["11"] * 40), {"b": "math"})
    pooled, total = difference(same.pooled), same.domains["math"].total
    assert (pooled.low, pooled.high) == pytest.approx((50 - 11.25, 50 + 3.75))
    assert (pooled.method, pooled.bootstrap_low, pooled.bootstrap_high) == ("rule_of_three", None, None)
    assert total is not None
    assert (total.low, total.high) == pytest.approx((50 - 11.25, 50 + 3.75))
    assert (total.method, total.bootstrap_low) == ("rule_of_three", None)


def test_t_and_bootstrap_of_all_questions_both_keep_their_benchmarks() -> None:
    """Two benchmarks that gain very unequally: how many questions of each there are is no accident."""
    one, two = drawn("aime", 60, 3, 0.0), drawn("hmmt", 60, 4, 0.8)
    found = difference(compare(one[0] + two[0], one[1] + two[1]).pooled)
    assert found.low is not None
    assert found.high is not None
    assert found.bootstrap_low is not None
    assert found.bootstrap_high is not None
    assert found.high - found.low == pytest.approx(found.bootstrap_high - found.bootstrap_low, rel=0.08)
    d = np.concatenate([per_question(*one), per_question(*two)])
    assert found.high - found.low < 0.9 * 100 * 2 * stats.t.ppf(0.975, 119) * stats.sem(d)


def test_a_sum_with_a_benchmark_of_one_question_has_no_interval() -> None:
    before, after = exam("a", "0") + exam("b", "0", "1"), exam("a", "1") + exam("b", "1", "1")
    total = compare(before, after, {"a": "math", "b": "math"}).domains["math"].total
    assert total is not None
    assert (total.sum, total.low, total.bootstrap_low) == (150, None, None)


def test_other_problems_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same questions.*'p1'"):
        compare(exam("b", "00", "00"), exam("b", "11"))


def test_a_benchmark_without_a_domain_is_in_no_sum() -> None:
    before, after = exam("a", "0", "1") + exam("b", "0", "1"), exam("a", "1", "1") + exam("b", "1", "1")
    found = compare(before, after, {"a": "math"})
    assert set(found.domains) == {"math"}
    assert set(found.summary()["benchmarks"]) == {"a", "b"}


def test_large_benchmarks_are_drawn_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "MOST_WORK", 60_000)
    seen: list[int] = []
    real = paired.bootstrap_sums

    def counted(values: list[float], draws: int, seed: str) -> list[float]:
        seen.append(draws)
        return real(values, draws, seed)

    monkeypatch.setattr(paired, "bootstrap_sums", counted)
    compare(*drawn("small", 5, 1))
    compare(*drawn("middle", 30, 1))
    compare(*drawn("large", 90, 1))
    assert seen == [10_000, 2_000, 1_000]


def test_percentiles_leave_equal_tails() -> None:
    found = percentile_interval([float(i) for i in range(1000)])
    assert (found.low, found.high) == (25, 974)


@pytest.mark.parametrize(("before", "after"), [("0u", "00"), ("00", "u1"), ("1u", "u0")])
def test_an_unreadable_reference_takes_its_problem_out_of_both_arms(before: str, after: str) -> None:
    """In the other arm every sample may have ended without an answer, and been graded as wrong."""
    found = difference(compare(exam("b", "00", "01", before), exam("b", "01", "11", after)).benchmarks["b"])
    expected = difference(compare(exam("b", "00", "01"), exam("b", "01", "11")).benchmarks["b"])
    assert (found.mean, found.low, found.high) == (expected.mean, expected.low, expected.high)
    assert (found.num_problems, found.left_out, found.unreadable) == (2, 0, 1)
