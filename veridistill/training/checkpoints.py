"""Checkpoints of a training in progress: which of them are complete, and which job they belong to.

The trainer writes them; `mark_whole` is called when one has been written, so an incomplete one is recognised.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from veridistill.config import TrainSection
from veridistill.errors import ConfigError
from veridistill.training.job import Job

_WHOLE = "complete"
_IDENTITY = "identity.json"


def mark_whole(checkpoint: Path) -> None:
    """Sync the checkpoint to disk, then mark it as complete."""
    sync([*checkpoint.rglob("*"), checkpoint])
    (checkpoint / _WHOLE).touch()


def last_whole(folder: Path) -> Path | None:
    """The checkpoint of the latest step that was written completely; incomplete ones are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / _WHOLE).exists():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def discard_those_of_another_job(job: Job) -> None:
    """Remove the checkpoints unless they were made with the same settings, base model and examples."""
    mark, identity = job.work / _IDENTITY, _identity(job)
    if not mark.is_file() or json.loads(mark.read_text(encoding="utf-8")) != identity:
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        mark.write_text(json.dumps(identity), encoding="utf-8")


def check_examples(job: Job) -> None:
    """Raise `ConfigError` when the model in `job.out` was trained on other examples than the job's."""
    mark = job.work / _IDENTITY
    if not (mark.is_file() and job.examples.is_file()):
        return
    if json.loads(mark.read_text(encoding="utf-8"))["examples"] != _digest(job.examples):
        raise ConfigError(
            f"{job.out}: was trained on other examples than {job.examples} now holds (the seeds or prompts changed"
            " under the same name); start a new run with another --out"
        )


def _identity(job: Job) -> dict[str, object]:
    settings = job.section.model_dump(mode="json")
    return {
        "settings": {name: settings[name] for name in _identity_fields()},
        "base_model": job.base_model,
        "revision": job.revision,
        "examples": _digest(job.examples),
    }


def _identity_fields() -> list[str]:
    """The settings that decide what is learned; the others decide only cost."""
    return [
        name
        for name, field in TrainSection.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["kind"] == "identity"
    ]


def _digest(examples: Path) -> str:
    with examples.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def sync(paths: Iterable[Path]) -> None:
    """Force files, or the entries of directories, to disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
