"""The model card of a run's model: what `training.card` says of its training, and what the run measured.

From the questions to the examples, how good the judges were, the exam before and after with its intervals, and how to
do it again. Written once the figures are there; the training process writes the card without them.
"""

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from veridistill.config import Config, fields
from veridistill.data.rundir import RunDir, write_atomically
from veridistill.report.values import number, part
from veridistill.runs import results
from veridistill.runs.export.card import audit, funnel
from veridistill.runs.origin import origin
from veridistill.training.card import CARD, card
from veridistill.training.job import RESULT, read_result


def write(run: RunDir, number: int) -> None:
    """Write the card into the directory of the round's model, unless what the run recorded of it is lost."""
    model = run.round(number).model
    if (model / RESULT).is_file() and len(results.read(run)["rounds"]) >= number:
        write_atomically(model / CARD, text(run, number))


def text(run: RunDir, number: int) -> str:
    """The card as Markdown. Raises `ConfigError` when the round has no model."""
    trained, data = read_result(run.round(number).model), results.read(run)
    built = data["rounds"][number - 1]
    sections = [_exam(data, built), funnel(built), audit(built), _again(run)]
    if trained.adopted is not None:
        sections = [_exam(data, built), _again(run)]
    return card(origin(run, number), run.config.train, trained, [one for one in sections if one])


def _exam(data: Mapping[str, Any], built: Mapping[str, Any]) -> str:
    """pass@1 of base and model by benchmark; the paired gains too, where this round's exam is the latest."""
    base, after = data.get("base"), built.get("after")
    if not base or not after:
        return ""
    gains = {"all problems": data.get("gain"), **(part(data, "gains", "benchmarks") or {})}
    if data.get("after") != after:
        gains = {}
    sides = [("all problems", base, after)]
    apart = base["benchmarks"]
    if len(apart) > 1:
        sides += [
            (name, one, after["benchmarks"][name])
            for name, one in apart.items()
            if name in after["benchmarks"]
        ]
    rows = "\n".join(f"| {' | '.join(_row(name, old, new, gains.get(name)))} |" for name, old, new in sides)
    head = "| pass@1, in points | problems | base | this model | gain (95 % interval) |\n|---|---:|---:|---:|---:|"
    samples = f"Each problem was answered {base['samples']} times. The interval is over problems, paired."
    return f"## Exam\n\n{head}\n{rows}\n\n{_paragraph(samples)}"


def _row(name: str, base: Any, after: Any, gain: Any) -> Iterator[str]:
    yield name
    yield f"{base['num_problems']:,}"
    yield from (_points(one["pass_at_1"]) for one in (base, after))
    if not gain or number(gain["mean"]) is None:
        yield "not measured"
    elif number(gain["low"]) is None:
        yield f"{gain['mean']:+.1f} (too few problems for an interval)"
    else:
        yield f"{gain['mean']:+.1f} ({gain['low']:+.1f} to {gain['high']:+.1f})"


def _points(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.1f}"


def _again(run: RunDir) -> str:
    version = results.read(run)["version"]
    told = _paragraph(
        f"With veridistill {version}, in a directory with the files that are named here. The same settings ask the same"
        " requests with the same seeds; how far the replies are the same depends on the engine."
    )
    command = " \\\n  ".join(["veridistill run --out runs/again", *_settings(run)])
    return f"## How to reproduce\n\n{told}\n\n```sh\n{command}\n```"


def _settings(run: RunDir) -> Iterator[str]:
    """The settings that decide what is kept and learned, and the rounds, where they are not the defaults."""
    default, own = Config().model_dump(mode="json"), run.config.model_dump(mode="json")
    for name, kind in fields():
        value = _at(own, name)
        if value != _at(default, name) and (kind == "identity" or name in ("rounds", "build.target")):
            yield f"-o {shlex.quote(f'{name}={json.dumps(public(value), ensure_ascii=False)}')}"


def public(value: Any) -> Any:
    """A setting without the directories of this machine."""
    if isinstance(value, dict):
        return {name: public(one) for name, one in value.items()}
    if isinstance(value, list):
        return [public(one) for one in value]
    if isinstance(value, str) and (value.startswith(("/", "~", ".")) or Path(value).exists()):
        return Path(value).name or value
    return value


def _at(data: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        data = data[name]
    return data


def _paragraph(words: str) -> str:
    return textwrap.fill(words, 110, break_long_words=False, break_on_hyphens=False)
