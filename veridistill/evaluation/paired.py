"""Before and after, compared: paired differences per benchmark, per domain and over all, in points. Pure.

The headline interval is the paired t over questions within their benchmarks (`intervals`). A bootstrap of the same
means, which assumes no distribution, is reported beside it: questions are redrawn within their benchmark, with all
their samples (a cluster bootstrap). The sum over the benchmarks of a domain is what the paper reports.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from veridistill.audit.shares import Interval
from veridistill.evaluation.intervals import DIFFERENCES, Method, pooled, summed, varies
from veridistill.evaluation.statistics import Question, by_question, points, question_means, unreadable
from veridistill.records import Attempt

DRAWS = 10_000
MOST_WORK = 10_000_000
"""Questions times draws of one benchmark; above it fewer draws are made (never fewer than 1,000)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference in points: `low`, `high` by `method`, then by bootstrap; None with fewer than two questions.

    `before` and `after` are over the same `num_problems` questions; `left_out` had no graded sample on one side,
    `unreadable` ones a reference that cannot be read.
    There is no bootstrap if all differences are equal, or if a benchmark has one question.
    """

    before: float
    after: float
    mean: float
    low: float | None
    high: float | None
    method: Method | None
    bootstrap_low: float | None
    bootstrap_high: float | None
    num_problems: int
    left_out: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of the benchmarks' differences in points, each benchmark counting once, and their mean.

    `low` and `high` are the sum's; divide by the number of `benchmarks` for the mean's. Benchmarks are assumed to be
    independent: if two share questions, the interval is too narrow.
    """

    benchmarks: tuple[str, ...]
    sum: float
    mean: float
    low: float | None
    high: float | None
    method: Method | None
    bootstrap_low: float | None
    bootstrap_high: float | None


@dataclass(frozen=True, slots=True)
class DomainDifference:
    """`pooled`: each question counts once; `total`: each benchmark counts once. Both None when none is graded."""

    pooled: Difference | None
    total: Sum | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`pooled` is over all questions. A part without a graded pair is None."""

    pooled: Difference | None
    benchmarks: dict[str, Difference | None]
    domains: dict[str, DomainDifference]

    def summary(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Stratum:
    """One benchmark's pairs: shares before and after by question, and the drawn sums of their differences."""

    benchmark: str
    before: list[float]
    after: list[float]
    left_out: int
    unreadable: int
    sums: list[float]

    @property
    def num(self) -> int:
        return len(self.before)

    @property
    def differences(self) -> list[float]:
        return [after - before for before, after in zip(self.before, self.after, strict=True)]


