"""What a build leaves: rows read back from the journal, files that are never a mixture, and little held meanwhile."""

import asyncio
import gc
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.commands import kept, questions, settings, veridistill
from tests.harness import STAGES, make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.calls.unit import UnitAsk
from veridistill.config import BuildSection
from veridistill.data import parquet, tables
from veridistill.data.rundir import RoundDir
from veridistill.engines.base import Engine
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Distilled, distil
from veridistill.records import Completion, Messages, Sampling, Seed
from veridistill.runs.found import Found
from veridistill.runs.session import Serving
from veridistill.runs.sink import Sink

KILLS = """
import os, shutil, sys
from pathlib import Path
import pyarrow.parquet
from tests.commands import veridistill
from veridistill.engines import scripted
from veridistill.report import page
from veridistill.runs import pipeline  # imported once, before the forks

folder = Path(sys.argv[1])

def dies_at(step):
    left = step
    for name in ("replace", "unlink"):
        def changed(*paths, real=getattr(os, name), **options):
            nonlocal left
            if f"{os.sep}rounds{os.sep}" in str(paths[0]):
                left -= 1
                if left < 0:
                    os._exit(9)
            return real(*paths, **options)
        setattr(os, name, changed)

for step in range(100):
    run = folder / f"killed-{step}"
    shutil.copytree(folder / "run", run)
    child = os.fork()
    if not child:
        dies_at(step)
        os._exit(veridistill("build", "-d", run, "-o", "build.asks=exhaustive").code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 9:
        sys.exit(code)
"""


def files(run: Path) -> dict[str, bytes]:
    """The files of the first round's build."""
    return {path.name: path.read_bytes() for path in (run / "rounds" / "1").glob("*/*") if path.is_file()}


def test_a_kill_between_two_renames_never_leaves_a_mixed_set(tmp_path: Path) -> None:
    """Building again exhaustively changes every table; it is killed before each change of a name in turn."""
    assert veridistill("build", "-d", tmp_path / "run", *settings(questions(tmp_path, 4))).code == 0
    child = [sys.executable, "-c", KILLS, str(tmp_path)]
    done = subprocess.run(child, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.glob("killed-*"), key=lambda run: int(run.name.partition("-")[2]))
    before, after = files(tmp_path / "run"), files(runs[-1])
    assert set(before) == set(after)
    assert all(before[name] != after[name] for name in ("candidates.parquet", "votes.parquet"))
    seen = Counter[str]()
    for run in runs[:-1]:
        left = {name: data for name, data in files(run).items() if not name.startswith(".")}
        whole = "examples.parquet" in left
        assert (
            left in (before, after)
            if whole
            else left.items() <= before.items() or left.items() <= after.items()
        )
        seen["whole" if whole else "unbuilt"] += 1
    assert seen["unbuilt"] > 5 < sum(seen.values())
    unbuilt = next(run for run in runs if not RoundDir(run / "rounds" / "1").built)
    refused = veridistill("train", "-d", unbuilt)
    assert (refused.code, "run veridistill build first" in refused.err) == (2, True)
    assert veridistill("build", "-d", unbuilt).code == 0
    assert files(unbuilt) == after


def test_a_build_that_fails_leaves_the_set_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert veridistill("build", "-d", run, *settings(questions(tmp_path))).code == 0
    before = files(run)
    monkeypatch.setattr(parquet, "num_rows", lambda _: -1)
    done = veridistill("build", "-d", run, "-o", "build.asks=exhaustive")
    assert (done.code, "read back" in done.err) == (3, True)
    assert files(run) == before
    assert kept(run)


async def sunk(engine: Engine, folder: Path, seeds: list[Seed], work: Any, **options: Any) -> None:
    """Distil `seeds` into a sink, each by `work`."""
    journal = Journal(folder / "j")
    try:
        asker = Asker(engine, journal, Gate(16), BuildSection(), run_seed=0, **options)
        serving = Serving(engine, engine, asker, make_plan(3, 2))
        async with Sink(RoundDir(folder), serving) as sink:
            async for found in asker.map_units(seeds, lambda seed: seed.seed_id, work):
                await sink.add(found)
    finally:
        await journal.close()


def test_rows_read_back_are_those_of_the_candidates_that_were_judged(tmp_path: Path) -> None:
    script = Script(well_formed=0.7, refused=0.1, tokens=20)
    everything: list[Distilled] = []

    async def work(seed: Seed, ask: UnitAsk) -> Found:
        everything.append(await distil(seed, ask, make_plan(3, 2)))
        return Found.of(everything[-1])

    asyncio.run(sunk(ScriptedEngine(script), tmp_path, make_seeds(40), work))
    everything.sort(key=lambda distilled: int(distilled.seed.seed_id.partition("-")[2]))
    judged = [(one, judged) for one in everything for judged in one.judged]
    expected = [
        tables.CandidateRow.of(each.candidate, each.verdict, each.candidate in one.kept)
        for one, each in judged
    ]
    assert list(tables.CANDIDATES.read(tmp_path / "tables" / "candidates.parquet")) == expected
    assert {row.finish_reason for row in expected} >= {"stop", "length", "refused"}
    votes = [vote for _, each in judged for vote in tables.VoteRow.of(each.verdict)]
    assert list(tables.VOTES.read(tmp_path / "tables" / "votes.parquet")) == votes
    examples = list(tables.EXAMPLES.read(tmp_path / "dataset" / "examples.parquet"))
    assert [(one.seed_id, one.candidate) for one in examples] == [
        (c.seed_id, c.index) for one in everything for c in one.kept
    ]
    sampled = {(row.seed_id, row.index): row.completion_tokens for row in expected}
    assert all(len(one.completion_ids) == sampled[one.seed_id, one.candidate] for one in examples)


def test_behind_a_slow_question_wait_verdicts_alone(tmp_path: Path) -> None:
    """The first question is answered when all others have ended; none of their replies is held by then."""
    seeds, ended = make_seeds(100), asyncio.Event()
    finished, held = 0, -1

    class Slow(ScriptedEngine):
        async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
            if seeds[0].question in messages[-1].content:
                await ended.wait()
            return await super().generate(messages, sampling, seed)

    async def work(seed: Seed, ask: UnitAsk) -> Found:
        nonlocal finished, held
        found = Found.of(await distil(seed, ask, make_plan(3, 2, STAGES)))
        finished += 1
        if finished == len(seeds) - 1:
            asyncio.get_running_loop().call_later(0.05, look)
        return found

    def replies() -> int:
        gc.collect()
        return sum(isinstance(one, Completion) for one in gc.get_objects())

    def look() -> None:
        nonlocal held
        held = replies() - before
        ended.set()

    before = replies()
    asyncio.run(sunk(Slow(Script(tokens=20)), tmp_path, seeds, work, window=16))
    assert 0 <= held < 30, "of some 170 candidates"
    rows = list(tables.SEEDS.read(tmp_path / "tables" / "seeds.parquet"))
    assert rows == seeds
