"""What a training on a CPU holds in memory, at four sizes of a Qwen3 with a large vocabulary, beside the plan of `training.memory`.

    python benchmarks/training_memory.py --json FILE        # about five minutes on two cores
    python benchmarks/training_memory.py --quick            # the smallest size alone

Each training runs as the command runs it, in a process of its own, on rows of one length, and its resident memory is
read every 20 ms. `measured` and `planned` are peaks above what the process holds before it loads the model; sizes are in
bytes.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veridistill.config import TrainSection
from veridistill.data.tables import EXAMPLES
from veridistill.records import Example
from veridistill.training.job import Job, Origin, Progress
from veridistill.training.launcher import train

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
    prompt, reply = tuple(range(2, 52)), tuple(2 + i % 290 for i in range(size.tokens - 51)) + (1,)
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


def measure(size: Size, root: Path, **settings: Any) -> dict[str, Any]:
    make_model(size, root / "base")
    EXAMPLES.write(root / "examples.parquet", rows(size, 8))
    section = TrainSection(max_steps=3, batch_size=4, micro_batch_size=size.micro_batch, **settings)
    job = Job(
        section=section, origin=ORIGIN, base_model=str(root / "base"), revision=None, device="cpu",
        examples=root / "examples.parquet", work=root / "work", out=root / "model",
    )  # fmt: skip
    trace: list[tuple[float, int]] = []
    steps: list[float] = []

    def seen(progress: Progress) -> None:
        steps.append(time.monotonic())

    with watched(trace):
        asyncio.run(train(job, seen))
    if os.environ.get("TRACE"):
        for name, start, end in zip(["load+step1", "step2", "step3", "save"], [0.0, *steps], [*steps, 1e18]):
            print(name, max((b for t, b in trace if start <= t < end), default=0) >> 20, "MiB")
    return {**asdict(size), "measured": max(held for _, held in trace)}
