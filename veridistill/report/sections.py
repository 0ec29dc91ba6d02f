"""The words and tables of the report, from `results.json`. Pure; escaping is the page's.

Every part of the results may be missing or null (a build without an exam, a run that was stopped); a
section that has nothing to say is None or empty, and the page leaves it out or says so.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Results = Mapping[str, Any]

NONE = "–"
PERCENT = "\N{NO-BREAK SPACE}%"
Z95 = 1.959964
_NO_STAGE = ("seeds", "candidates", "well_formed", "kept")
_LABELS = {
    "candidates": "candidates sampled",
    "well_formed": "well formed",
    "kept": "kept for training",
    "exam_base": "exam before",
    "exam_after": "exam after",
}


class Item(NamedTuple):
    """A labelled value."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text: the first column heads its row, the others are figures. `total` is the last row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    note: str = ""


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
class Bar:
    """One level of the funnel."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Headline:
    """`figure` is set large; `sentence` says it in words."""

    figure: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A quality limit with what was found."""

    name: str
    limit: str
    found: str
    passed: bool


def part(results: Any, *path: str) -> Any:
    """The value at a path of keys, or None where any of them is missing."""
    for key in path:
        results = results.get(key) if isinstance(results, Mapping) else None
    return results


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def decimal(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def count(value: Any) -> str:
    found = number(value)
    return NONE if found is None else f"{round(found):,}"


def share(value: float, whole: float) -> str:
    """A part of a whole in percent, with a decimal where rounding would say 0 or 100 and mean neither."""
    if not whole:
        return NONE
    percent = 100 * value / whole
    rounded = round(percent)
    return f"{percent:.1f}{PERCENT}" if rounded in (0, 100) and percent != rounded else f"{rounded}{PERCENT}"


def duration(seconds: Any) -> str:
    """Seconds for people: "0.4 s", "12 s", "4 min 10 s", "3 h 05 min"."""
    found = number(seconds)
    if found is None or found < 0:
        return NONE
    if found < 9.95:
        return f"{found:.1f} s"
    whole = round(found)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def label(name: str) -> str:
    """A key of the results as words."""
    return _LABELS.get(name, name.replace("_", " "))


def exam(results: Results, which: str) -> Estimate | None:
    """pass@1 of "base" or "after" in percent; the interval is normal, cut at 0 and 100."""
    mean, error = number(part(results, which, "pass_at_1")), number(part(results, which, "se"))
    if mean is None:
        return None
    if error is None:
        return Estimate(mean)
    return Estimate(mean, max(0.0, mean - Z95 * error), min(100.0, mean + Z95 * error))


def gain(results: Results) -> Estimate | None:
    """The paired difference in percentage points."""
    mean = number(part(results, "gain", "mean"))
    if mean is None:
        return None
    return Estimate(mean, number(part(results, "gain", "low")), number(part(results, "gain", "high")))


def headline(results: Results) -> Headline:
    difference, before, after = gain(results), exam(results, "base"), exam(results, "after")
    if difference is not None:
        return Headline(f"{_signed(difference.mean)} points", _gain_sentence(difference, before, after))
    if before is not None:
        return Headline(
            f"{decimal(before.mean)}{PERCENT} before", "There is no exam after training to compare it with."
        )
    kept = number(part(results, "funnel", "kept"))
    made = "" if kept is None else f"This run kept {count(kept)} {'example' if kept == 1 else 'examples'}. "
    return Headline("No exam", made + _no_exam(results))


def _no_exam(results: Results) -> str:
    """Why there is nothing to compare."""
    section = part(results, "config", "evaluation")
    if part(section, "problems") is None and not part(section, "benchmarks"):
        return (
            "No problems were given (evaluation.problems or evaluation.benchmarks), so no gain was measured."
        )
    return "The exam was not sat, so no gain was measured."


def _gain_sentence(difference: Estimate, before: Estimate | None, after: Estimate | None) -> str:
    words = "pass@1"
    if before is not None and after is not None:
        words += f" went from {decimal(before.mean)}{PERCENT} to {decimal(after.mean)}{PERCENT}"
    if difference.low is None or difference.high is None:
        return f"{words}; the difference has no interval."
    words += f"; 95 % interval of the difference {difference.interval} points."
    if difference.low <= 0 <= difference.high:
        words += " The interval includes 0: this run shows no difference."
    return words


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + decimal(value)


def exam_note(results: Results) -> str:
    """How the exam was sat, or nothing."""
    problems, samples = (
        number(part(results, "base", "num_problems")),
        number(part(results, "base", "samples")),
    )
    if problems is None:
        return ""
    sampled = "" if samples is None else f", {count(samples)} {'sample' if samples == 1 else 'samples'} each"
    return f"{count(problems)} problems{sampled}. Intervals are over problems; the difference is paired."


def state(results: Results) -> str:
    """A sentence about a run that did not simply finish, or nothing."""
    return {
        "incomplete": "This run is incomplete: a step stopped, or was not run yet. The same command goes on.",
        "below_quality": "This run finished, but it crossed a quality limit: do not use the result as it is.",
    }.get(str(part(results, "status")), "")


def subject(results: Results) -> list[Item]:
    """What was run, as far as the results say."""
    config = part(results, "config")
    judge, generate, build = (part(config, name) for name in ("judge", "generate", "build"))
    stages = part(judge, "stages")
    found = (
        ("model", part(config, "model", "path")),
        ("revision", part(config, "model", "revision")),
        ("fingerprint before", part(results, "fingerprints", "base")),
        ("fingerprint after", part(results, "fingerprints", "after")),
        ("roles", _roles(results)),
        ("seed questions", _seeds(results)),
        ("candidates per question, n", part(generate, "candidates")),
        ("votes per stage, v", part(judge, "votes")),
        ("stages", ", ".join(label(str(s)) for s in stages) if isinstance(stages, list | tuple) else None),
        ("selection", {"first": "first valid", "all": "all valid"}.get(str(part(build, "selection")))
         or part(build, "selection")),
        ("order of the votes", part(build, "order")),
        ("asks", part(build, "asks")),
        ("run seed", part(config, "seed")),
        ("version", part(results, "version")),
    )  # fmt: skip
    return [Item(name, str(value)) for name, value in found if value is not None and value != ""]


def _roles(results: Results) -> str:
    """The pure setting is one model; another judge is said."""
    judge, engine = part(results, "config", "judge"), part(results, "config", "engine")
    if part(judge, "model") is not None:
        return f"one model generates and learns; another judges: {part(judge, 'model', 'path')}"
    if part(judge, "engine") not in (None, engine):
        return "one model generates, judges and learns; as judge it is asked through an engine of its own"
    return "one model generates, judges and learns"


def _seeds(results: Results) -> str | None:
    path, number_of = part(results, "config", "seeds", "path"), part(results, "funnel", "seeds")
    if path is None:
        return None
    if number(number_of) is None:
        return str(path)
    latest = (part(results, "rounds") or [None])[-1]
    near, known = (part(latest, f"{name}_seeds") for name in ("near_duplicate", "contaminated"))
    dropped = [f"{count(near)} near duplicates"] * bool(near) + [
        f"{count(known)} that a benchmark has"
    ] * bool(known)
    left_out = f"; left out: {', '.join(dropped)}, see overlaps.jsonl" if dropped else ""
    return f"{path} ({count(number_of)} questions{left_out})"


def stages(results: Results) -> list[str]:
    """The stages of the cascade in their configured order, then any other that the funnel counts."""
    funnel, configured = part(results, "funnel"), part(results, "config", "judge", "stages")
    counted = [str(name) for name in funnel if name not in _NO_STAGE] if isinstance(funnel, Mapping) else []
    order = [str(name) for name in configured] if isinstance(configured, list | tuple) else []
    return [name for name in order if name in counted] + [name for name in counted if name not in order]


def funnel(results: Results) -> list[Bar]:
    """The levels from candidates to kept ones; empty when no candidate was counted."""
    passed = stages(results)
    bars = []
    for name in ("candidates", "well_formed", *passed, "kept"):
        found = number(part(results, "funnel", name))
        if found is not None:
            bars.append(Bar(f"passed {label(name)}" if name in passed else label(name), round(found)))
    return bars if part(results, "funnel", "candidates") else []


def funnel_note(results: Results) -> str:
    """The funnel in questions: its bars count candidates."""
    seeds, kept = number(part(results, "funnel", "seeds")), number(part(results, "funnel", "kept"))
    if seeds is None:
        return ""
    words = f"{count(seeds)} questions"
    if kept is not None and part(results, "config", "build", "selection") == "all":
        words += f"; {count(kept)} candidates kept"
    elif kept is not None:
        words += f"; a candidate was kept for {count(kept)} of them ({share(kept, seeds)})"
    return words + "."


def outcomes(results: Results) -> list[Item]:
    found = part(results, "outcomes")
    return [Item(label(str(name)), count(value)) for name, value in _pairs(found)]


def votes(results: Results) -> Table | None:
    rows = []
    for stage, ballots in _pairs(part(results, "votes")):
        counts = [number(part(ballots, ballot)) for ballot in ("yes", "no", "invalid")]
        whole = sum(found or 0 for found in counts)
        rows.append((label(stage), *map(count, counts), share(counts[0] or 0, whole)))
    return (
        Table("Votes by stage", ("stage", "yes", "no", "invalid", "yes, share"), tuple(rows))
        if rows
        else None
    )


def audit(results: Results) -> Table | None:
    """What the exhaustively asked questions say of the judges, beside what all questions say as they were asked."""
    found, rows = part(results, "audit"), []
    for stage, tally in _pairs(part(found, "stages")):
        whole = [_rate(part(tally, name)) for name in ("pass_rate", "agreement", "invalid_rate")]
        asked = [
            _rate(part(found, "censored", "stages", stage, name)) for name in ("pass_rate", "invalid_rate")
        ]
        rows.append((label(stage), whole[0], _between(tally), *whole[1:], *asked))
    if not rows:
        return None
    header = (
        "stage", "passed", "95 % interval", "votes agree", "invalid votes", "passed, as asked", "invalid, as asked"
    )  # fmt: skip
    size = f"{count(part(found, 'questions'))} questions, {count(part(found, 'candidates'))} candidates"
    return Table(f"Audit: {size}, asked exhaustively", header, tuple(rows), note=_audit_note(found))


def _audit_note(found: Any) -> str:
    accepted = part(found, "acceptance")
    return (
        "Shares of well-formed candidates, intervals over questions. Votes stop early, so what was asked is no fair"
        f" sample: the two columns on the right are biased. Accepted: {_rate(part(accepted, 'rate'))} of the audited"
        f" candidates ({_between(accepted)}), {_rate(part(found, 'censored', 'acceptance', 'rate'))} of those judged as"
        " asked."
    )


def _rate(value: Any) -> str:
    found = number(value)
    return NONE if found is None else share(found, 1)


def _between(ends: Any) -> str:
    low, high = number(part(ends, "low")), number(part(ends, "high"))
    return NONE if low is None or high is None else f"{share(low, 1)} to {share(high, 1)}"


def work(results: Results) -> Table | None:
    """Calls and tokens by role."""
    calls, tokens = part(results, "calls"), part(results, "tokens")
    by_role = part(tokens, "by_role")
    roles = dict.fromkeys(
        [name for name, _ in _pairs(calls) if name != "total"] + [name for name, _ in _pairs(by_role)]
    )
    rows = [
        (name, part(calls, name), *(part(by_role, name, k) for k in ("prompt", "completion")))
        for name in roles
    ]
    total = ("total", *map(count, (part(calls, "total"), part(tokens, "prompt"), part(tokens, "completion"))))
    if not rows and total[1:] == (NONE,) * 3:
        return None
    lines = tuple((label(name), *map(count, cells)) for name, *cells in rows)
    cancelled = part(tokens, "cancelled")
    note = f"Cancelled work, in no row: {count(cancelled)} tokens." if number(cancelled) else ""
    if number(part(tokens, "unneeded")):
        note += f" Replies that came early and were not needed: {count(part(tokens, 'unneeded'))} tokens."
    return Table(
        "Calls and tokens by role",
        ("role", "calls", "prompt tokens", "completion tokens"),
        lines,
        total,
        note,
    )


def seconds(results: Results) -> Table | None:
    found = {name: value for name, value in _pairs(part(results, "seconds")) if number(value) is not None}
    rows = tuple((label(name), duration(value)) for name, value in found.items() if name != "total")
    whole = found.get("total", sum(found.values()))
    return Table("Time by step", ("step", "time"), rows, ("total", duration(whole))) if rows else None


def limits(results: Results) -> list[Limit]:
    """The quality limits that can be read off the results."""
    limits, found = part(results, "config", "quality"), []
    fewest, kept = number(part(limits, "min_kept")), number(part(results, "funnel", "kept"))
    if fewest is not None and kept is not None:
        found.append(Limit("kept candidates", f"at least {count(fewest)}", count(kept), kept >= fewest))
    most, invalid, whole = number(part(limits, "max_invalid")), 0.0, 0.0
    for _, ballots in _pairs(part(results, "votes")):
        invalid += number(part(ballots, "invalid")) or 0
        whole += sum(number(part(ballots, ballot)) or 0 for ballot in ("yes", "no", "invalid"))
    if most is not None and whole:
        limit = f"at most {share(most, 1)}"
        found.append(Limit("invalid votes", limit, share(invalid, whole), invalid / whole <= most))
    return found + _canaries(results)


def _canaries(results: Results) -> list[Limit]:
    """Answers that are bad for certain and were accepted; the gate is crossed by a whole interval."""
    found, most = part(results, "canaries"), number(part(results, "config", "quality", "max_canaries"))
    low, judged = number(part(found, "low")), number(part(found, "judged"))
    if low is None or not judged or most is None:
        return []
    words = f"{count(part(found, 'accepted'))} of {count(judged)}, 95 % interval {_between(found)}"
    return [Limit("accepted canaries", f"interval not above {share(most, 1)}", words, low <= most)]


def warnings(results: Results) -> list[str]:
    """The run's own warnings, and "nothing accepted" where nothing was kept and nobody said so."""
    given = part(results, "warnings")
    found = [str(text) for text in given] if isinstance(given, list | tuple) else []
    if number(part(results, "funnel", "kept")) == 0 and not any("nothing" in text.lower() for text in found):
        found.append("Nothing was accepted: there was nothing to train on.")
    return found


def settings(results: Results) -> list[Item]:
    """The resolved configuration, one dotted key a line."""
    return [Item(key, value) for key, value in _flat(part(results, "config"))]


def versions(results: Results) -> list[Item]:
    return [Item(name, str(value)) for name, value in _pairs(part(results, "versions"))]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in _pairs(value):
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}.")
        elif isinstance(inner, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, inner))
        else:
            yield f"{prefix}{name}", "null" if inner is None else str(inner)


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), inner) for name, inner in value.items()] if isinstance(value, Mapping) else []
