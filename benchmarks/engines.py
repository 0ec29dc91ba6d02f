"""Tokens per second of the engines that run a model, on the same prompts and reply lengths.

    python benchmarks/engines.py --json FILE        # minutes; vLLM runs with --vllm-python, .venv-vllm/bin/python
    python benchmarks/engines.py --quick            # a try-out with few tokens

generate   transformers' own `model.generate`, static batches, with one thread and with all
local      LocalEngine, all calls at once, batches that refill
vllm       VllmEngine with as many sequences, seeds per request on and off

`equal`: every reply has the same length, the best case of a static batch. `mixed`: lengths are log-normal, as those of
a run are. End tokens are ignored. Each contestant is a separate process, loaded once; they are measured in turn, one
at a time, and all ratios come from the medians of one run.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

from veridistill.config import ModelSection
from veridistill.engines import model_directory
from veridistill.engines.base import Engine
from veridistill.engines.checkpoint import Checkpoint
from veridistill.records import Message, Messages, Sampling

ROOT = Path(__file__).parent.parent
SAMPLING = Sampling(0.8, 0.95, 0, 0)
CONTESTANTS = {
    "generate-1": ("equal", "mixed"),
    "generate-all": ("equal", "mixed"),
    "local": ("equal", "mixed"),
    "vllm": ("equal seeded", "mixed seeded", "equal unseeded", "mixed unseeded"),
}
"""What each process can be asked to do."""
WORKLOADS = ("equal", "mixed")
_SPIN = 1.5  # seconds for which vLLM's workers keep a core busy after their last request


@dataclass(frozen=True)
class Work:
    """Prompts and how many tokens each reply has."""

    prompts: list[Messages]
    lengths: list[int]


def works(rows: int, length: int) -> dict[str, Work]:
    """`mixed` has the median `length` / 2 and at most 3 `length`: about as many tokens as `equal`."""
    draw = random.Random(0)
    prompts: list[Messages] = [
        (Message("user", f"What is {draw.randrange(1000)} + {draw.randrange(1000)} - {i}?"),)
        for i in range(rows)
    ]
    mixed = [min(3 * length, max(1, int(length / 2 * exp(draw.gauss(0, 1.0))))) for _ in prompts]
    return {"equal": Work(prompts, [length] * rows), "mixed": Work(prompts, mixed)}


# A contestant: a process that answers each line (a workload, and whether seeded) with the seconds it took.


def contestant(name: str, model: str, batch: int, rows: int, length: int) -> None:
    kind, _, variant = name.partition("-")
    made = works(rows, length)
    warm_up = Work(made["mixed"].prompts[:batch], [8] * batch)
    if kind == "generate":
        static = _static(model, batch, 1 if variant == "1" else os.cpu_count() or 1)
        static(warm_up)
        _serve(lambda workload: static(made[workload]))
        return
    with asyncio.Runner() as runner:
        engine: Any = endless_local(model, batch) if kind == "local" else endless_vllm(model, batch)
        runner.run(_all(engine, warm_up))

        def run(task: str) -> None:
            workload, _, seeds = task.partition(" ")
            engine._seeded = seeds != "unseeded"
            runner.run(_all(engine, made[workload]))

        _serve(run)
        runner.run(engine.close())


def _serve(run: Callable[[str], None]) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        run(line.strip())
        print(time.perf_counter() - start, flush=True)


async def _all(engine: Engine, work: Work) -> None:
    calls = [
        engine.generate(prompt, replace(SAMPLING, max_tokens=length), seed)
        for seed, (prompt, length) in enumerate(zip(work.prompts, work.lengths, strict=True))
    ]
    replies = await asyncio.gather(*calls)
    assert [reply.completion_tokens for reply in replies] == work.lengths


def endless_local(model: str, batch: int, **options: Any) -> Engine:
    from veridistill.engines.local import engine as local

    class Endless(local.LocalEngine):
        """Stops at nothing but the limit."""

        def __init__(self, model: Any, checkpoint: Checkpoint, *more: Any) -> None:
            super().__init__(model, replace(checkpoint, end_ids=()), *more)

    return Endless.load(model, batch_size=batch, **options)


def endless_vllm(model: str, batch: int, **options: Any) -> Engine:
    from veridistill.engines import vllm

    class Endless(vllm.VllmEngine):
        """Stops at nothing but the limit."""

        def _params(self, *arguments: Any) -> Any:
            self.stop_ids = ()
            params = super()._params(*arguments)
            params.ignore_eos = True
            return params

    return Endless.load(model, max_num_seqs=batch, enforce_eager=True, **options)


def _static(path: str, batch: int, threads: int) -> Callable[[Work], None]:
    """Left-padded batches in the order of arrival, each as long as its longest reply."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device).eval()
    prompts = Checkpoint.open(path).prompts

    def run(work: Work) -> None:
        for start in range(0, len(work.prompts), batch):
            rows = [prompts.ids(messages) for messages in work.prompts[start : start + batch]]
            static(model, rows, max(work.lengths[start : start + batch]), SAMPLING)

    return run