def compare(
    before: Iterable[Attempt],
    after: Iterable[Attempt],
    domains: Mapping[str, str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """All paired differences between two exams on the same problems.

    `domains`: of each benchmark; one that is not named there belongs to no domain. `draws` and `seed` are the
    bootstrap's: the same seed gives the same interval. Raises ValueError when the exams hold other problems.
    """
    strata = _strata(list(before), list(after), draws, seed)
    groups: dict[str, list[_Stratum]] = {}
    for stratum in strata:
        if domain := (domains or {}).get(stratum.benchmark):
            groups.setdefault(domain, []).append(stratum)
    return Comparison(
        pooled=_difference(strata),
        benchmarks={stratum.benchmark: _difference([stratum]) for stratum in strata},
        domains={
            domain: DomainDifference(_difference(group), _sum(group)) for domain, group in groups.items()
        },
    )


def bootstrap_sums(values: Sequence[float], draws: int, seed: str) -> list[float]:
    """Sums of `len(values)` values drawn with replacement, `draws` times."""
    rng, num = random.Random(seed), len(values)
    return [sum(rng.choices(values, k=num)) for _ in range(draws)]


def percentile_interval(found: Iterable[float], level: float = 0.95) -> Interval:
    """The interval between the tails of the drawn values (Efron's percentile interval)."""
    ordered = sorted(found)
    cut = int(len(ordered) * (1 - level) / 2)
    return Interval(ordered[cut], ordered[-1 - cut])


def _strata(before: list[Attempt], after: list[Attempt], draws: int, seed: int) -> list[_Stratum]:
    asked, again = by_question(before), by_question(after)
    if asked.keys() != again.keys():
        odd = sorted(asked.keys() ^ again.keys())[:3]
        raise ValueError(f"before and after must hold the same questions; only one of them has {odd}")
    without = unreadable(before) | unreadable(after)
    means = question_means(before), question_means(after)
    benchmarks: dict[str, list[Question]] = {}
    for question in asked:
        benchmarks.setdefault(question[0], []).append(question)
    return [_stratum(name, questions, *means, without, draws, seed) for name, questions in benchmarks.items()]


def _stratum(
    benchmark: str,
    questions: Sequence[Question],
    before: Mapping[Question, float],
    after: Mapping[Question, float],
    without: set[Question],
    draws: int,
    seed: int,
) -> _Stratum:
    readable = [question for question in questions if question not in without]
    both = [question for question in readable if question in before and question in after]
    old, new = [before[question] for question in both], [after[question] for question in both]
    draws = max(min(draws, 1_000), min(draws, MOST_WORK // max(len(both), 1)))
    differences = [b - a for a, b in zip(old, new, strict=True)]
    sums = bootstrap_sums(differences, draws, f"{seed}/{benchmark}") if len(both) > 1 else []
    left_out = len(readable) - len(both)
    return _Stratum(benchmark, old, new, left_out, len(questions) - len(readable), sums)


def _difference(strata: Sequence[_Stratum]) -> Difference | None:
    """Over all questions of some benchmarks, each question counting once."""
    pairs = [stratum for stratum in strata if stratum.num]
    if not pairs:
        return None
    found = pooled([stratum.differences for stratum in pairs], DIFFERENCES)
    num = sum(stratum.num for stratum in pairs)
    drawn = _drawn(pairs, [1 / num] * len(pairs))
    return Difference(
        before=100 * fmean(value for stratum in pairs for value in stratum.before),
        after=100 * fmean(value for stratum in pairs for value in stratum.after),
        mean=100 * found.mean,
        low=points(found.low),
        high=points(found.high),
        method=found.method,
        bootstrap_low=drawn.low if drawn else None,
        bootstrap_high=drawn.high if drawn else None,
        num_problems=num,
        left_out=sum(stratum.left_out for stratum in strata),
        unreadable=sum(stratum.unreadable for stratum in strata),
    )


def _sum(strata: Sequence[_Stratum]) -> Sum | None:
    """Over some benchmarks, each benchmark counting once."""
    pairs = [stratum for stratum in strata if stratum.num]
    if not pairs:
        return None
    found = summed([stratum.differences for stratum in pairs], DIFFERENCES)
    drawn = _drawn(pairs, [1 / stratum.num for stratum in pairs])
    return Sum(
        benchmarks=tuple(stratum.benchmark for stratum in pairs),
        sum=100 * found.mean,
        mean=100 * found.mean / len(pairs),
        low=points(found.low),
        high=points(found.high),
        method=found.method,
        bootstrap_low=drawn.low if drawn else None,
        bootstrap_high=drawn.high if drawn else None,
    )


def _drawn(strata: Sequence[_Stratum], weights: Sequence[float]) -> Interval | None:
    """The percentile interval of a weighted sum over benchmarks, in points; None where nothing can be drawn."""
    if any(stratum.num < 2 for stratum in strata) or not any(
        varies(stratum.differences) for stratum in strata
    ):
        return None
    columns = zip(*(stratum.sums for stratum in strata), strict=False)  # the shortest number of draws
    found = percentile_interval(
        sum(w * value for w, value in zip(weights, column, strict=True)) for column in columns
    )
    return Interval(100 * found.low, 100 * found.high)
