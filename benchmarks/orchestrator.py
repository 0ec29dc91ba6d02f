"""What the orchestration costs and whether it keeps an engine busy, measured without a model.

    python benchmarks/orchestrator.py --json FILE            # about 15 minutes on one core
    python benchmarks/orchestrator.py --quick                # below a minute, smaller sizes
    python benchmarks/orchestrator.py --against CHECKOUT     # throughput compared with another checkout's, alternating

makespan     a simulated engine (slots, log-normal reply lengths, virtual clock) against the lower bound
             needed work / slots, and its occupancy over time
throughput   an engine that answers at once with replies of 1 kB, journal on disk, speculation off, one core:
             calls per second, CPU per call, peak memory by number of calls
resume       the largest of those journals replayed by an engine that refuses every call
kills        SIGKILL while calls are in the engine: how many were asked again
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from hashlib import shake_128
from pathlib import Path
from statistics import median
from typing import Any

from veridistill import prompts
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Entry, Journal
from veridistill.calls.replay import NoEngine
from veridistill.cascade import Jury
from veridistill.config import BuildSection
from veridistill.engines.base import Engine
from veridistill.engines.scripted import END_ID, Script, ScriptedEngine
from veridistill.method import Distilled, Plan, distil
from veridistill.records import Completion, Messages, Sampling, Seed, TokenIds

CHECKOUT = Path(__file__).absolute().parent.parent
STAGES = ("cycle_consistency", "factuality", "correctness")
SAMPLING = Sampling(0.8, 0.95, 0, 32768)
LENGTHS = Script(tokens=200, sigma=0.8, slots=1 << 20)
SECONDS_PER_TOKEN = 0.01
WIDTH = 256
KILL_WIDTH = 64
SEEDS = 5
CALLS_PER_QUESTION = 28
"""Approximate numbers, with the scripted rates, n = 8 and v = 5."""
NOISE = shake_128(b"noise").hexdigest(1 << 16)
IDS = array("i", array("H", shake_128(b"ids").digest(1 << 16)))
FILLER, NUM_IDS = 850, 250
"""Characters before each reply, which make its text about 1 kB, and its token ids; both hardly compress."""


@dataclass(frozen=True)
class Size:
    questions: int
    slots: int

    def __str__(self) -> str:
        return f"{self.questions}x{self.slots}"


@dataclass(frozen=True)
class Sizes:
    """What is measured: `quick` or in full."""

    long: Size = Size(2000, 64)
    short: Size = Size(40, 256)
    calls: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    kills: int = 10


QUICK = Sizes(Size(250, 64), Size(40, 256), (5_000, 20_000), 2)


def make_plan() -> Plan:
    jury = Jury(prompts.load("compact"), SAMPLING, reasoning=False)
    return Plan(8, STAGES, 5, "first", SAMPLING, jury, reasoning=False)


def make_seeds(num: int) -> Iterator[Seed]:
    return (Seed(f"seed-{i}", f"What is {i} plus {7 * i % 13}?") for i in range(num))


def policy(speculation: str = "off") -> BuildSection:
    return BuildSection.model_validate({"speculation": speculation, "audit_share": 0})


async def distilled(asker: Asker, seeds: Iterator[Seed]) -> AsyncIterator[Distilled]:
    plan = make_plan()

    async def work(seed: Seed, ask: Any) -> Distilled:
        return await distil(seed, ask, plan)

    async with aclosing(asker.map_units(seeds, lambda seed: seed.seed_id, work)) as stream:
        async for found in stream:
            yield found


# Makespan.


class Forgetful:
    """A store that keeps nothing: simulated time does not wait for a disk."""

    async def replies(self, unit: str) -> dict[bytes, Entry]:
        return {}

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]:
        return {}

    async def append(self, entry: Entry) -> None: ...

    def note(self, entry: Entry) -> None: ...


class Watched(ScriptedEngine):
    """Notes when a call enters and leaves the engine."""

    changes: list[tuple[float, int]]

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        self.changes.append((self.now, 1))
        try:
            return await super().generate(messages, sampling, seed)
        finally:
            self.changes.append((self.now, -1))


@dataclass
class Simulated:
    """One build in simulated time. `busy` in slot-seconds."""

    makespan: float
    busy: float
    cancelled_tokens: int
    changes: list[tuple[float, int]] = field(repr=False)


async def simulate(size: Size, speculation: str, run_seed: int) -> Simulated:
    engine = Watched(
        LENGTHS, seconds_per_token=SECONDS_PER_TOKEN, slots=size.slots, clock="virtual", settle=6
    )
    engine.changes = []
    gate = Gate(size.slots, speculation)
    asker = Asker(engine, Forgetful(), gate, policy(speculation), run_seed=run_seed)
    async for _ in distilled(asker, make_seeds(size.questions)):
        pass
    makespan = max(at for at, _ in engine.changes)
    return Simulated(makespan, engine.busy_seconds, engine.stats().cancelled_tokens, engine.changes)


def makespans(size: Size, runs: int) -> dict[str, Any]:
    """Mean over run seeds. The lower bound is the work of the build that asks only what is needed."""
    found: dict[str, list[Simulated]] = {"off": [], "idle": []}
    for speculation, results in found.items():
        results += [asyncio.run(simulate(size, speculation, seed)) for seed in range(runs)]
    bounds = [run.busy / size.slots for run in found["off"]]
    data: dict[str, Any] = {
        speculation: {
            "makespan": mean([run.makespan for run in results]),
            "ratio": mean([run.makespan / bound for run, bound in zip(results, bounds, strict=True)]),
            "work": mean([run.busy / least.busy for run, least in zip(results, found["off"], strict=True)]),
        }
        for speculation, results in found.items()
    }
    data["occupancy"] = {name: occupancy(results[0], size.slots) for name, results in found.items()}
    return data


def occupancy(run: Simulated, slots: int, points: int = 300) -> list[tuple[float, float]]:
    """(seconds, share of the slots in use) in equal steps of time."""
    step = run.makespan / points
    steps: list[tuple[float, float]] = []
    used = area = last = 0.0
    for at, change in [*run.changes, (run.makespan, 0)]:
        while len(steps) < points and at >= (end := (len(steps) + 1) * step) - 1e-9:
            area += used * (end - last)
            steps.append((round(end - step / 2, 3), round(area / step / slots, 4)))
            area, last = 0.0, end
        area += used * max(at - last, 0.0)
        used, last = used + change, max(at, last)
    return steps


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


# Throughput and resume, each in a separate process.


def reply_of_a_kilobyte(messages: Messages, sampling: Sampling, seed: int) -> Completion:
    """A scripted reply behind filler that hardly compresses, with ids that do not repeat."""
    found = Script().reply(messages, sampling, seed)
    assert isinstance(found, Completion)
    at = seed % (len(IDS) - NUM_IDS)
    ids = TokenIds(IDS[at : at + NUM_IDS])
    ids.append(END_ID)
    text = f"{NOISE[at : at + FILLER]}\n{found.text}"
    return Completion(text, found.finish_reason, 200, len(ids), ids, TokenIds(ids[:60]))


async def drive(folder: Path, engine: Engine, questions: int) -> dict[str, float]:
    journal = Journal(folder / "journal.sqlite")
    asker = Asker(engine, journal, Gate(min(WIDTH, engine.capacity), speculation="off"), policy(), run_seed=0)
    start, used = time.perf_counter(), time.process_time()
    async for _ in distilled(asker, make_seeds(questions)):
        pass
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    await journal.close()
    num = sum(asker.meter.calls.values())
    return {
        "questions": questions,
        "calls": num,
        "seconds": round(seconds, 3),
        "calls_per_second": round(num / seconds, 1),
        "cpu_us_per_call": round(1e6 * cpu / num, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def work_of(job: str, folder: Path, number: int) -> dict[str, float]:
    """What a child process does."""
    if job == "ask":
        return asyncio.run(drive(folder, ScriptedEngine(reply_of_a_kilobyte), number))
    if job == "resume":
        engine = NoEngine("scripted", False, (END_ID,), "a call was asked again", WIDTH)
        return asyncio.run(drive(folder, engine, number))
    slow = partial(ScriptedEngine, Script(tokens=40), seconds_per_token=0.0002, slots=KILL_WIDTH)
    return asyncio.run(drive(folder, slow(log=folder / "asked"), number))


def child(job: str, folder: Path, number: int, checkout: Path = CHECKOUT) -> "subprocess.Popen[str]":
    """The job in a separate process on one core, with a checkout's own package and benchmark."""
    program = [sys.executable, str(checkout / "benchmarks" / "orchestrator.py"), "--job", job]
    core = min(os.sched_getaffinity(0))
    return subprocess.Popen(
        [*program, "--folder", str(folder), "--number", str(number)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def finished(process: "subprocess.Popen[str]") -> dict[str, float]:
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a child process ended with {process.returncode}")
    found: dict[str, float] = json.loads(out)
    return found


def throughput(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """By number of calls; the last journal is then replayed."""
    asked: dict[str, dict[str, float]] = {}
    for calls in sizes.calls:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        asked[str(calls)] = finished(child("ask", folder, calls // CALLS_PER_QUESTION))
        note(f"{calls:,} calls: {asked[str(calls)]}")
    last = asked[str(sizes.calls[-1])]
    resumed = finished(child("resume", folder, int(last["questions"])))
    note(f"resume: {resumed}")
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    shutil.rmtree(folder)
    return {"asked": asked, "resumed": resumed, "journal_mb": round(size, 1)}


def compare(other: Path, calls: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Throughput of this checkout and another, alternating, so that a noisy machine disturbs both equally.

    `ratio` is that of the medians of calls per second, `cpu_ratio` the other's CPU time per call over ours.
    """
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        for name, checkout in (("ours", CHECKOUT), ("theirs", other.absolute())):
            folder.mkdir()
            runs[name].append(finished(child("ask", folder, calls // CALLS_PER_QUESTION, checkout)))
            shutil.rmtree(folder)
            note(f"round {number + 1}, {name}: {runs[name][-1]}")
    middle = {
        name: {
            field: median(run[field] for run in found) for field in ("calls_per_second", "cpu_us_per_call")
        }
        for name, found in runs.items()
    }
    ours, theirs = middle["ours"], middle["theirs"]
    return {
        "ratio": round(ours["calls_per_second"] / theirs["calls_per_second"], 3),
        "cpu_ratio": round(theirs["cpu_us_per_call"] / ours["cpu_us_per_call"], 3),
        "medians": middle,
        "runs": runs,
    }


def kills(num: int, folder: Path) -> dict[str, int]:
    """Kill a build while calls are in the engine, resume it, and count the requests that were sent twice."""
    folder.mkdir()
    log, questions = folder / "asked", 40 * (num + 1)
    for _ in range(num):
        before, process = lines(log), child("kill", folder, questions)
        while process.poll() is None and lines(log) < before + 500:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finished(child("kill", folder, questions))
    seeds = log.read_text(encoding="ascii").split()
    shutil.rmtree(folder)
    return {
        "kills": num,
        "calls": len(set(seeds)),
        "repeated": len(seeds) - len(set(seeds)),
        "slots": KILL_WIDTH,
    }


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


# Reporting.


def measure(sizes: Sizes, runs: int, folder: Path) -> dict[str, Any]:
    simulated = {}
    for size in (sizes.long, sizes.short):
        simulated[str(size)] = makespans(size, runs if size == sizes.short else 1)
        note(f"{size}: " + str({name: simulated[str(size)][name] for name in ("off", "idle")}))
    orchestrated = throughput(sizes, folder / "asked")
    killed = kills(sizes.kills, folder / "killed")
    asked = orchestrated["asked"]
    return {
        "makespan_ratio": {size: found["idle"]["ratio"] for size, found in simulated.items()},
        "makespan": simulated,
        "calls_per_second": asked[str(sizes.calls[-1])]["calls_per_second"],
        "cpu_us_per_call": asked[str(sizes.calls[-1])]["cpu_us_per_call"],
        "peak_rss_mb": {calls: found["peak_rss_mb"] for calls, found in asked.items()},
        "resume_seconds": orchestrated["resumed"]["seconds"],
        "resume_calls": orchestrated["resumed"]["calls"],
        "journal_mb": orchestrated["journal_mb"],
        "throughput": orchestrated,
        "kills": killed,
    }


def table(data: dict[str, Any]) -> str:
    lines = [
        "| simulated build | speculation | makespan / lower bound | work / needed |",
        "|---|---|---:|---:|",
    ]
    for size, found in data["makespan"].items():
        lines += [
            f"| {size.replace('x', ' questions, ')} slots | {name} | {found[name]['ratio']:.3f} |"
            f" {found[name]['work']:.3f} |"
            for name in ("off", "idle")
        ]
    lines += [
        "",
        "| calls | calls/s, one core | CPU per call, µs | peak memory, MB |",
        "|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {found['calls']:,} | {found['calls_per_second']:,.0f} | {found['cpu_us_per_call']:.0f} |"
        f" {found['peak_rss_mb']:.0f} |"
        for found in data["throughput"]["asked"].values()
    ]
    resumed, killed = data["throughput"]["resumed"], data["kills"]
    return "\n".join(
        [
            *lines,
            "",
            f"resume: {data['resume_calls']:,} calls in {data['resume_seconds']:.1f} s,"
            f" peak {resumed['peak_rss_mb']:.0f} MB",
            f"after {killed['kills']} SIGKILLs {killed['repeated']} of {killed['calls']:,} calls were asked again"
            f" (at most {killed['slots']} in flight each time)",
        ]
    )


def note(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--folder", type=Path, help="on a local disk; default: a temporary directory")
    parser.add_argument("--against", type=Path, help="another checkout, whose own benchmark is run by turns")
    parser.add_argument("--calls", type=int, default=100_000, help="with --against: calls of each run")
    parser.add_argument("--rounds", type=int, default=3, help="with --against: runs of each checkout")
    parser.add_argument("--job", choices=("ask", "resume", "kill"), help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(work_of(options.job, options.folder, options.number)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.against:
            data = compare(options.against, options.calls, options.rounds, Path(folder) / "asked")
        else:
            data = measure(QUICK if options.quick else Sizes(), 2 if options.quick else SEEDS, Path(folder))
    print(json.dumps(data, indent=2) if options.against else table(data))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