def static(model: Any, rows: Sequence[Sequence[int]], length: int, sampling: Sampling) -> None:
    """transformers' own `generate` on one left-padded batch; every reply has `length` tokens."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=length,
            eos_token_id=None,
            pad_token_id=0,
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=0,
        )
    assert out.shape[1] == width + length


# The race.


class Contestant:
    def __init__(self, name: str, python: str, arguments: argparse.Namespace, batch: int, log: Path) -> None:
        self.name = name
        self._log = log
        command = [python, __file__, "--contestant", name, "--model", arguments.model]
        command += ["--batch", str(batch), "--rows", str(arguments.rows or 4 * batch)]
        command += ["--length", str(arguments.length)]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": paths, "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env=environment,
        )
        self._line()

    def seconds(self, task: str) -> float:
        assert self._process.stdin is not None
        print(task, file=self._process.stdin, flush=True)
        seconds = float(self._line())
        if self.name == "vllm":
            time.sleep(_SPIN)
        return seconds

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        sys.exit(f"{self.name} ended:\n{self._log.read_text(errors='replace')[-2000:]}")


def race(arguments: argparse.Namespace, batch: int, folder: Path) -> dict[str, Any]:
    """Tokens a second, the median of the rounds, by workload and contestant; and the ratios that are aimed at."""
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in WORKLOADS}
    made = works(arguments.rows or 4 * batch, arguments.length)
    contestants: list[Contestant] = []
    try:
        for name in CONTESTANTS:
            python = arguments.vllm_python if name == "vllm" else sys.executable
            if Path(python).exists():
                contestants.append(Contestant(name, python, arguments, batch, folder / f"{name}.log"))
        for number in range(arguments.rounds):
            for one in contestants if number % 2 else reversed(contestants):
                for task in CONTESTANTS[one.name]:
                    workload, _, seeds = task.partition(" ")
                    name = "-".join(filter(None, (one.name, seeds)))
                    rate = sum(made[workload].lengths) / one.seconds(task)
                    rates[workload].setdefault(name, []).append(rate)
                    print(f"batch {batch} {workload} {name}: {rate:,.0f} tokens/s", file=sys.stderr)
    finally:
        for one in contestants:
            one.close()
    return {"batch": batch} | {name: _summary(rates[name]) for name in WORKLOADS}


def _summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    median = {name: statistics.median(found) for name, found in rates.items()}
    static = max(median["generate-1"], median["generate-all"])
    ratios = {"local_to_generate": median["local"] / static}
    if "vllm-seeded" in median:
        ratios["local_to_vllm"] = median["local"] / max(median["vllm-seeded"], median["vllm-unseeded"])
        ratios["vllm_seeded_to_unseeded"] = median["vllm-seeded"] / median["vllm-unseeded"]
    rounded = {name: round(rate) for name, rate in sorted(median.items())}
    spread = {name: [round(min(found)), round(max(found))] for name, found in sorted(rates.items())}
    return {"tokens_per_second": rounded, "range": spread} | {k: round(v, 3) for k, v in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="lab", help="directory, or lab")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rows", type=int, help="calls; default: four batches")
    parser.add_argument("--length", type=int, default=64, help="tokens of a reply")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-python", default=str(ROOT / ".venv-vllm" / "bin" / "python"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.model = model_directory(ModelSection(path=arguments.model))
    if arguments.contestant:
        contestant(
            arguments.contestant, arguments.model, arguments.batch[0], arguments.rows, arguments.length
        )
        return
    if arguments.quick:
        arguments.batch, arguments.rounds, arguments.length = [16], 1, 16
    with tempfile.TemporaryDirectory() as folder:
        results = [race(arguments, batch, Path(folder)) for batch in arguments.batch]
    report = {"model": Path(arguments.model).name, "cores": os.cpu_count(), "results": results}
    text = json.dumps(report, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
