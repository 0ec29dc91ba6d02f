"""Quality limits: whether a build may be trained on (`quality.*` in the configuration).

Reads the figures that the build left in `results.json`; `pipeline` decides when to look at them, and `early` looks at a
build that has only begun.
"""

from dataclasses import asdict
from typing import Any

from veridistill.config import QualitySection
from veridistill.errors import ConfigError, QualityLimit
from veridistill.runs import canaries, results
from veridistill.runs.early import Stopped
from veridistill.runs.session import Session


def check(session: Session, number: int) -> None:
    """Raises `QualityLimit` when round `number` must not be trained on, `ConfigError` when it is not built."""
    run = session.run
    rounds = results.read(run).get("rounds", [])
    # A round whose figures were lost is an empty entry.
    if len(rounds) < number or not rounds[number - 1] or not run.round(number).built:
        raise ConfigError(f"{run.path}: round {number} was not built to its end; run veridistill build first")
    if faults := _faults(rounds[number - 1], session.config.quality):
        message = f"round {number} is not trained on: " + "; ".join(faults) + f"; see {run.report}"
        results.warn(run, message)
        raise QualityLimit(message)


def stopped(session: Session, number: int, found: Stopped) -> QualityLimit:
    """The error that ends a build after its first questions, which is recorded."""
    message = f"round {number} was {found.message(session.config.quality.max_invalid)}"
    results.add_stop(session.run, {"round": number, **asdict(found)})
    results.warn(session.run, message)
    return QualityLimit(message)


def _faults(built: dict[str, Any], section: QualitySection) -> list[str]:
    """Which limits a build crosses, and what to do where that is known."""
    faults = []
    if without := built["dropped_examples"].get("no_ids"):
        faults.append(
            f"{without} candidates have no token ids; to train on them set model.path to the model's directory,"
            " whose tokenizer makes them"
        )
    if built["examples"] < section.min_kept:
        faults.append(
            f"{built['funnel']['kept']} candidates kept, {built['examples']} of them fit to train on,"
            f" fewer than quality.min_kept={section.min_kept}"
        )
    if built["invalid_share"] > section.max_invalid:
        faults.append(
            f"{built['invalid_share']:.0%} of votes invalid, above quality.max_invalid={section.max_invalid}"
        )
    if accepted := canaries.fault(built["canaries"], section.max_canaries):
        faults.append(accepted)
    return faults
