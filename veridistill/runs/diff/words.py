"""A comparison as sections of sentences and tables: the same on a terminal and on a page.

Pure. Every number is formatted here or in `exam_words`, and every text stays as it is: `text` cuts it to a line, and
`page` escapes it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from veridistill.report.values import (
    NONE,
    Table,
    between,
    count,
    decimal,
    duration,
    label,
    number,
    part,
    share,
)
from veridistill.runs.diff import Diff
from veridistill.runs.diff.exam_words import difference, exam_sections, models
from veridistill.runs.diff.judges import Agreement, Verdicts
from veridistill.runs.diff.kept import Change, Questions
from veridistill.runs.diff.section import Reading, Section, of_all
from veridistill.runs.diff.sides import Side


def sections(diff: Diff) -> list[Section]:
    """What there is to say; a part that cannot be compared says why."""
    return [
        _runs(diff),
        _settings(diff),
        _funnels(diff.a, diff.b),
        _cost(diff.a, diff.b),
        _questions(diff),
        _verdicts(diff),
        *exam_sections(diff.exams),
    ]


def headline(diff: Diff) -> str:
    """The outcome in one sentence."""
    if diff.shares_nothing:
        return (
            "These runs share no question and no problem: only their settings, their counts and their cost stand beside"
            " each other."
        )
    last = diff.exams[-1] if diff.exams else None
    if last is not None and last.difference is not None:
        return f"{models(last)}: {difference(last)}"
    found = diff.questions
    assert found is not None
    return (
        f"Of {count(found.common)} common questions, the runs kept the same for {count(found.same + found.neither)} and"
        f" something else for {count(found.other + found.kept_in_a_only + found.kept_in_b_only)}; there is no exam that"
        " both took."
    )


# --- the runs themselves ----------------------------------------------------------------------------------------


def _runs(diff: Diff) -> Section:
    rows = [
        (
            name,
            side.run,
            side.status,
            NONE if side.round is None else str(side.round),
            side.shard or "all",
            side.version or NONE,
        )
        for name, side in (("A", diff.a), ("B", diff.b))
    ]
    forks = tuple(
        f"{name} takes replies from {side.forked} other {'run' if side.forked == 1 else 'runs'} (a fork): these are"
        " not in its cost."
        for name, side in (("A", diff.a), ("B", diff.b))
        if side.forked
    )
    table = Table("Runs", ("", "run", "status", "round", "shard", "version"), tuple(rows))
    return Section("Runs", forks, (table,))


def _settings(diff: Diff) -> Section:
    found = [
        _setting_table(diff, kind, caption)
        for kind, caption in (
            ("identity", "Settings that can change what is kept or measured"),
            ("runtime", "Settings that change only cost and place"),
        )
    ]
    same = () if diff.settings else ("All settings are the same.",)
    return Section("Settings", same, tuple(table for table in found if table.rows))


def _setting_table(diff: Diff, kind: str, caption: str) -> Table:
    rows = [(one.name, _shown(one.a), _shown(one.b)) for one in diff.settings if one.kind == kind]
    return Table(caption, ("field", "A", "B"), tuple(rows))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _funnels(a: Side, b: Side) -> Section:
    if a.funnel is None and b.funnel is None:
        return Section("From candidates to examples", ("Neither run has built anything.",))
    stages = dict.fromkeys(stage for side in (a, b) for stage in part(side.funnel, "stages") or {})
    paths = [
        ("questions", ("seeds",)),
        ("candidates", ("candidates",)),
        ("well formed", ("well_formed",)),
        *(
            (f"{label(stage)}: {what}", ("stages", stage, what))
            for stage in stages
            for what in ("asked", "passed", "ended")
        ),
        ("kept", ("kept",)),
    ]
    rows: list[tuple[str, ...]] = [
        (words, *_beside(part(a.funnel, *path), part(b.funnel, *path))) for words, path in paths
    ]
    accepted = _beside(*(part(side.outcomes, "accepted") for side in (a, b)))
    rows.insert(-1, ("accepted", *accepted))
    shares = tuple(
        share(number(part(side.funnel, "kept")) or 0, number(part(side.funnel, "seeds")) or 0)
        for side in (a, b)
    )
    rows.append(("kept per question", *shares, ""))
    table = Table("Candidates", ("", "A", "B", "B − A"), tuple(rows))
    note = "Votes stop as soon as a candidate's outcome is known: what a stage passed does not measure its judge."
    return Section("From candidates to examples", (note,), (table,))


def _beside(a: Any, b: Any) -> tuple[str, str, str]:
    first, second = number(a), number(b)
    both = first is not None and second is not None
    return count(a), count(b), _signed_count(second - first) if both else NONE  # type: ignore[operator]


def _signed_count(value: float) -> str:
    return f"{value:+,.0f}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _cost(a: Side, b: Side) -> Section:
    if a.cost is None and b.cost is None:
        return Section("Cost", ("Neither run has asked anything.",))
    counted = [
        ("calls", "calls"),
        ("prompt tokens", "prompt_tokens"),
        ("completion tokens", "completion_tokens"),
        ("cancelled tokens", "cancelled_tokens"),
    ]
    rows: list[tuple[str, ...]] = [
        (words, *_beside(*(getattr(side.cost, name, None) for side in (a, b)))) for words, name in counted
    ]
    times = [duration(getattr(side.cost, "seconds", None)) for side in (a, b)]
    rates = [number(getattr(side.cost, "accepted_per_million", None)) for side in (a, b)]
    rows.append(("time", *times, ""))
    rows.append(
        (
            "accepted candidates per million tokens",
            *(NONE if rate is None else decimal(rate) for rate in rates),
            "",
        )
    )
    return Section("Cost", (), (Table("Calls, tokens and time", ("", "A", "B", "B − A"), tuple(rows)),))


# --- what was kept ----------------------------------------------------------------------------------------------


def _questions(diff: Diff) -> Section:
    title, found = "Questions", diff.questions
    if found is None:
        without = " and ".join(name for name, side in (("A", diff.a), ("B", diff.b)) if side.round is None)
        return Section(title, (f"Nothing is built in {without}, so what was kept cannot be compared.",))
    if not found.common:
        return Section(
            title,
            (
                f"The runs share no question: {count(found.asked_in_a_only)} are A's alone,"
                f" {count(found.asked_in_b_only)} B's.",
            ),
        )
    counts = (
        ("the same kept in both", found.same),
        ("another candidate kept", found.other),
        ("kept in A only", found.kept_in_a_only),
        ("kept in B only", found.kept_in_b_only),
        ("nothing kept in either", found.neither),
    )
    rows = tuple((words, count(num), share(num, found.common)) for words, num in counts)
    tables = (Table("Common questions", ("", "questions", "share"), rows), *_changes(found))
    return Section(title, tuple(_asked(found)), tables, tuple(_readings(found)))


def _asked(found: Questions) -> Iterator[str]:
    yield f"{count(found.common)} questions were asked in both runs."
    if found.asked_in_a_only or found.asked_in_b_only:
        yield (
            f"{count(found.asked_in_a_only)} more were asked in A alone, {count(found.asked_in_b_only)} in B alone:"
            " they are not counted below."
        )


_CHANGES = {
    "a_only": ("Kept in A only", "kept_in_a_only"),
    "b_only": ("Kept in B only", "kept_in_b_only"),
    "other": ("Another candidate kept", "other"),
}


def _changes(found: Questions) -> Iterator[Table]:
    for name, (caption, counted) in _CHANGES.items():
        if changes := found.changes[name]:
            rows = tuple((one.seed_id, _indices(one.a), _indices(one.b), one.question) for one in changes)
            header = ("question", "A's candidate", "B's candidate", "text")
            yield Table(of_all(caption, len(changes), getattr(found, counted)), header, rows)


def _indices(kept: Mapping[int, str]) -> str:
    return ", ".join(map(str, sorted(kept))) or NONE


def _readings(found: Questions) -> Iterator[Reading]:
    for name, (caption, _) in _CHANGES.items():
        for one in found.changes[name]:
            yield Reading(f"{one.seed_id}: {caption.lower()}", tuple(_answers(one)))


def _answers(change: Change) -> Iterator[tuple[str, str]]:
    yield "Question", change.question
    for name, answers in (("A", change.a), ("B", change.b)):
        for index, answer in sorted(answers.items()):
            yield f"{name} kept candidate {index}", answer


# --- judges -----------------------------------------------------------------------------------------------------


def _verdicts(diff: Diff) -> Section:
    title, found = "Judges", diff.verdicts
    if found is None:
        return Section(title, ("Judges are compared on candidates of two builds.",))
    if found.accepted is None:
        why = (
            "none was judged in both"
            if found.common
            else "the runs sampled no candidate with the same text under the same index"
        )
        return Section(title, (f"Their verdicts cannot be compared: {why}.",))
    rows = [
        _agreement("accepted", found.accepted),
        *(_agreement(label(stage), one) for stage, one in found.stages.items()),
    ]
    header = (
        "",
        "candidates",
        "yes in both",
        "A only",
        "B only",
        "no in both",
        "agree",
        "95 % interval",
        "kappa",
    )
    table = Table("Verdicts on the same candidates", header, tuple(rows))
    return Section(title, (_judged(found, found.accepted),), (table,))


def _judged(found: Verdicts, accepted: Agreement) -> str:
    return (
        f"The runs have {count(found.common)} candidates in common, and judged {count(accepted.num)} of them both. A"
        " stage counts where all of its votes are known, or one that is not yes. Intervals are over questions."
    )


def _agreement(name: str, one: Agreement) -> tuple[str, ...]:
    counts = (one.num, one.both, one.a_only, one.b_only, one.neither)
    kappa = NONE if one.kappa is None else f"{one.kappa:.2f}".replace("-", "\N{MINUS SIGN}")
    return name, *map(count, counts), share(one.both + one.neither, one.num), between(one.agreed), kappa
