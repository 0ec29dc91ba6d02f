"""Intervals of means: against scipy, by hand-made cases, and the laws that each of them keeps."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from veridistill.errors import MissingExtra
from veridistill.evaluation import intervals
from veridistill.evaluation.intervals import DIFFERENCES, SHARES, Mean, pooled, pooled_share, summed

SAMPLES = 10
shares = st.integers(0, SAMPLES).map(lambda right: right / SAMPLES)
differences = st.tuples(shares, shares).map(lambda pair: pair[1] - pair[0])


def strata(values: st.SearchStrategy[float], least: int) -> st.SearchStrategy[list[list[float]]]:
    alike = st.tuples(values, st.integers(least, 40)).map(lambda pair: [pair[0]] * pair[1])
    return st.lists(alike | st.lists(values, min_size=least, max_size=40), min_size=1, max_size=4)


def check(found: Mean, least: float, most: float) -> None:
    assert found.low is not None
    assert found.high is not None
    assert least <= found.low <= found.mean <= found.high <= most
    assert found.high - found.low > 1e-6 * (most - least), "never empty"
    assert found.method is not None


@given(strata(differences, 1))
def test_a_pooled_difference_has_an_interval_that_holds_it_and_is_never_empty(
    given: list[list[float]],
) -> None:
    found = pooled(given, DIFFERENCES)
    if sum(map(len, given)) < 2:
        assert (found.low, found.high, found.method) == (None, None, None)
    else:
        check(found, -1 - 1e-9, 1 + 1e-9)
    assert found.mean == pytest.approx(np.mean([value for values in given for value in values]))


@given(strata(shares, 1))
def test_pass_at_1_has_an_interval_that_holds_it_and_is_never_empty(given: list[list[float]]) -> None:
    found = pooled_share(given)
    if sum(map(len, given)) > 1:
        check(found, -1e-9, 1 + 1e-9)


@given(strata(differences, 2))
def test_a_sum_has_an_interval_that_holds_it_and_is_never_empty(given: list[list[float]]) -> None:
    check(summed(given, DIFFERENCES), -len(given) - 1e-9, len(given) + 1e-9)


@given(strata(differences, 2))
def test_turned_differences_turn_the_interval(given: list[list[float]]) -> None:
    """Nothing favours a gain over a loss."""
    found = pooled(given, DIFFERENCES)
    turned = pooled([[-value for value in values] for values in given], DIFFERENCES)
    assert (turned.low, turned.high) == pytest.approx((-(found.high or 0), -(found.low or 0)))


@pytest.mark.parametrize(
    ("values", "low", "high", "method"),
    [
        ([1.0] * 30, 0.8865, 1.0, "wilson"),  # not [1, 1]
        ([0.0] * 30, 0.0, 0.1135, "wilson"),
        ([1.0] * 2, 0.3424, 1.0, "wilson"),
        ([1.0] * 27 + [0.0] * 3, 0.7438, 0.9654, "wilson"),
        ([0.5] * 30, 0.45, 0.55, "rule_of_three"),  # a tenth of the questions may be anything
        ([0.9] * 30, 0.81, 0.91, "rule_of_three"),
        ([0.5] * 2, 0.0, 1.0, "rule_of_three"),  # two alike say nothing
        ([1.0, 0.9], 0.3147, 1.0, "t"),  # cut at 1
    ],
)
def test_pass_at_1_by_hand(values: list[float], low: float, high: float, method: str) -> None:
    found = pooled_share([values])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.method == method


@pytest.mark.parametrize(
    ("given", "low", "high", "method"),
    [
        ([[0.0] * 30], -0.1, 0.1, "rule_of_three"),  # not [0, 0]: 3 of 30
        ([[0.0] * 300], -0.01, 0.01, "rule_of_three"),
        ([[0.0] * 3], -1, 1, "rule_of_three"),
        ([[0.0] * 2], -1, 1, "rule_of_three"),
        ([[0.5] * 30], 0.35, 0.55, "rule_of_three"),  # the way down is longer
        ([[1.0] * 30], 0.8, 1, "rule_of_three"),
        ([[-1.0] * 30], -1, -0.8, "rule_of_three"),
        ([[0.0] * 30, [0.0] * 70], -0.03, 0.03, "rule_of_three"),  # of all 100 questions together
        (
            [[0.3 - 0.2] * 15 + [0.9 - 0.8] * 15],
            0.1 - 0.11,
            0.1 + 0.09,
            "rule_of_three",
        ),  # equal but for rounding
    ],
)
def test_equal_differences_by_hand(given: list[list[float]], low: float, high: float, method: str) -> None:
    found = pooled(given, DIFFERENCES)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == method


def test_one_benchmark_equals_scipys_interval() -> None:
    values = np.random.default_rng(1).normal(0.1, 0.2, 30)
    found = pooled([values.tolist()], DIFFERENCES)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.se == pytest.approx(stats.sem(values))
    assert found.method == "t"


def test_pooled_benchmarks_are_strata() -> None:
    """By the textbook: (1/N²) Σ n s², and Satterthwaite's degrees of freedom. That the means differ is no error."""
    rng = np.random.default_rng(2)
    one, two = rng.normal(0.0, 0.1, 40), rng.normal(0.5, 0.2, 20)
    parts = [values.var(ddof=1) * len(values) / 60**2 for values in (one, two)]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 19)
    half = stats.t.ppf(0.975, df) * sum(parts) ** 0.5
    found = pooled([one.tolist(), two.tolist()], DIFFERENCES)
    mean = np.concatenate([one, two]).mean()
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    blind = pooled([[*one.tolist(), *two.tolist()]], DIFFERENCES)
    assert found.se is not None
    assert blind.se is not None
    assert found.se < blind.se / 1.5


