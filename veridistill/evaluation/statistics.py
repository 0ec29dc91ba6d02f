"""What an exam's attempts say: pass@1 with its standard error, paired gains with their intervals. Pure.

Questions are the sampling unit. A standard error over repeated runs of the same questions ignores that
another set of questions would have given another result, and understates it two to eight times; so every
error here is over questions, of the per-question means. Unless a name says otherwise, figures are percentage
*points*: 59.3 means 59.3 %.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean, stdev

from veridistill.decide import pass_at_k
from veridistill.records import Attempt

Question = tuple[str, str]
"""(benchmark, problem_id)."""

Means = Mapping[Question, float]
"""The share of a question's samples that is right, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PassAt1:
    """`pass_at_1` and its standard error over questions, in points; `samples` is k, per question.

    `se` is None with fewer than two questions, `samples` the smallest k where questions differ.
    """

    pass_at_1: float
    se: float | None
    num_problems: int
    samples: int


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired difference over questions and its interval, in points; no interval with fewer than two
    questions.
    """

    mean: float
    low: float | None
    high: float | None
    num_problems: int


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def by_question(attempts: Iterable[Attempt]) -> dict[Question, list[Attempt]]:
    """Attempts of each question, by sample index; questions in the order in which they first appear."""
    groups: dict[Question, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault((attempt.benchmark, attempt.problem_id), []).append(attempt)
    for group in groups.values():
        group.sort(key=lambda attempt: attempt.index)
    return groups


def question_means(attempts: Iterable[Attempt]) -> dict[Question, float]:
    """Share of right samples by question. What could not be graded counts as wrong."""
    return {
        question: fmean(attempt.correct is True for attempt in group)
        for question, group in by_question(attempts).items()
    }


def pass_at_1(attempts: Iterable[Attempt]) -> PassAt1:
    """Mean over questions of the mean over samples. Raises ValueError when there are no attempts."""
    groups = by_question(attempts)
    if not groups:
        raise ValueError("pass@1 needs at least one attempt; found none")
    means = [fmean(attempt.correct is True for attempt in group) for group in groups.values()]
    return PassAt1(
        pass_at_1=100 * fmean(means),
        se=100 * stdev(means) / sqrt(len(means)) if len(means) > 1 else None,
        num_problems=len(means),
        samples=min(len(group) for group in groups.values()),
    )


def mean_pass_at_k(attempts: Iterable[Attempt], k: int) -> float:
    """The unbiased pass@k, mean over questions, in points. Raises ValueError when a question has fewer
    samples.
    """
    groups = by_question(attempts).values()
    return 100 * fmean(pass_at_k(len(group), sum(a.correct is True for a in group), k) for group in groups)


def majority_at_k(attempts: Iterable[Attempt]) -> float:
    """Accuracy of each question's most frequent answer, in points; ties go to the answer that was sampled
    first.
    """
    return 100 * fmean(_majority_is_right(group) for group in by_question(attempts).values())


def _majority_is_right(group: Sequence[Attempt]) -> bool:
    counts = Counter(attempt.answer for attempt in group if attempt.answer is not None)
    if not counts:
        return False
    winner = counts.most_common(1)[0][0]  # of equals, Counter gives the first seen
    return next(attempt for attempt in group if attempt.answer == winner).correct is True


def gain(before: Means, after: Means, level: float = 0.95) -> Gain:
    """The paired difference after - before over the same questions, with its t interval.

    Raises ValueError when the questions differ: an unpaired comparison would be another, far wider one.
    """
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())[:3]
        raise ValueError(f"before and after must hold the same questions; only one of them has {odd}")
    return _mean_with_interval([after[question] - before[question] for question in before], level)


def pooled_gain(runs: Sequence[tuple[Means, Means]], level: float = 0.95) -> Gain:
    """The gain over several run seeds: per question the mean difference over its runs, then over questions.

    Runs may share questions or have their own. The interval is over questions: it says how well these runs'
    mean gain is known, not how much another training seed would move it.
    """
    differences: dict[Question, list[float]] = {}
    for before, after in runs:
        gain(before, after, level)  # the same check of the pairing
        for question in before:
            differences.setdefault(question, []).append(after[question] - before[question])
    return _mean_with_interval([fmean(values) for values in differences.values()], level)


def _mean_with_interval(differences: Sequence[float], level: float) -> Gain:
    num = len(differences)
    if num == 0:
        raise ValueError("a gain needs at least one question; found none")
    mean = 100 * fmean(differences)
    if num < 2:
        return Gain(mean, None, None, num)
    half = t_quantile((1 + level) / 2, num - 1) * 100 * stdev(differences) / sqrt(num)
    return Gain(mean, mean - half, mean + half, num)


def wilson(successes: float, num: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, as fractions (Wilson 1927); honest near 0 and 1."""
    if not 0 <= successes <= num or num == 0:
        raise ValueError(
            f"successes must be between 0 and num, and num at least 1; found {successes} of {num}"
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, z2 = successes / num, z * z / num
    centre = (share + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * sqrt(share * (1 - share) / num + z2 / (4 * num))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(0.0 if successes == 0 else low, 1.0 if successes == num else high)


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t with `df` degrees of freedom, to about 1e-12 (bisection on `t_cdf`)."""
    if not 0 < probability < 1 or df <= 0:
        raise ValueError(f"needs 0 < probability < 1 and df > 0; found {probability}, {df}")
    if probability < 0.5:
        return -t_quantile(1 - probability, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < probability:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, df) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(t: float, df: float) -> float:
    """P(T <= t): one minus half the regularised incomplete beta function at df / (df + t²)."""
    tail = _incomplete_beta(df / (df + t * t), df / 2, 0.5) / 2
    return tail if t < 0 else 1 - tail


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised I_x(a, b), by its continued fraction (Abramowitz and Stegun 26.5.8, modified Lentz)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction
