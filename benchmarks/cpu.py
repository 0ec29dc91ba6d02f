"""A real model on a CPU: `local` beside transformers' `generate` and vLLM's CPU build, in one run.

    python benchmarks/cpu.py --model DIR --vllm-python PYTHON --json benchmarks/results/cpu.json

Each engine is a process of its own, one after another, in bfloat16 unless `--dtype` says otherwise, with all cores;
`local` is measured in float32 too.
At each width (sequences decoded together) it answers `width` prompts of about `--prompt` tokens twice: with one token
each, which is the prompt rate, and with `--length` tokens each; the decode rate is that of the tokens after the
first. Every prompt begins differently, so that no engine can reuse another prompt's state. `judges` is what a cascade
asks: votes of three stages on two candidates a question, whose prompts share what they share in a build, with 8
tokens each; its rate is prompt tokens asked, computed or reused, per second. End tokens are ignored. A rate is the
best of `--rounds`; peak memory is the largest process's of the engine, at the end.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import engines

from veridistill.records import Message, Messages, Sampling

ROOT = Path(__file__).parent.parent
SAMPLING = Sampling(0.7, 0.95, 0, 0)
FLOAT32 = "local_float32"
"""`local` whatever `--dtype` says, so that both dtypes are measured in one run."""
ENGINES = ("generate", "local", FLOAT32, "vllm")
_SENTENCE = (
    "a train leaves with seven boxes of red apples and twice as many green ones; how much do they cost"
)
_STAGES = ("Check the answer for errors.", "Is the answer correct and complete?", "Solve it and compare.")


def text(draw: random.Random, num: int) -> str:
    words = _SENTENCE.split()
    return f"{draw.getrandbits(60):x} " + " ".join(draw.choice(words) for _ in range(num))


def plain(seed: int, width: int, size: int) -> list[Messages]:
    draw = random.Random(seed)
    system = Message("system", "Answer.")  # a short one, where the template would put its own
    return [(system, Message("user", text(draw, size))) for _ in range(width)]


def judged(seed: int, questions: int, candidates: int = 2, votes: int = 3) -> list[Messages]:
    draw = random.Random(seed)
    return [
        (Message("user", f"{question}\n\n{answer}\n\n{stage} " + text(random.Random(stage), 60)),)
        for question in (text(draw, 90) for _ in range(questions))
        for answer in (text(draw, 150) for _ in range(candidates))
        for stage in _STAGES
        for _ in range(votes)
    ]


Ask = Callable[[list[Messages], int], None]


def measured(name: str, model: str, dtype: str, width: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """In the engine's own process: rates at one width."""
    from veridistill.engines.checkpoint import Checkpoint

    render = Checkpoint.open(model).prompts.ids
    if name == "generate":
        return _rates(_generate(model, dtype, width), render, width, arguments)
    with asyncio.Runner() as runner:
        load = engines.endless_local if name == "local" else engines.endless_vllm
        engine = load(model, width, dtype=dtype)

        def ask(texts: list[Messages], length: int) -> None:
            sampling = replace(SAMPLING, max_tokens=length)
            calls = (engine.generate(messages, sampling, seed) for seed, messages in enumerate(texts))

            async def all_calls() -> None:
                await asyncio.gather(*calls)

            runner.run(all_calls())

        found = _rates(ask, render, width, arguments)
        found["reused_share"] = round(engine.stats().reused_tokens / engine.stats().prompt_tokens, 3)
        runner.run(engine.close())
    return found


def _rates(
    ask: Ask, render: Callable[[Messages], Any], width: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    ask(plain(1, width, 8), 2)
    best = {"prompt": 0.0, "decode": 0.0, "judges": 0.0}
    for number in range(arguments.rounds):
        first, second = (plain(100 * number + i, width, arguments.prompt) for i in (10, 20))
        one = _seconds(ask, first, 1)
        more = max(_seconds(ask, second, arguments.length) - one, 1e-9)
        votes = judged(number, arguments.questions)
        rates = {
            "prompt": sum(len(render(messages)) for messages in first) / one,
            "decode": width * (arguments.length - 1) / more,
            "judges": sum(len(render(messages)) for messages in votes) / _seconds(ask, votes, 8),
        }
        best = {name: max(best[name], rate) for name, rate in rates.items()}
    found: dict[str, Any] = {f"{name}_tokens_per_second": round(rate, 1) for name, rate in best.items()}
    return found | {"peak_mb": max(_peak_kb(one.pid) for one in _processes()) >> 10}


def _processes() -> list[Any]:
    import psutil

    mine = psutil.Process()
    return [mine, *mine.children(recursive=True)]


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(dict(line.split(":", 1) for line in lines).get("VmHWM", "0 kB").split()[0])


def _seconds(ask: Ask, texts: list[Messages], length: int) -> float:
    start = time.perf_counter()
    ask(texts, length)
    return time.perf_counter() - start


def _generate(path: str, dtype: str, width: int) -> Ask:
    """transformers' own, in left-padded batches of `width`."""
    import torch
    from transformers import AutoModelForCausalLM

    from veridistill.engines.checkpoint import Checkpoint

    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
    render = Checkpoint.open(path).prompts.ids

    def ask(texts: list[Messages], length: int) -> None:
        for start in range(0, len(texts), width):
            rows = [render(messages) for messages in texts[start : start + width]]
            engines.static(model, rows, length, SAMPLING)

    return ask


def process(name: str, width: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process that ends, and with it its memory."""
    python = arguments.vllm_python if name == "vllm" else sys.executable
    engine, dtype = ("local", "float32") if name == FLOAT32 else (name, arguments.dtype)
    command = [python, __file__, "--engine", engine, "--model", arguments.model, "--dtype", dtype]
    command += ["--width", str(width), "--rounds", str(arguments.rounds)]
    command += ["--prompt", str(arguments.prompt), "--length", str(arguments.length)]
    command += ["--questions", str(arguments.questions)]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | {"PYTHONPATH": paths}
        )
        if done.returncode:
            log.seek(0)
            sys.exit(f"{name} at {width} ended with {done.returncode}:\n{log.read()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} at {width}: {found}", file=sys.stderr)
    return found


def compared(width: int, arguments: argparse.Namespace) -> dict[str, Any]:
    found = {name: process(name, width, arguments) for name in arguments.engines}
    ratios = {
        f"local_to_{name}_{what}": round(
            found["local"][f"{what}_tokens_per_second"] / found[name][f"{what}_tokens_per_second"], 2
        )
        for name in found
        if name != "local" and "local" in found
        for what in ("prompt", "decode", "judges")
    }
    return {"width": width, "engines": found} | ratios


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="directory of a model")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--width", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--prompt", type=int, default=100, help="words of a prompt")
    parser.add_argument("--length", type=int, default=64, help="tokens of a reply")
    parser.add_argument("--questions", type=int, default=4, help="questions of `judges`, 18 calls each")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--vllm-python", default=str(ROOT / ".venv-vllm" / "bin" / "python"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        print(
            json.dumps(
                measured(arguments.engine, arguments.model, arguments.dtype, arguments.width[0], arguments)
            )
        )
        return
    if not Path(arguments.vllm_python).exists():
        arguments.engines = [name for name in arguments.engines if name != "vllm"]
    results = [compared(width, arguments) for width in arguments.width]
    names = ("dtype", "prompt", "length", "questions", "rounds")
    report = {"model": Path(arguments.model).name, "cores": os.cpu_count()}
    report |= {name: getattr(arguments, name) for name in names} | {"results": results}
    written = json.dumps(report, indent=1)
    if arguments.json:
        arguments.json.write_text(written + "\n", encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