def test_a_sum_of_two_is_scipys_welch_interval() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.normal(0.1, 0.1, 30), rng.normal(0.2, 0.3, 20)
    # A sum is a difference from the negated other.
    low, high = stats.ttest_ind(one, -two, equal_var=False).confidence_interval()
    found = summed([one.tolist(), two.tolist()], DIFFERENCES)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_a_benchmark_without_spread_widens_a_sum_by_its_own_interval() -> None:
    varied, flat = np.random.default_rng(4).normal(0, 0.2, 30).tolist(), [0.0] * 30
    alone, both = summed([varied], DIFFERENCES), summed([varied, flat], DIFFERENCES)
    assert alone.high is not None
    assert both.high is not None
    assert both.high - both.mean == pytest.approx(np.hypot(alone.high - alone.mean, 0.1))
    assert both.method == "t_and_rule_of_three"


def test_benchmarks_of_one_question_are_joined_and_not_left_out() -> None:
    large, one, two = np.random.default_rng(5).normal(0, 0.2, 20).tolist(), [0.7], [-0.4]
    assert pooled([large, one, two], DIFFERENCES) == pooled([large, [*one, *two]], DIFFERENCES)
    assert pooled([large, one], DIFFERENCES) == pooled([[*one, *large]], DIFFERENCES)
    assert summed([large, one], DIFFERENCES).low is None, "a sum needs the error of each"


def test_one_question_has_no_interval_and_none_is_refused() -> None:
    assert pooled([[0.5]], SHARES) == Mean(0.5)
    for found, what in ((pooled, "question"), (summed, "benchmark")):
        with pytest.raises(ValueError, match=f"at least one {what}"):
            found([], SHARES)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    intervals.t_quantile.cache_clear()
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtra, match=r"pip install 'veridistill\[eval\]'"):
        pooled([[0.0, 0.5]], DIFFERENCES)


@pytest.mark.parametrize("module", ["runs.figures", "runs.canaries", "runs.funnel", "audit.shares"])
def test_what_a_build_needs_works_without_scipy(module: str) -> None:
    code = f"import sys; sys.modules['scipy'] = None; import veridistill.{module}"
    code += "\nfrom veridistill.audit.shares import share_of; assert share_of(30, 30).low > 0.8"
    subprocess.run([sys.executable, "-c", code], check=True)
