"""A run's model or dataset to the Hub: what would be uploaded, and the upload. The token comes from the environment."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veridistill.data.rundir import RunDir
from veridistill.errors import ConfigError, Incomplete, missing_extra
from veridistill.runs import export, model_card
from veridistill.training.card import CARD
from veridistill.training.job import RESULT

What = Literal["model", "dataset"]
_TOKEN = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Upload:
    """Files by their names in the repository, with the card that one of them holds. Sizes are bytes."""

    repository: str
    kind: What
    files: dict[str, int]
    card: str

    @property
    def size(self) -> int:
        return sum(self.files.values())


def plan(run: RunDir, repository: str, what: What, licence: str | None, number: int | None = None) -> Upload:
    """What `push` would upload. Nothing is sent."""
    with _staged(run, repository, what, licence, number) as (upload, _):
        return upload


def push(
    run: RunDir, repository: str, what: What, licence: str | None, number: int | None, private: bool
) -> Upload:
    """Make the repository, if there is none, and upload. Raises `ConfigError` without a token or a licence."""
    token = os.environ.get(_TOKEN)
    if not token:
        raise ConfigError(f"{_TOKEN} is not set: put a token with write access into the environment")
    if licence is None:
        raise ConfigError(
            "--license is missing: name the one that the base model and the questions allow, such as apache-2.0"
        )
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise missing_extra("push", "eval") from None
    with _staged(run, repository, what, licence, number) as (upload, folder):
        api = HfApi(token=token)
        try:
            api.create_repo(repository, repo_type=what, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                repo_type=what,
                folder_path=folder,
                allow_patterns=list(upload.files),
                commit_message=f"{what} by veridistill",
            )
        except (HfHubHTTPError, OSError) as error:
            raise Incomplete(
                f"{repository}: the Hub refused the upload or was not reached ({error}); run the same command again"
            ) from None
    return upload


@contextmanager
def _staged(
    run: RunDir, repository: str, what: What, licence: str | None, number: int | None
) -> Iterator[tuple[Upload, Path]]:
    """A folder that holds the repository's files: the model's by links, a dataset written anew."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"{repository}: must be OWNER/NAME, for example me/qwen3-0.6b-distilled")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / what
        if what == "model":
            card = _model(run, folder, number)
        else:
            export.export(run, folder, number=number)
            card = (folder / CARD).read_text(encoding="utf-8")
        if licence is not None:
            card = licensed(card, licence)
        (folder / CARD).write_text(card, encoding="utf-8")
        files = {
            str(file.relative_to(folder)): file.stat().st_size
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        yield Upload(repository, what, files, card), folder


def _model(run: RunDir, folder: Path, number: int | None) -> str:
    """Link the model's files into the folder; returns its card."""
    trained = [n for n in range(1, run.config.rounds + 1) if run.round(n).model.is_dir()]
    if not trained or (number is not None and number not in trained):
        which = "no round" if number is None else f"round {number}: it"
        raise ConfigError(f"{run.path}: {which} has a trained model; run veridistill train first")
    chosen = number or trained[-1]
    folder.mkdir()
    for file in run.round(chosen).model.iterdir():
        if file.is_file() and file.name not in (CARD, RESULT):
            (folder / file.name).symlink_to(file.resolve())
    return model_card.text(run, chosen)


def licensed(card: str, licence: str) -> str:
    """The card with its licence, and without the paragraph that asks for one."""
    head, rest = card.removeprefix("---\n").split("---\n", 1)
    kept = [line for line in head.splitlines() if not line.startswith("license:")]
    rest = re.sub(r"\*\*Before publishing: fill in `license`.*?\n\n", "", rest, flags=re.DOTALL)
    return "---\n" + "\n".join([f"license: {licence}", *kept]) + f"\n---\n{rest}"
