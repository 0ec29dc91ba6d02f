"""What a build holds in memory: nothing of a finished question, and only the verdicts of one that waits.

    python benchmarks/memory.py --json FILE        # about three minutes on one core
    python benchmarks/memory.py --quick            # below a minute, smaller sizes

growth     `veridistill build` on the scripted engine, Python's cycle collector off: the process's peak by number of
           questions, with and without a million other objects alive (with many, collections are rare)
waiting    questions that have ended wait behind a slow one, each with a candidate of 10,000 tokens: the peak while they
           wait, and after their rows are written

Each build runs in a separate process. Sizes are peaks of resident memory in MB (2**20 bytes), interpreter and
libraries included.
"""

import argparse
import asyncio
import gc
import io
import json
import resource
import subprocess
import sys
import tempfile
from array import array
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import shake_128
from pathlib import Path
from typing import Any
from unittest.mock import patch

from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.cascade import Jury
from veridistill.config import BuildSection
from veridistill.data.rundir import RoundDir
from veridistill.engines.scripted import END_ID, ScriptedEngine, right_answer
from veridistill.method import Plan, distil
from veridistill.prompts import load
from veridistill.records import Completion, Messages, Sampling, Seed, TokenIds

BALLAST = 1_000_000
TOKENS, CHARACTERS = 10_000, 40_000
NOISE = shake_128(b"noise").hexdigest(1 << 17)
IDS = array("i", array("H", shake_128(b"ids").digest(1 << 16)))


@dataclass(frozen=True)
class Sizes:
    questions: tuple[int, ...] = (500, 1000, 2000, 4000)
    waiting: int = 10_000


QUICK = Sizes((100, 400), 500)


def peak() -> float:
    """Of this process, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def build(folder: Path, questions: int, ballast: int) -> dict[str, float]:
    """A whole build by the command, which writes and reports as a user's does."""
    from veridistill import cli

    gc.disable()
    others = [[number] for number in range(ballast)]
    start = peak()
    seeds, script = folder / "questions.jsonl", folder / "script.yaml"
    lines = (json.dumps({"question": f"What is {i} plus {7 * i}?"}) + "\n" for i in range(questions))
    seeds.write_text("".join(lines), encoding="utf-8")
    script.write_text("tokens: 200\n", encoding="utf-8")
    fields = ("model=any", f"seeds.path={seeds}", "engine.kind=scripted", f"engine.script={script}")
    options = [part for field in fields for part in ("-o", field)]
    command = ["veridistill", "build", "-d", str(folder / "run"), "-q", *options]
    with patch.object(sys, "argv", command), redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
    assert len(others) == ballast
    return {"peak_mb": peak(), "ballast_mb": start}


class Slow(ScriptedEngine):
    """Answers at once, except for the first question, which waits for the candidates of all others."""

    def __init__(self, others: int) -> None:
        super().__init__(long_reply, slots=1024)
        self.left = others
        self.rest = asyncio.Event()

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        if "What is 0 plus" in messages[-1].content:
            await self.rest.wait()
        return await super().generate(messages, sampling, seed)


def long_reply(messages: Messages, sampling: Sampling, seed: int) -> Completion:
    """A candidate with text and ids that hardly compress, right and well formed; judges say yes."""
    prompt = messages[-1].content
    if "[[Y]]" in prompt:
        return Completion("[[Y]]", "stop", 9, 3)
    at = seed % (len(IDS) - TOKENS)
    text = f"{NOISE[at : at + CHARACTERS]} \\boxed{{{right_answer(prompt)}}}"
    ids = TokenIds(IDS[at : at + TOKENS])
    ids[-1] = END_ID
    return Completion(text, "stop", 200, TOKENS, ids, TokenIds(IDS[:200]))


async def wait(folder: Path, questions: int) -> dict[str, float]:
    """The peak when all questions but the first have ended, and that at the end."""
    from veridistill.runs.found import Found
    from veridistill.runs.session import Serving
    from veridistill.runs.sink import Sink

    sampling = Sampling(0.8, 0.95, 0, 1 << 20)
    jury = Jury(load("compact"), sampling, reasoning=False)
    plan = Plan(1, ("correctness",), 1, "first", sampling, jury, reasoning=False)
    engine, journal = Slow(questions), Journal(folder / "journal.sqlite")
    section = BuildSection(speculation="off", audit_share=0)
    gate = Gate(64, "off")
    asker = Asker(engine, journal, gate, section, run_seed=0, window=max(questions // 8 + 1, 16))
    start, waited = peak(), 0.0

    async def work(seed: Seed, ask: Any) -> Found:
        nonlocal waited
        found = Found.of(await distil(seed, ask, plan))
        engine.left -= 1
        if not engine.left:
            waited = peak()
            engine.rest.set()
        return found

    seeds = (Seed(f"seed-{i}", f"What is {i} plus {7 * i}?") for i in range(questions + 1))
    async with Sink(RoundDir(folder), Serving(engine, engine, asker, plan)) as sink:
        async for found in asker.map_units(seeds, lambda seed: seed.seed_id, work):
            await sink.add(found)
    await journal.close()
    return {"candidates": questions, "start_mb": start, "waiting_mb": waited, "peak_mb": peak()}


def child(job: str, number: int, ballast: int = 0) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--job", job, "--folder", folder]
        command += ["--number", str(number), "--ballast", str(ballast)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"{job} {number:,}, {ballast:,} other objects: {found}", file=sys.stderr)
    return found


def measure(sizes: Sizes, ballast: int = BALLAST) -> dict[str, Any]:
    growth = {
        name: {str(num): child("build", num, others) for num in sizes.questions}
        for name, others in (("alone", 0), ("beside_a_million_objects", ballast))
    }
    first, last = (str(num) for num in (sizes.questions[0], sizes.questions[-1]))
    return {
        "growth": growth,
        "ratio": {
            name: round(found[last]["peak_mb"] / found[first]["peak_mb"], 3) for name, found in growth.items()
        },
        "waiting": child("wait", sizes.waiting),
    }


def table(data: dict[str, Any]) -> str:
    lines = ["| questions | peak, MB | with a million other objects, MB |", "|---:|---:|---:|"]
    alone, beside = data["growth"].values()
    lines += [
        f"| {int(num):,} | {found['peak_mb']:.0f} | {beside[num]['peak_mb']:.0f} |"
        for num, found in alone.items()
    ]
    waiting = data["waiting"]
    return "\n".join(
        [
            *lines,
            "",
            f"{waiting['candidates']:,} candidates of {TOKENS:,} tokens behind a slow question: peak"
            f" {waiting['waiting_mb']:.0f} MB ({waiting['start_mb']:.0f} MB before the build), and"
            f" {waiting['peak_mb']:.0f} MB when all is written",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--job", choices=("build", "wait"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ballast", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job == "build":
        print(json.dumps(build(options.folder, options.number, options.ballast)))
        return
    if options.job:
        print(json.dumps(asyncio.run(wait(options.folder, options.number))))
        return
    data = measure(QUICK if options.quick else Sizes())
    print(table(data))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
