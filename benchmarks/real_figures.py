"""The tables of docs/real.md, from `real.json`: a row for what was measured so far, and none for the rest."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from markdown import Json, gain, percent, table

Row = tuple[Any, ...]
NOTHING = "Not measured yet.\n"
ARMS = {
    "cascade": "the first that the cascade accepts",
    "unfiltered": "candidate 0",
    "soft": "the one with the likeliest yes",
    "oracle": "the first right one",
}
METHODS = {
    "candidate_0": "candidate 0",
    "self_consistency": "the most frequent answer",
    "uq_ttc": "the first that the cascade accepts, else candidate 0 (UQ-TTC)",
    "best_by_votes": "the most yes votes, everything asked",
}


def _tabled(found: Json, head: str, rows: Callable[[Json], Iterable[Row]]) -> str:
    """A table whose rows begin with model and domain."""
    lines = [(run["model"], run["domain"], *row) for run in found["runs"].values() for row in rows(run)]
    return table(f"model | domain | {head}", lines) if lines else NOTHING


def outcome(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for name, words in ARMS.items():
            arm = run["arms"].get(name)
            if arm and arm["gain"]:
                before, after = (f"{arm['gain'][which]:.1f}" for which in ("before", "after"))
                yield words, arm["examples"], arm["examples_right"], before, after, gain(arm["gain"])

    return _tabled(
        found, "trained on | > examples | > right of them | > before | > after | > gain, 95 % interval", rows
    ) + _over(found)


def _over(found: Json) -> str:
    """The comparisons between arms, a line each."""
    lines = [
        f"{run['model']}, {run['domain']}: the cascade's model over that of {ARMS[arm]}: {gain(difference)} points."
        for run in found["runs"].values()
        for arm, difference in run["cascade_over"].items()
        if difference
    ]
    return "".join(f"\n{line}\n" for line in lines)


def right(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        if shares := run.get("right"):
            funnel, kept = run["funnel"], shares["kept"]
            invalid = run["rounds"][0]["invalid_share"]
            yield (
                f"{funnel['seeds']} × {funnel['candidates'] // funnel['seeds']}",
                percent(run["audit"]["share_right"]) if run["audit"] else "",
                percent(shares["first"]),
                kept["graded"],
                percent(kept) if kept["graded"] else "",
                "" if invalid is None else f"{100 * invalid:.1f} %",
            )

    head = "> questions × candidates | > right, of well-formed | > right, of candidates 0 | > kept | > right, of kept"
    return _tabled(found, f"{head} | > invalid votes", rows)


def judges(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for one in (run["audit"] or {}).get("judges", []):
            if one["rule"] == "unanimous" and one["votes"] == run["audit"]["votes"]:
                yield (one["judge"].replace("_", " "), one["accepted"], *_shares(one))
        if agreed := (run["audit"] or {}).get("agreement"):
            yield ("agreement", agreed["accepted"], *_shares(agreed))

    return _tabled(found, "judge | > accepted | > precision | > recall | > false accepts", rows)


def soft(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        if one := run.get("soft"):
            measures = one["measures"]
            names = ("auc", "auc_within_questions")
            yield (
                f"{one['right']} of {one['candidates']}",
                f"{one['above_even']}",
                *(_value(measures[name], 1, 2) for name in names),
                *(_value(measures[f"precision_at_recall_{recall}"], 100, 0) for recall in (25, 50, 75)),
            )

    head = "> right | > more likely yes than no | > AUC | > AUC within questions"
    return _tabled(found, f"{head} | > precision, % at recall 25 % | > at 50 % | > at 75 %", rows)


def best(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        if one := run.get("soft"):
            names = ("first_of_question_right", "best_of_question_right", "any_of_question_right")
            yield one["questions"], *(_value(one["measures"][name], 100, 0) for name in names)

    head = "> questions | > first well-formed right, % | > likeliest yes right, % | > any right, %"
    return _tabled(found, head, rows)


def _value(one: Json | None, times: int, digits: int) -> str:
    if one is None:
        return ""
    value, low, high = (f"{times * one[part]:.{digits}f}" for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def invalid(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for stage, one in (run.get("invalid") or {}).items():
            causes = sorted(one["invalid"].items(), key=lambda cause: -cause[1])
            share = 100 * sum(one["invalid"].values()) / one["votes"]
            words = ", ".join(f"{num} {cause}" for cause, num in causes)
            yield stage.replace("_", " "), one["votes"], f"{share:.1f} %", words

    return _tabled(found, "stage | > votes | > invalid | causes", rows)


def tokens(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for role, one in ((run["tokens"] or {}).get("by_role") or {}).items():
            calls = run["calls"][role]
            yield role, f"{calls:,}", *(f"{one[part] / calls:.0f}" for part in ("prompt", "completion"))

    return _tabled(found, "role | > calls | > prompt tokens a call | > reply tokens a call", rows)


def votes(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for one in (run["audit_votes"] or {}).get("judges", []):
            if one["judge"] == "cascade":
                yield (one["votes"], one["rule"], one["accepted"], *_shares(one))

    return _tabled(found, "> votes | rule | > accepted | > precision | > recall | > false accepts", rows)


def _shares(one: Json) -> Row:
    names = ("precision", "recall", "false_accepts")
    return tuple("" if one[name]["rate"] is None else percent(one[name]) for name in names)


def ttc(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for name, one in (run["ttc"] or {}).get("methods", {}).items():
            accuracy = f"{one['accuracy']:.1f} [{one['low']:.1f}, {one['high']:.1f}]"
            yield METHODS[name], accuracy, f"{one['calls']:,}", f"{one['tokens']:,}"

    return _tabled(found, "answer | > right, % | > calls | > tokens", rows)


def others(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for arm, words in ARMS.items():
            for domain, one in run["others"].get(arm, {}).items():
                yield words, domain, f"{one['before']:.1f}", f"{one['after']:.1f}", gain(one)

    return _tabled(found, "trained on | exam | > before | > after | > difference, 95 % interval", rows)


def cost(found: Json) -> str:
    def rows(run: Json) -> Iterator[Row]:
        for name, one in run["steps"].items():
            if one["seconds"] >= 60:
                minutes = (f"{one[clock] / 60:.0f}" for clock in ("seconds", "cpu_seconds"))
                yield name, *minutes, f"{one['peak_mb'] / 1000:.1f}"

    return _tabled(found, "step | > minutes | > minutes of one core | > peak memory, GB", rows)
