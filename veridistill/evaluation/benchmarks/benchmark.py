"""What a benchmark is: where its records are, how many there are, and how they become problems.

Reading files is left to `rows`, finding or downloading them to `files`; each benchmark or family has its own module.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veridistill.records import Domain, Kind, Problem

Preset = Literal["paper", "strict"]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on the Hub. `files` are glob patterns of the split's files, relative to the repository.

    `revision` is a commit on which public manifests agree and that holds these files. `licence` is what the data set's
    card declares.
    """

    hub_id: str
    files: tuple[str, ...]
    split: str
    licence: str
    revision: str
    gated: bool = False

    @property
    def url(self) -> str:
        """The page of the data set, where access is asked for."""
        return f"https://huggingface.co/datasets/{self.hub_id}"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`num_rows` is the number of records of all files together and `num_problems` how many of them become problems
    (None: not known); loading checks both. `subset` says which ones, where that is not all. `read` makes the problems
    of the files, all of them checked, or raises one `ConfigError` with every fault. `paper` is what preset paper reads
    instead, where that differs. `formats` are the suffixes that a local copy of a single file may have.

    `unsplit` is the number of records of the file from which the Hub's split was taken, where a local copy may be that
    one. `parts` are names of local files that hold a part of the set, of any number of records. `narrowed` gives the
    benchmark of one topic, or raises `ConfigError`; None where there are no topics to choose.
    """

    name: str
    source: Source
    kinds: tuple[Kind, ...]
    domain: Domain
    num_rows: int | None
    read: Callable[["Benchmark", Sequence[Path]], list[Problem]]
    num_problems: int | None
    subset: str = ""
    paper: "Benchmark | None" = None
    formats: tuple[str, ...] = (".parquet", ".jsonl", ".csv")
    unsplit: int | None = None
    parts: tuple[str, ...] = ()
    narrowed: "Callable[[Benchmark, str], Benchmark] | None" = None

    def under(self, preset: Preset) -> "Benchmark":
        """The benchmark as a preset has it."""
        return self.paper if preset == "paper" and self.paper is not None else self
