"""The figures of `results.json`, made from what a build counted, the journal's usage and the exams' attempts; and the
same figures as lines for a terminal.

Pure: `results` reads and writes the file. The statistics are `evaluation`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from veridistill.calls.journal import Usage
from veridistill.calls.meter import Meter
from veridistill.data.seeds import Seeds
from veridistill.engines.base import Engine, EngineStats
from veridistill.evaluation import paired, statistics, ttc
from veridistill.records import Attempt, Problem
from veridistill.runs.funnel import Counts, Funnel
from veridistill.runs.target import Target
from veridistill.training.rows import Curation

OUTCOMES = ("accepted", "rejected", "malformed", "unjudged", "skipped")
_RATES = ("truncated", "no_answer", "refused", "ungraded")


@dataclass(frozen=True, slots=True)
class Built:
    """What a build counted, and which models answered."""

    seeds: Seeds
    selection: str
    counts: Counts
    target: Target
    curation: Curation
    engine: Engine
    judge: Engine


def of_round(built: Built) -> dict[str, Any]:
    """An entry of `rounds`: what was counted, and which models built and judged."""
    return _counts(built) | _who(built)


def _counts(built: Built) -> dict[str, Any]:
    seeds, counts, curation = built.seeds, built.counts, built.curation
    return {
        "selection": built.selection,
        "stopped_at_target": built.target.num if built.target.reached else None,
        **_of_funnel(counts.funnel),
        "domains": {name: _of_funnel(one) for name, one in counts.domains.items()},
        "audit": counts.audit.summary(),
        "canaries": counts.canaries.summary(),
        "duplicate_seeds": seeds.num_duplicates,
        "near_duplicate_seeds": seeds.num_near_duplicates,
        "contaminated_seeds": seeds.num_contaminated,
        "examples": curation.examples,
        "dropped_examples": dict(curation.dropped),
    }


def _of_funnel(funnel: Funnel) -> dict[str, Any]:
    return {
        "funnel": funnel.counts(),
        "outcomes": {name: funnel.outcomes[name] for name in OUTCOMES},
        "defects": dict(sorted(funnel.defects.items())),
        "votes": funnel.ballots(),
        "invalid_share": funnel.invalid_share,
        "questions_kept": funnel.questions_kept,
    }


def _who(built: Built) -> dict[str, Any]:
    return {
        "model": built.engine.fingerprint,
        "reasons": built.engine.reasons,
        "stop_ids": list(built.engine.stop_ids),
        "judge": {"model": built.judge.fingerprint, "reasons": built.judge.reasons},
    }


def of_usage(rows: Sequence[Usage], old: dict[str, Any], stats: EngineStats, meter: Meter) -> dict[str, Any]:
    """`calls` and `tokens`; `old`: the tokens that earlier engines of this run counted."""
    calls = {row.role: row.calls for row in rows}
    return {
        "calls": calls | {"total": sum(calls.values()), "cancelled": sum(row.cancelled for row in rows)},
        "tokens": {
            "prompt": sum(row.prompt_tokens for row in rows),
            "completion": sum(row.completion_tokens for row in rows),
            "cancelled": old.get("cancelled", 0) + stats.cancelled_tokens,
            "unneeded": max(old.get("unneeded", 0), meter.unneeded_tokens),
            "by_role": {
                row.role: {"prompt": row.prompt_tokens, "completion": row.completion_tokens} for row in rows
            },
        },
    }


def of_exam(attempts: list[Attempt], problems: Iterable[Problem]) -> dict[str, Any]:
    """`statistics.describe` over all problems, and for each benchmark; answers vote by the form of their kind."""
    kinds = {(p.benchmark, p.problem_id): p.kind for p in problems}

    def described(found: list[Attempt]) -> dict[str, Any]:
        return asdict(
            statistics.describe(found, lambda a: ttc.form(kinds[a.benchmark, a.problem_id], a.answer))
        )

    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.benchmark, []).append(attempt)
    return described(attempts) | {"benchmarks": {name: described(group) for name, group in groups.items()}}


def gains(before: list[Attempt], after: list[Attempt], domains: dict[str, str]) -> dict[str, Any]:
    """`gain`: the paired difference over all problems; `gains`: those by benchmark and by domain."""
    found = paired.compare(before, after, domains).summary()
    return {"gain": found.pop("pooled"), "gains": found}


# --- for a terminal ---------------------------------------------------------------------------------------------


def summary_lines(data: dict[str, Any]) -> str:
    """A run's outcome, for a terminal: a line for all problems, and one for each benchmark if there are several."""
    gain, base = data.get("gain"), data.get("base")
    if gain and base:
        lines = [f"pass@1 {_gain_line(gain)} x {base['samples']} samples"]
        apart = data["gains"]["benchmarks"]
        lines += [f"  {name}: {_gain_line(one)}" for name, one in apart.items() if one and len(apart) > 1]
        return "\n".join(lines)
    if not data.get("rounds"):
        return "nothing built yet"
    funnel, kept = data["funnel"], data["rounds"][-1]["questions_kept"]
    return f"{funnel['kept']} candidates kept, of {kept} of {funnel['seeds']} questions; no exam"


