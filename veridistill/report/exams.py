"""The report's sections about exams: the headline, every benchmark, and the cascade at test time.

Every part of the results may be missing or null; a section without content is None or empty, and the page
leaves it out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from veridistill.report.values import (
    NONE,
    PERCENT,
    Results,
    Table,
    count,
    decimal,
    label,
    latest_round,
    number,
    pairs,
    part,
)

_WHICH = {"base": "before", "after": "after"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, where one is known, in percent or percentage points."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> str:
        return (
            NONE if self.low is None or self.high is None else f"{decimal(self.low)} to {decimal(self.high)}"
        )


@dataclass(frozen=True, slots=True)
class Headline:
    """`figure` is set large; `sentence` says it in words."""

    figure: str
    sentence: str


def exam(results: Results, which: str) -> Estimate | None:
    """pass@1 of "base" or "after" in percent."""
    return _estimate(part(results, which), "pass_at_1")


def gain(results: Results) -> Estimate | None:
    """The paired difference in percentage points."""
    return _estimate(part(results, "gain"), "mean")


def _estimate(found: Any, name: str) -> Estimate | None:
    mean = number(part(found, name))
    if mean is None:
        return None
    return Estimate(mean, number(part(found, "low")), number(part(found, "high")))


def headline(results: Results) -> Headline:
    """The run's result: a figure, and one sentence that says what it is worth."""
    difference, before, after = gain(results), exam(results, "base"), exam(results, "after")
    if difference is not None:
        figure = f"{_signed(difference.mean)} points"
        return Headline(figure, _gained(results, difference, before, after))
    if before is not None:
        sentence = "This is pass@1 before training; there is no evaluation after it to compare it with."
        return Headline(f"{decimal(before.mean)}{PERCENT}", sentence)
    kept = number(part(results, "funnel", "kept"))
    why = _no_exam(results)
    if kept is None:
        return Headline("No exam", f"No gain was measured: {why}.")
    figure = f"{count(kept)} {'example' if kept == 1 else 'examples'}"
    return Headline(figure, f"This run kept {figure}; no gain was measured: {why}.")


def _no_exam(results: Results) -> str:
    """Why there is nothing to compare."""
    section = part(results, "config", "evaluation")
    if part(section, "problems") is None and not part(section, "benchmarks"):
        return "no problems were given (evaluation.problems or evaluation.benchmarks)"
    return "the model was not evaluated"


def _gained(results: Results, difference: Estimate, before: Estimate | None, after: Estimate | None) -> str:
    rows = number(part(latest_round(results), "training", "num_rows"))
    trained = "Trained on its own accepted answers"
    if rows:
        trained = f"Trained on {count(rows)} {'answer' if rows == 1 else 'answers'} that it accepted itself"
    moved = ""
    if before is not None and after is not None:
        moved = f": pass@1 went from {decimal(before.mean)}{PERCENT} to {decimal(after.mean)}{PERCENT}"
    if difference.low is None or difference.high is None:
        return (
            f"{trained}, the model changed by {_signed(difference.mean)} points{moved}; there is no interval."
        )
    interval = f"the 95 % interval of the difference is {difference.interval} points"
    if part(results, "gain", "method") == "rule_of_three":
        interval += ", by the rule of three since all differences are equal"
    if difference.low <= 0 <= difference.high:
        return f"{trained}, the model shows no clear change{moved}; {interval}, which includes 0."
    verb = "got better" if difference.mean > 0 else "got worse"
    return f"{trained}, the model {verb}{moved}; {interval}."


def exam_note(results: Results) -> str:
    """How many problems and samples the exam has, or nothing."""
    problems, samples = (
        number(part(results, "base", "num_problems")),
        number(part(results, "base", "samples")),
    )
    if problems is None:
        return ""
    sampled = "" if samples is None else f", {count(samples)} {'sample' if samples == 1 else 'samples'} each"
    return f"{count(problems)} problems{sampled}. Intervals are over problems; the difference is paired."


def benchmarks(results: Results) -> Table | None:
    """Each benchmark's pass@1 and paired difference, when there is an exam at all."""
    rows = [(name, *_benchmark(results, name)) for name in _names(results)]
    header = ("benchmark", "problems", "before", "after", "difference", "95 % interval", "by bootstrap")
    return Table("By benchmark", header, tuple(rows), note=_sums(results)) if rows else None


def domains(results: Results) -> Table | None:
    """The paired difference of each domain, each problem counting once; None where there is one domain."""
    rows = []
    for name, one in pairs(part(results, "gains", "domains")):
        pooled, names = part(one, "pooled"), part(one, "total", "benchmarks")
        if pooled:
            told = ", ".join(map(str, names)) if isinstance(names, list | tuple) else ""
            rows.append((name, told, *_differences(pooled)))
    header = ("domain", "benchmarks", "problems", "before", "after", "difference", "95 % interval")
    return Table("By domain", header, tuple(rows)) if len(rows) > 1 else None


def _differences(found: Any) -> tuple[str, ...]:
    values = (_points(part(found, name)) for name in ("before", "after"))
    return count(part(found, "num_problems")), *values, _signed(part(found, "mean")), _interval(found)


def differences(results: Results) -> list[tuple[str, Estimate]]:
    """What is drawn side by side: each benchmark's difference, and each domain's, where there are several."""
    found: list[tuple[str, Estimate]] = []
    for group, path in (("benchmarks", ()), ("domains", ("pooled",))):
        named = [
            (name, _estimate(part(one, *path), "mean")) for name, one in pairs(part(results, "gains", group))
        ]
        if len(named) > 1:
            found += [(name, value) for name, value in named if value is not None]
    return found


