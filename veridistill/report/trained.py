"""What a round's training recorded: loss of each step, and learning rate and validation loss where they are there."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.report import charts
from veridistill.report.charts import Line
from veridistill.report.values import Item, count, duration, number, pairs

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Training:
    """One round's training. Losses are in nats; `x` of each point is the optimizer step, from 1."""

    round: int
    losses: Points
    rates: Points = ()
    validation: Points = ()
    facts: tuple[Item, ...] = ()

    @property
    def loss_chart(self) -> str:
        series = [Line("loss", "loss", self.losses), Line("validation loss", "validation", self.validation)]
        return charts.lines("Training loss", "optimizer step", series)

    @property
    def rate_chart(self) -> str:
        return charts.lines(
            "Learning rate", "optimizer step", [Line("learning rate", "rate", self.rates)], True
        )


def training(model: Path, number_of: int) -> Training | None:
    """From `training.json` beside a trained model; None where there is none that can be read.

    `losses` and `learning_rates` have one value a step; `validation` has objects with `step` and `loss`.
    """
    try:
        data = json.loads((model / "training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    losses = _by_step(data.get("losses"))
    found = Training(
        round=number_of,
        losses=losses,
        rates=_by_step(data.get("learning_rates")),
        validation=_points(data.get("validation")),
        facts=tuple(_facts(data, losses)),
    )
    return found if losses or found.facts else None


def _by_step(values: Any) -> Points:
    values = values if isinstance(values, list) else []
    return tuple(
        (float(step), value) for step, value in enumerate(map(number, values), 1) if value is not None
    )


def _points(values: Any) -> Points:
    values = values if isinstance(values, list) else []
    found = (tuple(number(dict(pairs(one)).get(name)) for name in ("step", "loss")) for one in values)
    return tuple((step, loss) for step, loss in found if step is not None and loss is not None)


def _facts(data: dict[str, Any], losses: Points) -> Iterable[Item]:
    for name, words in (
        ("steps", "optimizer steps"),
        ("num_rows", "rows"),
        ("label_tokens", "tokens with loss"),
    ):
        if number(data.get(name)) is not None:
            yield Item(words, count(data[name]))
    if losses:
        first, last = (_nats(_mean_of(part)) for part in (losses[: _part(losses)], losses[-_part(losses) :]))
        yield Item("loss, first and last tenth", f"{first} and {last} nats")
    if number(data.get("seconds")) is not None:
        yield Item("time", duration(data["seconds"]))
    if number(data.get("num_dropped")):
        yield Item("rows left out as too long", count(data["num_dropped"]))
    if number(data.get("resumed_from")):
        yield Item("resumed from step", count(data["resumed_from"]))


def _part(points: Points) -> int:
    return max(1, len(points) // 10)


def _mean_of(points: Points) -> float:
    return math.fsum(value for _, value in points) / len(points)


def _nats(value: float) -> str:
    return f"{value:.3g}"
