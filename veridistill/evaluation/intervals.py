"""95 % intervals of means over questions that were drawn within benchmarks. Pure; fractions, not points.

Questions are the sampling unit and benchmarks are fixed strata: another exam would hold other questions of the same
benchmarks, in the same numbers. So variances are taken within each benchmark and added with the squares of its weight
(Cochran 1977, chapter 5), with Welch–Satterthwaite degrees of freedom for Student's t.

An interval is never empty. A benchmark whose values are all equal has a variance of 0, which says only that n questions
showed nothing else: up to 3/n of all questions may differ ("rule of three", Hanley and Lippman-Hand
1983), each by as much as its value can. Such a part is added to that of t in quadrature (Zou and Donner 2008). A
proportion, where all samples of each question are right or all are wrong, has Wilson's interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import hypot, sqrt
from statistics import fmean, variance
from typing import Literal

from veridistill.audit.shares import wilson
from veridistill.errors import missing_extra

Method = Literal["t", "rule_of_three", "t_and_rule_of_three", "wilson"]
Strata = Sequence[Sequence[float]]
"""The values of the questions, by benchmark; each benchmark has at least one question."""

_EQUAL = 1e-9
"""Means of a few samples that are closer than this differ only by rounding."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value that a question can have."""

    least: float
    most: float


SHARES, DIFFERENCES = Bounds(0, 1), Bounds(-1, 1)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean (or a sum of means), its standard error, its interval, and the interval's method.

    All but `mean` are None if there are too few questions for an interval.
    """

    mean: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    method: Method | None = None


def pooled(strata: Strata, bounds: Bounds) -> Mean:
    """The mean over all questions, each counting once; it takes two for an interval.

    Raises ValueError when there are no questions.
    """
    num = sum(len(values) for values in strata)
    if not num:
        raise ValueError("a mean needs at least one question; found none")
    if num == 1:
        return Mean(fmean(value for values in strata for value in values))
    joined = _joined(strata)
    return _weighted(joined, [len(values) / num for values in joined], bounds)


def pooled_share(strata: Strata) -> Mean:
    """`pooled` of shares of right samples; of one benchmark whose questions are all 0 or 1, by Wilson."""
    found = pooled(strata, SHARES)
    if found.low is None or len(strata) > 1 or any(value not in (0, 1) for value in strata[0]):
        return found
    interval = wilson(sum(strata[0]), len(strata[0]))
    return Mean(found.mean, found.se, interval.low, interval.high, "wilson")


def summed(strata: Strata, bounds: Bounds) -> Mean:
    """The sum of the benchmarks' means, each benchmark counting once; it takes two questions of each for an interval.

    Raises ValueError when there are no benchmarks.
    """
    if not strata:
        raise ValueError("a sum needs at least one benchmark; found none")
    if any(len(values) < 2 for values in strata):
        return Mean(sum(fmean(values) for values in strata))
    return _weighted(strata, [1.0] * len(strata), bounds)


def varies(values: Sequence[float]) -> bool:
    """Whether values differ by more than rounding."""
    return max(values) - min(values) > _EQUAL


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t with `df` degrees of freedom. Raises `MissingExtra` without scipy."""
    try:
        from scipy.special import stdtrit
    except ImportError:
        raise missing_extra("an interval by Student's t", "eval") from None
    return float(stdtrit(df, probability))


def check() -> None:
    """Raise `MissingExtra` if intervals could not be computed, before an exam is run."""
    t_quantile(0.975, 1.0)


def _joined(strata: Strata) -> list[Sequence[float]]:
    """Strata of at least two questions: strata of one are joined, with the smallest other one if necessary.

    A stratum of one has no variance; joined strata overstate theirs (Cochran 1977, 5A.12).
    """
    ones = [value for values in strata if len(values) == 1 for value in values]
    others = sorted((values for values in strata if len(values) > 1), key=len)
    if len(ones) == 1:
        ones += others.pop(0)
    return [*others, ones] if ones else others


def _weighted(strata: Strata, weights: Sequence[float], bounds: Bounds) -> Mean:
    """The weighted sum of the strata's means."""
    means = [fmean(values) for values in strata]
    mean = sum(weight * one for weight, one in zip(weights, means, strict=True))
    varied, down, up = [], 0.0, 0.0
    for values, weight, one in zip(strata, weights, means, strict=True):
        if varies(values):
            varied.append((weight * weight * variance(values) / len(values), len(values) - 1))
        else:
            # 3 questions of all such strata together may differ: at worst all of them in the stratum that weighs most.
            down = max(down, weight * 3 / len(values) * (one - bounds.least))
            up = max(up, weight * 3 / len(values) * (bounds.most - one))
    half, whole = _half_width(varied), sum(weights)
    return Mean(
        mean,
        sqrt(sum(part for part, _ in varied)),
        min(mean, max(mean - hypot(half, down), whole * bounds.least)),
        max(mean, min(mean + hypot(half, up), whole * bounds.most)),
        "rule_of_three" if not varied else "t" if len(varied) == len(strata) else "t_and_rule_of_three",
    )


def _half_width(parts: Sequence[tuple[float, int]]) -> float:
    """Of the t interval of a sum, from each part's variance and degrees of freedom (Welch 1938, Satterthwaite 1946)."""
    if not parts:
        return 0.0
    whole = sum(part for part, _ in parts)
    df = whole**2 / sum(part**2 / own for part, own in parts)
    return t_quantile(0.975, df) * sqrt(whole)