def target_line(data: dict[str, Any]) -> str | None:
    """Whether the latest build stopped at its target, or found too few questions for it; None where it had none."""
    target, built = data["config"]["build"].get("target"), data["rounds"][-1]
    if built.get("stopped_at_target"):
        return f"stopped at its target of {built['stopped_at_target']:,}"
    if target and built["questions_kept"] < target:
        return f"kept {built['questions_kept']:,}, short of its target of {target:,}: there are no more questions"
    return None


def funnel_lines(funnel: dict[str, Any]) -> str:
    """A build's counts, for a terminal."""
    lines = [f"{name:18} {funnel[name]:,}" for name in ("seeds", "candidates", "well_formed")]
    lines += [
        f"  {stage:18} asked {one['asked']:,}, passed {one['passed']:,}, ended {one['ended']:,}"
        for stage, one in funnel["stages"].items()
    ]
    return "\n".join([*lines, f"{'kept':18} {funnel['kept']:,}"])


def exam_lines(data: dict[str, Any]) -> str:
    """The exams' figures, for a terminal: models, benchmarks, the gain, and the cascade at test time."""
    lines = []
    for which in ("base", "after"):
        if found := data.get(which):
            apart = found["benchmarks"]
            lines.append(f"{which:6} {_exam_line(found)}")
            lines += [f"  {name}: {_exam_line(one)}" for name, one in apart.items() if len(apart) > 1]
    if data.get("gain"):
        lines.append(summary_lines(data))
    for which, found in (data.get("ttc") or {}).items():
        lines += [f"at test time, {which}:", ttc.table(found)]
    return "\n".join(lines)


def _exam_line(found: dict[str, Any]) -> str:
    if found["pass_at_1"] is None:
        return f"pass@1 unknown: no sample could be graded{_left_out(found)}"
    error = "" if found["se"] is None else f" (standard error {found['se']:.1f})"
    rates = ", ".join(
        f"{found[name]:.1f} % {name.replace('_', ' ')}"
        for name in _RATES
        if found[name] or name == "truncated"
    )
    size = f"{found['num_problems']} problems x {found['samples']} samples"
    return f"pass@1 {found['pass_at_1']:.1f}{error}, {size}; {rates}{_left_out(found)}"


def _left_out(found: dict[str, Any]) -> str:
    reasons = (
        ("ungraded_problems", "could not be graded"),
        ("unreadable_problems", "have no readable reference"),
    )
    return "".join(f"; {found[name]} more problems {reason}" for name, reason in reasons if found[name])


def _gain_line(gain: dict[str, Any]) -> str:
    few = gain["low"] is None
    interval = (
        "too few problems for an interval"
        if few
        else f"95 % interval [{gain['low']:+.1f}, {gain['high']:+.1f}]"
    )
    if gain["method"] == "rule_of_three":
        interval += " (all differences equal: rule of three)"
    return (
        f"{gain['before']:.1f} -> {gain['after']:.1f}: gain {gain['mean']:+.1f} points, {interval},"
        f" {gain['num_problems']} problems"
    )
