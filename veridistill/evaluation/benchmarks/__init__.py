"""Problems to evaluate on: public benchmarks by name, and the user's own as JSONL.

Each benchmark or family has its own module, which says where its records are, what is checked of them and how they
become problems; this one finds them by name. Grading is left to `grading`. Only evaluation and the decontamination of
seeds read these: references cannot reach training.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from veridistill.config import EvaluationSection
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks import (
    aime,
    arc,
    files,
    gpqa,
    gsm8k,
    hle,
    hmmt,
    humaneval,
    livecodebench,
    math500,
    mbpp,
    mmlu,
    mmlu_pro,
    svamp,
)
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Preset
from veridistill.evaluation.benchmarks.own import load
from veridistill.records import Problem

__all__ = ["BENCHMARKS", "NAMES", "Entry", "Preset", "load", "named", "selected", "table"]

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for family in (
        *(aime, hmmt, math500, gsm8k, svamp),
        *(gpqa, mmlu_pro, mmlu, arc, hle),
        *(livecodebench, mbpp, humaneval),
    )
    for benchmark in family.BENCHMARKS
}
NAMES = tuple(BENCHMARKS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list of benchmarks, as preset strict has them. `rows` is the number of the source's records and
    `problems` how many of them become problems: all, unless `subset` says which.
    """

    name: str
    rows: int | None
    problems: int | None
    kinds: str
    domain: str
    subset: str
    licence: str
    source: str
    split: str
    revision: str
    gated: bool


def named(
    name: str, preset: Preset = "strict", data: str | None = None, limit: int | None = None
) -> list[Problem]:
    """The first `limit` problems of a benchmark, from the directory `data` or else from the Hub.

    `name` may choose a topic: `mmlu:high_school_physics`. The whole data set is checked, whatever the limit. Raises
    `ConfigError` for an unknown name, for data that are not available, and with every fault of those that are.
    """
    known, colon, topic = name.partition(":")
    benchmark = BENCHMARKS.get(known)
    if benchmark is None:
        close = difflib.get_close_matches(known, NAMES, 1)
        hint = f"did you mean {close[0]}? All: " if close else "choose of "
        raise ConfigError(f"there is no benchmark {name!r}; {hint}{', '.join(NAMES)}")
    benchmark = chosen = benchmark.under(preset)
    if colon:
        if benchmark.narrowed is None:
            raise ConfigError(f"{name}: {known} has no topics to choose from; name it alone: {known}")
        chosen = benchmark.narrowed(benchmark, topic)
    return chosen.read(chosen, files.find(benchmark, data))[:limit]


def selected(section: EvaluationSection) -> list[Problem]:
    """The problems that a configuration asks for: its own file's, then each benchmark's.

    Raises `ConfigError` as `load` and `named` do, and when the file is named like one of the benchmarks.
    """
    own = load(Path(section.problems), section.limit) if section.problems else []
    names = tuple(dict.fromkeys(section.benchmarks))
    if own and own[0].benchmark in names:
        raise ConfigError(
            f"{section.problems}: is named like the benchmark {own[0].benchmark}; give the file another name"
        )
    public = (named(name, section.preset, section.data, section.limit) for name in names)
    return [*own, *(problem for found in public for problem in found)]


def table() -> list[Entry]:
    """All benchmarks, for a list."""
    return [
        Entry(
            name=one.name,
            rows=one.num_rows,
            problems=one.num_problems,
            kinds=", ".join(one.kinds),
            domain=one.domain,
            subset=one.subset,
            licence=one.source.licence,
            source=one.source.hub_id,
            split=one.source.split,
            revision=one.source.revision,
            gated=one.source.gated,
        )
        for one in BENCHMARKS.values()
    ]
