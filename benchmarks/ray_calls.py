"""How many calls per second one driver gets through the Ray engine, measured without a model.

    python benchmarks/ray_calls.py --json FILE     # some minutes; driver, Ray and replicas share this machine's cores
    python benchmarks/ray_calls.py --quick         # below a minute, smaller sizes

engine         `RayEngine.generate` on scripted replicas that answer at once with 250 token ids, by number of replicas
one_by_one     the same replies, one actor call for each, as Ray is commonly used: what grouping the calls gains
build          a complete build through it, journal on disk: the driver's other work per call
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from veridistill import prompts
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.cascade import Jury
from veridistill.config import BuildSection, EngineSection, ModelSection
from veridistill.engines.ray import RayEngine
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Plan, distil
from veridistill.records import Completion, Message, Messages, Sampling, Seed

SAMPLING = Sampling(0.8, 0.95, 0, 32768)
SCRIPT = {"tokens": 250, "sigma": 0.0}
IN_FLIGHT = 256
"""Calls at once for each replica: what one vLLM engine commonly holds."""

Ask = Callable[[Messages, Sampling, int], Awaitable[Completion]]


class OneByOne:
    """An actor that is called once for each request."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine(Script(**SCRIPT))  # type: ignore[arg-type]

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        return await self.engine.generate(messages, sampling, seed)


async def rate(ask: Ask, calls: int, width: int) -> float:
    """Calls a second with `width` of them under way."""

    async def caller(number: int) -> None:
        for seed in range(number, calls, width):
            question = f"[question]\nWhat is {seed // 20} plus 1?\n[/question]\n" + "context " * 100
            await ask((Message("user", question),), SAMPLING, seed)

    await asyncio.gather(*(ask((Message("user", "warm up"),), SAMPLING, seed) for seed in range(width)))
    start = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(width)))
    return round(calls / (time.perf_counter() - start), 1)


async def opened(script: Path, replicas: int) -> RayEngine:
    section = EngineSection(
        kind="ray", replica="scripted", replicas=replicas, script=str(script), actor_cpus=0.01
    )
    engine = await asyncio.to_thread(RayEngine.open, section, ModelSection())
    while engine.capacity < IN_FLIGHT * replicas:
        await asyncio.sleep(0.05)
    return engine


async def of_engine(script: Path, replicas: int, calls: int) -> float:
    engine = await opened(script, replicas)
    try:
        return await rate(engine.generate, calls, IN_FLIGHT * replicas)
    finally:
        await engine.close()


async def of_single_calls(script: Path, calls: int) -> float:
    import ray

    engine = await opened(script, 1)  # brings Ray up
    try:
        actor = ray.remote(OneByOne).options(num_cpus=0.01).remote()
        return await rate(actor.generate.remote, calls, IN_FLIGHT)
    finally:
        await engine.close()


async def of_build(script: Path, questions: int, folder: Path) -> dict[str, float]:
    engine = await opened(script, 2)
    journal = Journal(folder / "journal.sqlite")
    try:
        policy = BuildSection(audit_share=0, speculation="off")
        asker = Asker(engine, journal, Gate(engine.capacity, speculation="off"), policy, run_seed=0)
        plan = make_plan()

        async def work(seed: Seed, ask: Any) -> Any:
            return await distil(seed, ask, plan)

        seeds = (Seed(f"seed-{i}", f"What is {i} plus {7 * i % 13}?") for i in range(questions))
        start, used = time.perf_counter(), time.process_time()
        async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
            async for _ in stream:
                pass
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
    finally:
        await journal.close()
        await engine.close()
    calls = sum(asker.meter.calls.values())
    return {
        "calls": calls,
        "calls_per_second": round(calls / seconds, 1),
        "driver_cpu_us_per_call": round(1e6 * cpu / calls, 1),
    }


def make_plan() -> Plan:
    jury = Jury(prompts.load("compact"), SAMPLING, reasoning=False)
    stages = ("cycle_consistency", "factuality", "correctness")
    return Plan(8, stages, 5, "first", SAMPLING, jury, reasoning=False)


def measure(folder: Path, quick: bool) -> dict[str, Any]:
    script = folder / "script.yaml"
    script.write_text(json.dumps(SCRIPT), encoding="utf-8")
    calls, replicas = (5_000, (1, 2)) if quick else (100_000, (1, 2, 4, 8))
    data: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "in_flight_per_replica": IN_FLIGHT}
    data["engine"] = {}
    for num in replicas:
        data["engine"][str(num)] = asyncio.run(of_engine(script, num, calls))
        note(f"{num} replicas: {data['engine'][str(num)]:,.0f} calls/s")
    data["one_by_one"] = asyncio.run(of_single_calls(script, calls // 10))
    note(f"one by one: {data['one_by_one']:,.0f} calls/s")
    data["build"] = asyncio.run(of_build(script, 200 if quick else 4000, folder))
    note(f"build: {data['build']}")
    return data


def table(data: dict[str, Any]) -> str:
    lines = [f"| {data['cores']} cores | calls/s |", "|---|---:|"]
    lines += [f"| engine, {num} replicas | {found:,.0f} |" for num, found in data["engine"].items()]
    lines += [f"| one actor call for each request | {data['one_by_one']:,.0f} |"]
    build = data["build"]
    return "\n".join(
        [
            *lines,
            f"| a build with its journal, 2 replicas | {build['calls_per_second']:,.0f} |",
            "",
            f"{build['driver_cpu_us_per_call']:.0f} µs of the driver's CPU for each call of the build",
        ]
    )


def note(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = measure(Path(folder), options.quick)
    print(table(data))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
