"""What the launcher and the training process exchange: a job, its progress, its result.

The job is a JSON file, progress is one JSON object per line on the child's stdout, and the result is a JSON
file in the model's directory.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from veridistill.config import TrainSection
from veridistill.errors import ConfigError

RESULT = "training.json"
"""The result's name in the directory of a trained model."""


class Origin(BaseModel):
    """How the examples were chosen, for the model card; nothing that is trained depends on it.

    `model` and `revision` are the run's base model as the user named it, `judge` the model that judged if it was
    another one. `selection` is the one that the build used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str | None
    round: int
    selection: str
    candidates: int
    stages: tuple[str, ...]
    votes: int
    judge: str | None = None


class Job(BaseModel):
    """One training: `base_model` (a directory or a Hub id) on `examples` (Parquet) into the directory `out`.

    `work` holds the log, and the checkpoints until training is done. `threads` are CPU threads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    section: TrainSection
    origin: Origin
    base_model: str
    revision: str | None
    examples: Path
    work: Path
    out: Path
    device: str = "auto"
    threads: int | None = None

    @property
    def log(self) -> Path:
        return self.work / "train.log"

    @property
    def checkpoints(self) -> Path:
        return self.work / "checkpoints"

    def absolute(self) -> "Job":
        """The same job for a process in any working directory."""
        base = Path(self.base_model)
        return self.model_copy(
            update={
                "base_model": str(base.resolve()) if base.is_dir() else self.base_model,
                "examples": self.examples.resolve(),
                "work": self.work.resolve(),
                "out": self.out.resolve(),
            }
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimizer step; `loss` is the mean over the step's label tokens, in nats.

    `gradient_norm` is the norm before clipping, `tokens_per_second` counts prompts and replies, and `memory` is the
    most that the process has held so far, in bytes.
    """

    step: int
    total: int
    loss: float
    learning_rate: float | None = None
    gradient_norm: float | None = None
    tokens_per_second: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training did.

    `losses` has one entry a step, in nats; `resumed_from` is the step of the checkpoint that a killed training
    resumed from, or 0; `seconds` is the time of the process that finished, and `memory` the most that it held, in
    bytes. `epochs` is how often each row was seen, on average. `adopted` is the name of the directory whose model was
    trained elsewhere: then nothing else is known.
    """

    steps: int
    losses: tuple[float, ...]
    num_rows: int
    num_dropped: int
    label_tokens: int
    resumed_from: int
    seconds: float
    epochs: float | None = None
    memory: int | None = None
    adopted: str | None = None


def read_result(model: Path) -> TrainResult:
    """The result in a trained model's directory. Raises `ConfigError` when it holds none."""
    try:
        data = json.loads((model / RESULT).read_text(encoding="utf-8"))
        return TrainResult(**{**data, "losses": tuple(data["losses"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(
            f"{model}: not a model trained by this run ({RESULT} is missing or unreadable); move it away"
        ) from None
