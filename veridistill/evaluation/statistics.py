"""Statistics of one exam's attempts: pass@1 with its standard error and interval, and paired gains. Pure.

Questions are the sampling unit. A standard error over repeated runs of the same questions ignores that another set of
questions would have given another result, and understates the error at least two times (docs/evaluation.md). So every
error here is over questions, of the per-question means, and the one over runs is given only for comparison. `intervals`
computes the intervals. Unless a name says otherwise, figures are percentage *points*: 59.3 means 59.3 %.

A sample that could not be graded (`Attempt.correct` is None) is neither right nor wrong: it is left out of the means
and counted. A question without a graded sample is left out and counted, in a paired difference on both sides. So is one
whose reference cannot be read, even if some of its samples were graded.
`paired` compares exams.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev

from veridistill.decide import pass_at_k
from veridistill.evaluation.intervals import DIFFERENCES, Method, pooled, pooled_share
from veridistill.records import Attempt

Question = tuple[str, str]
"""(benchmark, problem_id)."""

Means = Mapping[Question, float]
"""The share of a question's graded samples that is right, 0 to 1; questions without any are not in it."""


@dataclass(frozen=True, slots=True)
class PassAt1:
    """`pass_at_1`, its standard error over questions and its 95 % interval, in points; `samples` is k, per question.

    `num_problems` counts the questions with a graded sample. `pass_at_1` is None without any, the error and the
    interval with fewer than two; `samples` is the smallest k where questions differ.
    """

    pass_at_1: float | None
    se: float | None
    low: float | None
    high: float | None
    method: Method | None
    num_problems: int
    samples: int


@dataclass(frozen=True, slots=True)
class Description:
    """The statistics of one exam. Rates are shares of all samples, in points.

    `se_runs`: the standard error over runs, the sample index being the run: how well k repetitions of *these*
    questions agree, not the uncertainty of the model's ability. `pass_at_k`: unbiased, by k. `truncated`: any finish
    reason but stop (refused requests are not counted). `tokens`: mean completion tokens per sample. Left out of every
    mean: `ungraded_problems`, without a graded sample, and `unreadable_problems`, whose reference cannot be read.
    `ungraded` is the share of samples on which the grader failed; those of unreadable problems are not in it.
    """

    pass_at_1: float | None
    se: float | None
    low: float | None
    high: float | None
    method: Method | None
    se_runs: float | None
    num_problems: int
    samples: int
    pass_at_k: dict[int, float]
    majority_at_k: float | None
    truncated: float
    no_answer: float
    refused: float
    ungraded: float
    ungraded_problems: int
    unreadable_problems: int
    tokens: float


