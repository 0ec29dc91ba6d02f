"""What tests of the method share: a plan, and a whole build on the scripted engine with a real journal."""

import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from veridistill import prompts
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.cascade import Jury
from veridistill.config import BuildSection
from veridistill.engines.base import Engine
from veridistill.method import Distilled, Plan, distil
from veridistill.records import Sampling, Seed

STAGES = ("cycle_consistency", "factuality", "correctness")
PROMPTS = prompts.load("compact")


def make_plan(
    n: int = 3, v: int = 2, stages: Sequence[str] = STAGES, selection: str = "first", **jury: Any
) -> Plan:
    sampling = Sampling(0.8, 0.95, 0, 256)
    return Plan(
        candidates=n,
        stages=tuple(stages),
        votes=v,
        selection=selection,
        sampling=sampling,
        jury=Jury(
            **{"prompts": PROMPTS, "sampling": Sampling(0.6, 0.95, 0, 256), "reasoning": False, **jury}
        ),
        reasoning=False,
    )


def make_seeds(num: int) -> list[Seed]:
    return [Seed(f"seed-{i}", f"What is {i} plus {7 * i % 13}?") for i in range(num)]


async def distil_all(
    engine: Engine,
    journal: Path,
    plan: Plan,
    seeds: Sequence[Seed],
    *,
    build: BuildSection | None = None,
    width: int | None = None,
    run_seed: int = 0,
    older: Sequence[Path] = (),
    window: int | None = None,
    max_tokens: int | None = None,
) -> tuple[list[Distilled], Asker]:
    """Distil the seeds through a real journal at `journal`."""
    build = build or BuildSection(audit_share=0)
    store = Journal(journal, older)
    try:
        gate = Gate(width or engine.capacity, build.speculation)
        asker = Asker(engine, store, gate, build, run_seed=run_seed, window=window, max_tokens=max_tokens)

        async def work(seed: Seed, ask: Any) -> Distilled:
            return await distil(seed, ask, plan)

        async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
            return [distilled async for distilled in stream], asker
    finally:
        await store.close()


def kept(distilled: Sequence[Distilled]) -> list[tuple[str, list[tuple[int, str]]]]:
    """What a build kept: for each question the candidates' indices and texts."""
    return [(d.seed.seed_id, [(c.index, c.completion.text) for c in d.kept]) for d in distilled]


def decided(distilled: Sequence[Distilled]) -> dict[tuple[str, int], bool]:
    """Whether each judged candidate was accepted."""
    return {(d.seed.seed_id, j.candidate.index): j.passed for d in distilled for j in d.judged}


def fast_directory() -> tempfile.TemporaryDirectory[str]:
    """A directory in memory where there is one: thousands of small journals need no disk."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
