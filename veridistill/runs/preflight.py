"""Whether a run can be trained on this machine once it is built: asked before the build, which is what costs.

`training.plan` calculates; here the model's dimensions, the machine and the disk are looked up.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from veridistill.config import Config, ModelSection
from veridistill.engines import model_directory
from veridistill.engines.dtype import fastest
from veridistill.errors import ConfigError
from veridistill.runs.session import Session
from veridistill.training import machine
from veridistill.training.memory import Shape
from veridistill.training.plan import Choice, Plan, plan

_QUESTION = 1024
"""Tokens that the question and its prompt may have beside the reply."""


def planned(config: Config, gpus: str | None = None) -> Plan:
    """The plan for this machine, or for `gpus`. Raises `ConfigError` when the model's dimensions cannot be read."""
    shape = Shape.of(model_config(config.model))
    place = machine.named(gpus) if gpus is not None else machine.here(config.engine.device)
    products = fastest("gpu" if place.place == "cuda" else "cpu", shape.storage * shape.parameters)
    tokens = min(config.train.max_length, config.generate.max_tokens + _QUESTION)
    return plan(shape, config.train, place, products, tokens)


def model_config(model: ModelSection) -> dict[str, object]:
    """The model's `config.json`, without its weights; from the Hub where it is no directory."""
    path = Path(model_directory(model)) / "config.json"
    if not path.is_file():
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(model.path, "config.json", revision=model.revision, etag_timeout=5))
        except (OSError, ValueError) as error:
            what = str(error).strip().partition("\n")[0]
            raise ConfigError(f"model.path: {model.path} has no config.json to plan with ({what})") from None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path: {path} cannot be read ({error})") from None
    assert isinstance(found, dict)
    return found


def check(session: Session) -> None:
    """Raise `ConfigError` when a round is still to be trained and this machine cannot hold it.

    Nothing is said of a model whose dimensions are not known: then training itself finds out.
    """
    config, run = session.config, session.run
    if config.train.preflight == "off" or config.engine.kind == "scripted":  # which stands for no model
        return
    if all(run.round(number).model.exists() for number in range(1, config.rounds + 1)):
        return
    try:
        found = planned(config)
    except ConfigError:
        return
    if not found.configured.fits:
        raise ConfigError(refusal(found))
    free = shutil.disk_usage(run.path).free
    if free < found.disk.total:
        raise ConfigError(
            f"{run.path}: training needs {_size(found.disk.total)} on this disk ({_size(found.disk.checkpoints)} of"
            f" checkpoints, {_size(found.disk.model)} for the model), and {_size(free)} are free; free space, or set"
            " train.preflight=off"
        )


def refusal(found: Plan) -> str:
    """Why the configured training does not fit, and what would."""
    configured, one = found.configured, found.machine
    ways = [
        " ".join(f"-o {setting}" for setting in choice.settings)
        for choice in found.choices[1:]
        if choice.fits
    ]
    if configured.longest > 0:
        ways.insert(0, f"-o train.max_length={configured.longest} (longer rows are dropped)")
    todo = f"; any of these fits: {'; '.join(ways)}" if ways else "; take a smaller model or a larger machine"
    return (
        f"training cannot follow this build: rows of up to {found.tokens:,} tokens need {_size(configured.needed)},"
        f" and {_device(found)} has {_size(one.memory)}{todo}. veridistill plan shows the calculation;"
        " train.preflight=off skips this check"
    )


def lines(found: Plan) -> Iterator[str]:
    """The plan for people."""
    yield (
        f"{found.shape.parameters / 1e6:,.0f} M parameters, rows of up to {found.tokens:,} tokens, products in"
        f" {found.configured.layout.products}, on {_device(found)} with {_size(found.machine.memory)}"
    )
    if found.machine.count > 1:
        yield f"training uses one of the {found.machine.count} GPUs"
    yield ""
    names = ("weights", "gradients", "optimizer", "copies", "activations", "head")
    head = [*names, "total", "longest row", "fits"]
    yield "".join(f"{name:>13}" for name in head) + "  settings"
    for choice in found.choices:
        values = [_size(getattr(choice.memory, name)) for name in names]
        cells = [*values, _size(choice.needed), f"{choice.longest:,}", "yes" if choice.fits else "no"]
        yield "".join(f"{cell:>13}" for cell in cells) + f"  {_said(choice)}"
    yield ""
    yield (
        f"disk: {_size(found.disk.checkpoints)} for three checkpoints, {_size(found.disk.model)} for the model"
    )


def _said(choice: Choice) -> str:
    return " ".join(choice.settings) or "as configured"


def _device(found: Plan) -> str:
    return "this machine" if found.machine.place == "cpu" else f"one {found.machine.name}"


def _size(num_bytes: int) -> str:
    """In GiB, or MiB below one."""
    return f"{num_bytes / 2**30:,.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:,.0f} MiB"
