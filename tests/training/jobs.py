"""Jobs for tests that train nothing, or a tiny model."""

from pathlib import Path
from typing import Any

from veridistill.config import TrainSection
from veridistill.training.job import Job, Origin

ORIGIN = Origin(
    model="org/base",
    revision="abc",
    round=1,
    selection="first",
    candidates=8,
    stages=("cycle_consistency", "factuality"),
    votes=5,
)


DEFAULTS = TrainSection()


def job(root: Path, section: TrainSection = DEFAULTS, **fields: Any) -> Job:
    """A job on the CPU whose files are in `root`."""
    known = {
        "section": section,
        "origin": ORIGIN,
        "base_model": "base",
        "revision": None,
        "examples": root / "examples.parquet",
        "work": root / "work",
        "out": root / "model",
        "device": "cpu",
        "threads": 1,
    }
    return Job(**known | fields)
