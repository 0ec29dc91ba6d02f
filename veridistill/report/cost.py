"""What a run cost: calls, tokens, time and money, and what asking lazily saved."""

from collections.abc import Mapping
from typing import Any

from veridistill.report.values import (
    NONE,
    PERCENT,
    Item,
    Results,
    Table,
    count,
    decimal,
    duration,
    label,
    number,
    pairs,
    part,
)

_CALLS_PER_VOTE = {"cycle_consistency": 2}
_ROLES = {
    "cycle_consistency": ("infer", "compare"),
    "factuality": ("factuality",),
    "correctness": ("correctness", "reference"),
    "simple": ("simple",),
}
_EXAM = "exam"


def work(results: Results) -> Table | None:
    """Calls and tokens by role."""
    calls, tokens = part(results, "calls"), part(results, "tokens")
    by_role = part(tokens, "by_role")
    roles = dict.fromkeys(
        [name for name, _ in pairs(calls) if name not in ("total", "cancelled")]
        + [name for name, _ in pairs(by_role)]
    )
    rows = [
        (name, part(calls, name), *(part(by_role, name, k) for k in ("prompt", "completion")))
        for name in roles
    ]
    total = ("total", *map(count, (part(calls, "total"), part(tokens, "prompt"), part(tokens, "completion"))))
    if not rows and total[1:] == (NONE,) * 3:
        return None
    lines = tuple((label(name), *map(count, cells)) for name, *cells in rows)
    notes = []
    if number(part(tokens, "cancelled")):
        notes.append(f"Cancelled work, in no row: {count(part(tokens, 'cancelled'))} tokens.")
    if number(part(tokens, "unneeded")):
        notes.append(f"Early replies that were not needed: {count(part(tokens, 'unneeded'))} tokens.")
    header = ("role", "calls", "prompt tokens", "completion tokens")
    return Table("Calls and tokens by role", header, lines, total, " ".join(notes))


def seconds(results: Results) -> Table | None:
    found = {name: value for name, value in pairs(part(results, "seconds")) if number(value) is not None}
    rows = tuple((label(name), duration(value)) for name, value in found.items() if name != "total")
    return Table("Time by step", ("step", "time"), rows, ("total", _time(results))) if rows else None


def money(results: Results) -> Table | None:
    """`cost`: what the tokens cost at the prices of the configuration."""
    cost = part(results, "cost")
    if number(part(cost, "total")) is None:
        return None
    rows = tuple((label(name), _amount(value, cost)) for name, value in pairs(part(cost, "parts")))
    whole = _amount(part(cost, "total"), cost)
    return Table(
        "Money", ("part", "cost"), rows or (("all tokens", whole),), ("total", whole) if rows else ()
    )


def _amount(value: Any, cost: Any) -> str:
    found, currency = number(value), part(cost, "currency")
    if found is None:
        return NONE
    return f"{found:,.2f}\N{NO-BREAK SPACE}{currency}" if currency else f"{found:,.2f}"


def _time(results: Results) -> str:
    found = {name: number(value) for name, value in pairs(part(results, "seconds"))}
    whole = found.get("total")
    return (
        duration(whole if whole is not None else sum(value or 0 for value in found.values()))
        if found
        else NONE
    )


def items(results: Results) -> list[Item]:
    """The run's cost at a glance; what is not known is left out."""
    tokens = [number(part(results, "tokens", kind)) for kind in ("prompt", "completion")]
    found = [
        ("calls", count(part(results, "calls", "total")), number(part(results, "calls", "total"))),
        ("tokens", count(sum(value or 0 for value in tokens)), any(value for value in tokens)),
        ("time", _time(results), part(results, "seconds")),
        ("accepted per million tokens", _yield(results), _yield(results)),
        ("calls saved by laziness", *[_percent(saved(results, tokens=False))] * 2),
        ("tokens saved, estimated", *[_percent(saved(results, tokens=True))] * 2),
        ("money", _amount(part(results, "cost", "total"), part(results, "cost")), part(results, "cost")),
    ]
    return [Item(name, shown) for name, shown, there in found if there]


def _yield(results: Results) -> str:
    """Accepted candidates for each million tokens of the build, prompts included."""
    accepted, used = number(part(results, "outcomes", "accepted")), _build_tokens(results)
    return decimal(accepted / used * 1e6) if accepted is not None and used else ""


def _build_tokens(results: Results) -> float:
    return sum(_tokens(spent) for role, spent in pairs(part(results, "tokens", "by_role")) if role != _EXAM)


def _tokens(spent: Any) -> float:
    return sum(number(part(spent, kind)) or 0 for kind in ("prompt", "completion"))


def saved(results: Results, tokens: bool) -> float | None:
    """The share of the work that a build would take more if every candidate were sampled and every vote were asked.

    Calls are counted without re-asks and follow-ups, on both sides; with `tokens`, each counts as its role's mean. None
    where it cannot be known.
    """
    config = part(results, "config")
    candidates, votes = number(part(config, "generate", "candidates")), number(part(config, "judge", "votes"))
    stages = part(config, "judge", "stages")
    seeds, sampled, well = (
        number(part(results, "funnel", name)) for name in ("seeds", "candidates", "well_formed")
    )
    if not (
        candidates and votes and seeds and sampled and well is not None and isinstance(stages, list | tuple)
    ):
        return None
    solve = _mean_tokens(results, ("solve",)) if tokens else 1.0
    weights = {stage: _weight(results, str(stage), tokens) for stage in stages}
    asked = {
        stage: sum(number(value) or 0 for _, value in pairs(part(results, "votes", stage)))
        for stage in stages
    }
    done = sampled * solve + sum(asked[stage] * weights[stage] for stage in stages)
    whole = seeds * candidates * (solve + well / sampled * votes * sum(weights.values()))
    return max(0.0, 1 - done / whole) if whole else None


def _weight(results: Results, stage: str, tokens: bool) -> float:
    if not tokens:
        return _CALLS_PER_VOTE.get(stage, 1)
    return sum(_mean_tokens(results, (role,)) for role in _ROLES.get(stage, (stage,)))


def _mean_tokens(results: Results, roles: tuple[str, ...]) -> float:
    """Tokens of a mean call."""
    calls: Mapping[str, Any] = dict(pairs(part(results, "calls")))
    num = sum(number(calls.get(role)) or 0 for role in roles)
    used = sum(_tokens(part(results, "tokens", "by_role", role)) for role in roles)
    return used / num if num else 0.0


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}{PERCENT}"
