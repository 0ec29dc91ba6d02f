"""Tokens as money, by the prices per million tokens of the section `cost`. Without prices there is no cost."""

from collections.abc import Mapping
from typing import Any

from veridistill.config import CostSection
from veridistill.engines.base import EngineStats
from veridistill.records import JUDGING

_MILLION = 1_000_000


def of_tokens(section: CostSection, tokens: Mapping[str, Any]) -> dict[str, Any] | None:
    """`results["cost"]` from `results["tokens"]`: currency, total, and a part for each role and for cancelled work.

    Prompts of cancelled calls are not in it, since engines do not count them.
    """
    if not section.priced:
        return None
    parts = {
        role: _money(section, role in JUDGING, one["prompt"], one["completion"])
        for role, one in tokens["by_role"].items()
    }
    if tokens.get("cancelled"):
        parts["cancelled"] = _money(section, False, 0, tokens["cancelled"])
    return {
        "currency": section.currency,
        "total": round(sum(parts.values()), 6),
        "parts": {role: round(one, 6) for role, one in parts.items()},
    }


def of_engines(section: CostSection, engine: EngineStats, judge: EngineStats) -> float | None:
    """What the engine and a judge with an engine of its own have cost, tokens of calls under way included."""
    if not section.priced:
        return None
    return _money(section, False, engine.prompt_tokens, engine.decoded_tokens) + _money(
        section, True, judge.prompt_tokens, judge.decoded_tokens
    )


def line(found: Mapping[str, Any]) -> str:
    """For a terminal: the total, and the largest parts of it."""
    largest = sorted(found["parts"].items(), key=lambda part: -part[1])[:4]
    parts = ", ".join(f"{role} {money:,.2f}" for role, money in largest)
    return f"{found['currency']} {found['total']:,.2f}" + (f" ({parts})" if parts else "")


def _money(section: CostSection, judging: bool, prompt: int, completion: int) -> float:
    own = section.judge_prompt, section.judge_completion
    prices = section.prompt, section.completion
    used = [mine if judging and mine is not None else price for mine, price in zip(own, prices, strict=True)]
    return (prompt * (used[0] or 0.0) + completion * (used[1] or 0.0)) / _MILLION
