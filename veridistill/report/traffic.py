"""A step's calls and tokens at one moment, and how `progress.json` has them. `runs.live` reads them off a run."""

from dataclasses import dataclass, replace
from typing import Any

from veridistill.report.pace import Pace


@dataclass(frozen=True, slots=True)
class Traffic:
    """A step's calls and tokens at one moment.

    `in_flight` of `slots` are in the engine. `asked` were answered by it, `replayed` by the journal. `tokens` were
    decoded, those of calls under way included; `prompt_tokens` are of calls that were answered. `reasks` are votes that
    were asked again, `retries` attempts of the engine after a call's first. `judged` candidates have a verdict, and
    `accepted` are those of them that passed. `expected`: calls in all, at least and at most. `cost`: money spent.
    """

    in_flight: int = 0
    slots: int = 0
    asked: int = 0
    replayed: int = 0
    cancelled: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    reasks: int = 0
    retries: int = 0
    judged: int = 0
    accepted: int = 0
    expected: tuple[int, int] | None = None
    cost: float | None = None
    currency: str = ""


_COUNTS = (
    "asked",
    "replayed",
    "cancelled",
    "tokens",
    "prompt_tokens",
    "reasks",
    "retries",
    "judged",
    "accepted",
)
"""What never falls."""


def recorded(seen: Traffic | None, pace: Pace) -> dict[str, Any]:
    """The parts of a record that are about calls, all None for a step that makes none."""
    if seen is None:
        return dict.fromkeys(("calls", "tokens", "candidates", "cost"))
    spent = None if seen.cost is None else {"spent": round(seen.cost, 6), "currency": seen.currency}
    return {
        "calls": _calls(seen, pace),
        "tokens": _tokens(seen, pace),
        "candidates": {"judged": seen.judged, "accepted": seen.accepted},
        "cost": spent,
    }


def _calls(seen: Traffic, pace: Pace) -> dict[str, Any]:
    low, high = seen.expected or (None, None)
    return {
        "done": seen.asked + seen.replayed,
        "expected_low": low,
        "expected_high": high,
        "asked": seen.asked,
        "replayed": seen.replayed,
        "cancelled": seen.cancelled,
        "in_flight": seen.in_flight,
        "slots": seen.slots,
        "occupancy": round(pace.busy, 4),
        "per_second": pace.rate("asked"),
        "reasks": seen.reasks,
        "retries": seen.retries,
    }


def _tokens(seen: Traffic, pace: Pace) -> dict[str, Any]:
    return {"decoded": seen.tokens, "prompt": seen.prompt_tokens, "per_second": pace.rate("tokens")}


def onward(before: Traffic | None, now: Traffic) -> Traffic:
    """`now` with no count below what was shown before: counts are read while other threads change them."""
    if before is None:
        return now
    later = {name: max(getattr(before, name), getattr(now, name)) for name in _COUNTS}
    cost = now.cost if before.cost is None or now.cost is None else max(before.cost, now.cost)
    return replace(now, cost=cost, **later)
