"""What the progress of a build costs: CPU time per call with it and without, alternating in one process.

    python benchmarks/progress.py --json benchmarks/results/progress.json     # below two minutes on one core

An engine that answers at once, journal on disk, speculation off. With progress: the forecast is fed by every call, and
a thread reads counts, writes `progress.json` and draws a terminal once a second.
"""

import argparse
import asyncio
import io
import json
import sys
import tempfile
import time
from contextlib import ExitStack, aclosing
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator import make_plan, make_seeds, policy

from veridistill.calls.ask import Asker
from veridistill.calls.forecast import Forecast
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import Config
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Distilled, distil
from veridistill.records import Seed
from veridistill.report.progress import Progress
from veridistill.runs import live

QUESTIONS, ROUNDS = 400, 9


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def build(folder: Path, shown: bool) -> float:
    """CPU seconds per call of one build."""
    plan, engine = make_plan(), ScriptedEngine(Script())
    journal = Journal(folder / "journal.sqlite")
    asker = Asker(engine, journal, Gate(256, "off"), policy(), run_seed=0)
    seeds, done = list(make_seeds(QUESTIONS)), 0
    start = time.process_time()
    with ExitStack() as stack:
        step = None
        if shown:
            forecast = asker.forecast = Forecast(live.work(plan, len(seeds)))
            watch = live.traffic(asker, Config(), live.expected(asker, forecast))
            progress = stack.enter_context(Progress(folder, "live", Terminal()))
            step = stack.enter_context(progress.step("build", len(seeds), "questions", watch))

        async def work(seed: Seed, ask: Any) -> Distilled:
            nonlocal done
            found = await distil(seed, ask, plan)
            done += 1
            if step is not None:
                step.update(done, kept=done)
            return found

        async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
            async for _ in stream:
                pass
    await journal.close()
    return (time.process_time() - start) / sum(asker.meter.calls.values())


def measured() -> dict[str, Any]:
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * ROUNDS + 2):
        with tempfile.TemporaryDirectory() as folder:
            one = asyncio.run(build(Path(folder), bool(number % 2)))
        if number > 1:  # the first pair warms up
            seconds[bool(number % 2)].append(one)
    pairs = [shown / plain for plain, shown in zip(seconds[False], seconds[True], strict=True)]
    return {
        "questions": QUESTIONS,
        "pairs": ROUNDS,
        "cpu_us_per_call_without": round(1e6 * median(seconds[False]), 1),
        "cpu_us_per_call_with": round(1e6 * median(seconds[True]), 1),
        "ratio": round(median(pairs), 3),
        "ratio_lowest": round(min(pairs), 3),
        "ratio_highest": round(max(pairs), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measured()
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
