"""What a training on a CPU holds in memory, at four sizes of a Qwen3 with a large vocabulary, beside the plan.

    python benchmarks/training_memory.py --json FILE        # about four minutes on two idle cores
    python benchmarks/training_memory.py --quick            # the smallest size alone

Each training runs as the command runs it, in a process of its own, on rows of one length, and its resident memory is
read every 20 ms. `measured` is the peak above `libraries`, that of a training of a model of 60,000 parameters, and
`planned` the total of `training.memory`. `by_phase` are the peaks of loading with the first step, of the later
steps, and of saving. All sizes are bytes.
"""

import argparse
import asyncio
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veridistill.config import TrainSection
from veridistill.data.tables import EXAMPLES
from veridistill.engines.dtype import fastest
from veridistill.records import Example
from veridistill.training.job import Job, Origin
from veridistill.training.launcher import train
from veridistill.training.memory import Layout, Shape, memory

ORIGIN = Origin(
    model="random", revision=None, round=1, selection="first", candidates=1, stages=("simple",), votes=1
)


@dataclass(frozen=True)
class Size:
    """A Qwen3's dimensions, and the tokens of each row."""

    name: str
    vocabulary: int
    hidden: int
    layers: int
    tokens: int
    micro_batch: int = 1


SIZES = (
    Size("10M", 32_000, 192, 8, 450),
    Size("30M", 100_000, 256, 5, 450),
    Size("60M", 100_000, 384, 12, 300, 2),
    Size("120M", 150_000, 512, 14, 450),
)


TINY = Size("tiny", 300, 64, 1, 64)
"""Holds what the libraries hold, and as good as nothing else."""


def make_model(size: Size, folder: Path) -> None:
    """A random model in bfloat16, as on the Hub, with a tokenizer of 300 words."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = {"<pad>": 0, "<end>": 1, **{f"w{i}": i for i in range(2, 300)}}
    raw = Tokenizer(models.WordLevel(words, "<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<pad>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 32,
        num_key_value_heads=size.hidden // 64,
        head_dim=32,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).bfloat16().save_pretrained(folder)


def rows(size: Size, count: int) -> list[Example]:
    prompt, reply = tuple(range(2, 52)), (*(2 + i % 290 for i in range(size.tokens - 51)), 1)
    return [Example(f"s{i}", 0, prompt, reply, ()) for i in range(count)]


@contextmanager
def watched(trace: list[tuple[float, int]]) -> Iterator[None]:
    """Read the resident bytes of this process's training child every 20 ms."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                try:
                    if b"training.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                        trace.append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE")))
                except OSError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def peaks(size: Size, root: Path) -> tuple[dict[str, int], Shape]:
    """The most resident bytes by phase of a training of two steps, and the model's shape."""
    make_model(size, root / "base")
    EXAMPLES.write(root / "examples.parquet", rows(size, 8))
    section = TrainSection(max_steps=2, batch_size=2 * size.micro_batch, micro_batch_size=size.micro_batch)
    job = Job(
        section=section,
        origin=ORIGIN,
        base_model=str(root / "base"),
        revision=None,
        device="cpu",
        examples=root / "examples.parquet",
        work=root / "work",
        out=root / "model",
    )
    trace: list[tuple[float, int]] = []
    steps: list[float] = []
    with watched(trace):
        asyncio.run(train(job, lambda _: steps.append(time.monotonic())))
    shape = Shape.of(json.loads((root / "base" / "config.json").read_text(encoding="utf-8")))
    bounds = [0.0, steps[0], steps[-1], math.inf]
    held = {
        name: max((now for at, now in trace if start <= at < end), default=0)
        for name, start, end in zip(("first", "later", "saving"), bounds, bounds[1:], strict=False)
    }
    return held, shape


def measure(size: Size, root: Path, base: int) -> dict[str, Any]:
    phases, shape = peaks(size, root)
    products = fastest("cpu", shape.storage * shape.parameters)
    layout = Layout("cpu", products, size.tokens, size.micro_batch)
    return {
        "name": size.name,
        "parameters": shape.parameters,
        "shape": asdict(shape),
        "layout": asdict(layout),
        "libraries": base,
        "by_phase": phases,
        "measured": max(phases.values()) - base,
        "planned": memory(shape, layout).total,
        "parts": asdict(memory(shape, layout)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = max(peaks(TINY, Path(folder))[0].values())
    found = []
    for size in SIZES[:1] if options.quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            one = measure(size, Path(folder), base)
        found.append(one)
        print(
            f"{one['name']:>5}: {one['parameters'] / 1e6:6.1f} M parameters, measured {one['measured'] >> 20:6} MiB,"
            f" planned {one['planned'] >> 20:6} MiB ({one['planned'] / one['measured']:.2f}),"
            f" {one['measured'] / one['parameters']:.1f} bytes a parameter,"
            f" phases {[held >> 20 for held in one['by_phase'].values()]}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps({"sizes": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