@dataclass(slots=True)
class Running:
    """pass@1 so far, for a progress line: fed the samples of one question at a time, at a cost that does not grow."""

    num_problems: int = 0
    total: float = 0.0

    def add(self, attempts: Iterable[Attempt]) -> None:
        for mean in question_means(attempts).values():
            self.num_problems += 1
            self.total += mean

    @property
    def pass_at_1(self) -> float | None:
        """In points; None while no question has a graded sample."""
        return 100 * self.total / self.num_problems if self.num_problems else None


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired difference over questions and its interval, in points; no interval with fewer than two questions."""

    mean: float
    low: float | None
    high: float | None
    method: Method | None
    num_problems: int


def by_question(attempts: Iterable[Attempt]) -> dict[Question, list[Attempt]]:
    """Attempts of each question, by sample index; questions in the order in which they first appear."""
    groups: dict[Question, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault((attempt.benchmark, attempt.problem_id), []).append(attempt)
    for group in groups.values():
        group.sort(key=lambda attempt: attempt.index)
    return groups


def unreadable(attempts: Iterable[Attempt]) -> set[Question]:
    """The questions whose reference cannot be read, according to at least one of their samples."""
    return {(a.benchmark, a.problem_id) for a in attempts if a.outcome == "unreadable_reference"}


def graded(attempts: Iterable[Attempt]) -> dict[Question, list[Attempt]]:
    """`by_question` of what could be graded, without the questions whose reference cannot be read."""
    found = list(attempts)
    without = unreadable(found)
    groups = by_question(attempt for attempt in found if attempt.correct is not None)
    return {question: group for question, group in groups.items() if question not in without}


def question_means(attempts: Iterable[Attempt]) -> dict[Question, float]:
    """Share of the graded samples that are right, by question."""
    return {question: _share_right(group) for question, group in graded(attempts).items()}


def pass_at_1(attempts: Iterable[Attempt]) -> PassAt1:
    """Mean over questions of the mean over samples. Raises ValueError when there are no attempts."""
    groups = by_question(attempts)
    if not groups:
        raise ValueError("pass@1 needs at least one attempt; found none")
    means = question_means(attempt for group in groups.values() for attempt in group)
    found = pooled_share(by_benchmark(means)) if means else None
    return PassAt1(
        pass_at_1=100 * found.mean if found else None,
        se=points(found.se) if found else None,
        low=points(found.low) if found else None,
        high=points(found.high) if found else None,
        method=found.method if found else None,
        num_problems=len(means),
        samples=min(len(group) for group in groups.values()),
    )


def by_benchmark(values: Means) -> list[list[float]]:
    """The values of the questions of each benchmark."""
    strata: dict[str, list[float]] = {}
    for (benchmark, _), value in values.items():
        strata.setdefault(benchmark, []).append(value)
    return list(strata.values())


def points(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def se_over_runs(attempts: Iterable[Attempt]) -> float | None:
    """Standard error of pass@1 over runs (sample i of every question is run i), in points; None for one run.

    Each run's deviation is the mean of its samples' deviations from their questions' means, so that a run that lacks a
    few grades is not compared on other questions.
    """
    runs: dict[int, list[float]] = {}
    for group in graded(attempts).values():
        mean = _share_right(group)
        for attempt in group:
            runs.setdefault(attempt.index, []).append((attempt.correct is True) - mean)
    deviations = [fmean(run) for run in runs.values()]
    return 100 * stdev(deviations) / sqrt(len(deviations)) if len(deviations) > 1 else None


def mean_pass_at_k(attempts: Iterable[Attempt], k: int) -> float:
    """The unbiased pass@k, mean over the questions with k graded samples, in points.

    Raises ValueError when a question has fewer than k samples, or none has k graded ones.
    """
    found = list(attempts)
    if any(len(group) < k for group in by_question(found).values()):
        raise ValueError(f"k must be between 1 and the number of samples; found k={k}")
    right = [(len(group), sum(a.correct is True for a in group)) for group in graded(found).values()]
    return 100 * fmean(pass_at_k(num, correct, k) for num, correct in right if num >= k)


Form = Callable[[Attempt], Hashable | None]
"""What answers that count as the same have in common; None for no answer."""


def _text(attempt: Attempt) -> Hashable | None:
    return attempt.answer


def majority_at_k(attempts: Iterable[Attempt], form: Form = _text) -> float | None:
    """Accuracy of each question's most frequent answer, in points; None without a graded sample.

    Answers are the same when their `form` is; samples whose form is None do not vote. Ties go to the answer that was
    sampled first; it counts as right when its first sample is.
    """
    groups = graded(attempts).values()
    return 100 * fmean(_majority_is_right(group, form) for group in groups) if groups else None


def _majority_is_right(group: Sequence[Attempt], form: Form) -> bool:
    forms = [form(attempt) for attempt in group]
    winner = most_frequent(forms)
    return winner is not None and group[winner].correct is True


def most_frequent(forms: Sequence[Hashable | None]) -> int | None:
    """The index at which the most frequent form first occurs; ties go to the earlier one; None is not a form."""
    counts = Counter(form for form in forms if form is not None)
    return forms.index(counts.most_common(1)[0][0]) if counts else None  # in a tie, Counter gives the first


def describe(attempts: Iterable[Attempt], form: Form = _text) -> Description:
    """`form` is `majority_at_k`'s. Raises ValueError when there are no attempts."""
    found = list(attempts)
    first = pass_at_1(found)
    asked, without = len(by_question(found)), unreadable(found)
    least = min((len(group) for group in graded(found).values()), default=0)
    return Description(
        **asdict(first),
        se_runs=se_over_runs(found),
        pass_at_k={k: mean_pass_at_k(found, k) for k in _ladder(min(least, first.samples))},
        majority_at_k=majority_at_k(found, form),
        truncated=100 * fmean(a.finish_reason not in ("stop", "refused") for a in found),
        no_answer=100 * fmean(a.outcome == "no_answer" for a in found),
        refused=100 * fmean(a.outcome == "refused" for a in found),
        ungraded=100 * fmean(a.correct is None and (a.benchmark, a.problem_id) not in without for a in found),
        ungraded_problems=asked - first.num_problems - len(without),
        unreadable_problems=len(without),
        tokens=fmean(a.completion_tokens for a in found),
    )


def _ladder(most: int) -> list[int]:
    """1, 2, 4 … and `most`."""
    return sorted({most, *(2**i for i in range(most.bit_length()) if 2**i < most)} - {0})


def _share_right(group: Sequence[Attempt]) -> float:
    return fmean(attempt.correct is True for attempt in group)


def gain(before: Means, after: Means) -> Gain:
    """The paired difference after - before over the same questions, with its interval.

    Raises ValueError when the questions differ: an unpaired comparison would be a different, much less precise one.
    """
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())[:3]
        raise ValueError(f"before and after must hold the same questions; only one of them has {odd}")
    return mean_gain({question: after[question] - before[question] for question in before})


def pooled_gain(runs: Sequence[tuple[Means, Means]]) -> Gain:
    """The gain over several run seeds: per question the mean difference over its runs, then over questions.

    Runs may share questions or have different ones. The interval is over questions: it says how well these runs'
    mean gain is known, not how much another training seed would change it.
    """
    differences: dict[Question, list[float]] = {}
    for before, after in runs:
        gain(before, after)  # the same check of the pairing
        for question in before:
            differences.setdefault(question, []).append(after[question] - before[question])
    return mean_gain({question: fmean(values) for question, values in differences.items()})


def mean_gain(differences: Means) -> Gain:
    """The mean of the questions' differences (of shares) in points, with its interval."""
    found = pooled(by_benchmark(differences), DIFFERENCES)
    return Gain(100 * found.mean, points(found.low), points(found.high), found.method, len(differences))