def samples(results: Results) -> Table | None:
    """pass@k for the numbers of samples that were measured, and the accuracy of the most frequent answer."""
    sides = {words: part(results, which) for which, words in _WHICH.items() if part(results, which)}
    ks = list(dict.fromkeys(k for side in sides.values() for k, _ in pairs(part(side, "pass_at_k"))))
    if len(ks) < 2:
        return None
    rows = tuple(
        (words, *(_points(part(side, "pass_at_k", k)) for k in ks), _points(part(side, "majority_at_k")))
        for words, side in sides.items()
    )
    note = "In %. pass@k: a problem counts if one of k samples is right; majority: if the most frequent answer is."
    return Table(
        "Several samples of a problem", ("model", *(f"pass@{k}" for k in ks), "majority"), rows, note=note
    )


def endings(results: Results) -> Table | None:
    """How each benchmark's samples ended, beside pass@1, before and after; what never happened has no column."""
    names = _names(results)
    columns = {"pass_at_1": "pass@1", "truncated": "truncated", "no_answer": "no answer"}
    rare = {
        "refused": "refused",
        "ungraded": "not graded",
        "ungraded_problems": "problems not graded",
        "unreadable_problems": "problems without a readable reference",
    }
    sides = [[part(results, which, "benchmarks", name) for which in _WHICH] for name in names]
    columns |= {key: words for key, words in rare.items() if any(part(s, key) for row in sides for s in row)}
    rows = [
        (name, *(" / ".join(_ending(key, side) for side in row if side) for key in columns))
        for name, row in zip(names, sides, strict=True)
    ]
    note = "Before / after, in % of each model’s samples; columns of problems count them."
    return (
        Table("How samples ended", ("benchmark", *columns.values()), tuple(rows), note=note) if rows else None
    )


def _ending(key: str, side: Any) -> str:
    return count(part(side, key)) if key.endswith("_problems") else _points(part(side, key))


def _names(results: Results) -> list[str]:
    """The benchmarks of the exams."""
    found = [name for which in _WHICH for name, _ in pairs(part(results, which, "benchmarks"))]
    return list(dict.fromkeys(found))


def _benchmark(results: Results, name: str) -> tuple[str, ...]:
    """With a difference, all figures are of the problems that were graded on both sides."""
    sides = [part(results, which, "benchmarks", name) for which in _WHICH]
    difference = part(results, "gains", "benchmarks", name)
    before, after = (
        (part(difference, words) if difference else part(side, "pass_at_1"))
        for words, side in zip(_WHICH.values(), sides, strict=True)
    )
    return (
        count(part(difference or sides[0] or sides[1], "num_problems")),
        _points(before),
        _points(after),
        _signed(part(difference, "mean")),
        _interval(difference),
        _interval(difference, "bootstrap_"),
    )


def _sums(results: Results) -> str:
    """The sums over the benchmarks of a domain, where a domain has several."""
    found = []
    for domain, differences in (part(results, "gains", "domains") or {}).items():
        total = part(differences, "total")
        names = part(total, "benchmarks") or ()
        if len(names) > 1:
            sum_, mean = _signed(part(total, "sum")), _signed(part(total, "mean"))
            interval = _interval(total)
            shown = "without an interval" if interval == NONE else interval
            found.append(f"{domain}: sum over {', '.join(names)} {sum_} {shown}, mean {mean}.")
    return " ".join(
        [
            "Points; before, after and their difference are over the problems graded in both.",
            *found,
            *_alike(results),
        ]
    )


def _alike(results: Results) -> list[str]:
    """Which intervals are by the rule of three."""
    names = [
        name
        for name, one in pairs(part(results, "gains", "benchmarks"))
        if part(one, "method") == "rule_of_three"
    ]
    why = "all differences are equal; up to 3 in n of all problems could differ (rule of three)."
    return [f"{', '.join(names)}: {why}"] if names else []


def test_time(results: Results) -> list[Table]:
    """The cascade at test time beside its baselines, for each model for which it was run."""
    found = ((words, part(results, "ttc", which)) for which, words in _WHICH.items())
    return [_methods(words, summary) for words, summary in found if summary]


def _methods(words: str, summary: Any) -> Table:
    rows = [
        (
            {"uq_ttc": "UQ-TTC"}.get(name, label(name)),
            _points(part(one, "accuracy")),
            _interval(one, show=_points),
            _signed(part(one, "over_candidate_0", "mean")),
            _interval(part(one, "over_candidate_0")),
            _points(part(one, "calls_per_problem")),
            count(part(one, "tokens")),
        )
        for name, one in (part(summary, "methods") or {}).items()
    ]
    header = (
        "method",
        "right",
        "95 % interval",
        "over candidate 0",
        "95 % interval",
        "calls per problem",
        "tokens",
    )
    accepted = _points(part(summary, "accepted"))
    note = (
        f"{count(part(summary, 'num_problems'))} problems; a candidate was accepted for {accepted} % of them."
    )
    if number(part(summary, "unreadable_problems")):
        note += f" {count(part(summary, 'unreadable_problems'))} more are left out: their reference cannot be read."
    return Table(f"At test time, the model {words}", header, tuple(rows), note=note)


def _points(value: Any) -> str:
    found = number(value)
    return NONE if found is None else decimal(found)


def _signed(value: Any) -> str:
    found = number(value)
    return NONE if found is None else ("+" if found > 0 else "") + decimal(found)


def _interval(ends: Any, prefix: str = "", show: Callable[[Any], str] = _signed) -> str:
    low, high = (part(ends, prefix + end) for end in ("low", "high"))
    return NONE if number(low) is None or number(high) is None else f"[{show(low)}, {show(high)}]"
