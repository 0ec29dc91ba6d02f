"""A model that was trained elsewhere becomes a round's model, as if the round had been trained here.

It must be the round's base with other weights: same dimensions, same tensors, same tokenizer, same chat template.
Otherwise the exam before and after would compare two things that were asked differently.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from veridistill.data.rundir import RunDir
from veridistill.engines import model_directory
from veridistill.engines.checkpoint import Checkpoint
from veridistill.errors import ConfigError
from veridistill.runs import model_card, results
from veridistill.runs.pipeline import next_round
from veridistill.runs.session import model_of
from veridistill.training import checkpoints
from veridistill.training.card import CARD
from veridistill.training.job import RESULT, TrainResult

_FILES = (".json", ".safetensors", ".txt", ".model", ".jinja")
_DIMENSIONS = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "vocab_size"),
)
_HEAD = "lm_head.weight"
"""The one tensor that may be stored or not: where it is the embedding again."""


def adopt(run: RunDir, directory: Path) -> int:
    """Copy the model into the next round and record it there; returns the round's number.

    Raises `ConfigError` when the round has no dataset or a model already, or when the model is not the base with other
    weights.
    """
    number = next_round(run)
    folder = run.round(number)
    if folder.model.exists():
        raise ConfigError(
            f"{folder.model}: round {number} has a model already; adopt into a new run (--fork NEW)"
        )
    if not folder.built:
        raise ConfigError(f"{run.path}: round {number} has no dataset; run veridistill build first")
    model = model_of(run, number)
    check(directory, Checkpoint.open(model_directory(model), model.revision))
    result = TrainResult(0, (), 0, 0, 0, 0, 0.0, adopted=directory.resolve().name)
    _copy(directory, folder.model, result)
    results.begin(run)
    results.add_training(run, number, result)
    model_card.write(run, number)
    return number


def check(directory: Path, base: Checkpoint) -> None:
    """Raise `ConfigError` with the first difference that is one of more than the weights' values."""
    if (directory / "adapter_config.json").is_file():
        raise ConfigError(
            f"{directory}: is an adapter; merge it into its base (peft: merge_and_unload) and adopt that"
        )
    own = Checkpoint.open(str(directory))
    for name in _DIMENSIONS:
        here, there = (getattr(one.config, name, None) for one in (own, base))
        if here != there:
            raise ConfigError(
                f"{directory}: {name} is {here}, and the round's base model has {there}: not its fine-tune"
            )
    if own.prompts.tokenizer.get_vocab() != base.prompts.tokenizer.get_vocab():
        raise ConfigError(
            f"{directory}: its tokenizer has other tokens than the base model's; copy the base's files there"
        )
    if own.prompts.template != base.prompts.template:
        raise ConfigError(
            f"{directory}: its chat template is not the base model's, so its exam would be asked differently; copy the"
            " base's tokenizer_config.json and chat_template.jinja there"
        )
    if own.end_ids != base.end_ids:
        raise ConfigError(
            f"{directory}: replies end with the tokens {list(own.end_ids)}, and with {list(base.end_ids)} in the base"
            " model; copy the base's generation_config.json there"
        )
    found, wanted = tensors(directory), tensors(base.directory)
    for name in sorted({*found, *wanted} - {_HEAD}):
        if found.get(name) != wanted.get(name):
            raise ConfigError(
                f"{directory}: tensor {name} has the shape {found.get(name)}, and {wanted.get(name)} in the base model"
            )


def tensors(directory: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a directory's safetensors files, from their headers alone."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{directory}: holds no *.safetensors; save the model with save_pretrained")
    return {name: tuple(entry["shape"]) for file in files for name, entry in _header(file)}


def _header(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The header is JSON after its length in 8 bytes (the format's own description)."""
    try:
        with file.open("rb") as stream:
            data = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise ConfigError(f"{file}: cannot be read as safetensors ({error})") from None
    yield from ((name, entry) for name, entry in data.items() if name != "__metadata__")


def _copy(directory: Path, out: Path, result: TrainResult) -> None:
    """The whole directory under another name, synced, then renamed."""
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for file in directory.iterdir():
        if file.is_file() and file.suffix in _FILES and file.name != RESULT:
            shutil.copy(file, temporary / file.name)
    (temporary / RESULT).write_text(json.dumps(asdict(result)), encoding="utf-8")
    (temporary / CARD).write_text("", encoding="utf-8")
    checkpoints.sync([*temporary.rglob("*"), temporary])
    temporary.rename(out)
    checkpoints.sync([out.parent])
