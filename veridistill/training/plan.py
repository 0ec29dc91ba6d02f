"""Which ways to train a model fit on a machine, and the longest row that each can hold. Pure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from veridistill.config import TrainSection
from veridistill.training.machine import Machine
from veridistill.training.memory import Disk, Layout, Memory, Shape, disk, memory
from veridistill.training.steps import micro_batch

_USABLE = 0.95
"""Share of a device's memory: the rest is for what nobody counts, such as fragments."""
LIBRARIES = {"cpu": 550 << 20, "cuda": 1 << 30}
"""What the process holds without a model, measured on a CPU (`benchmarks/training_memory.py`); on a GPU a guess at the
context and the libraries' workspaces."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to train. `settings` are what differs from the configuration, as `-o` takes it.

    `longest` is the longest row in tokens that fits, 0 if not even one token does.
    """

    settings: tuple[str, ...]
    layout: Layout
    memory: Memory
    longest: int
    fits: bool

    @property
    def needed(self) -> int:
        """Bytes with what the libraries hold."""
        return self.memory.total + LIBRARIES[self.layout.place]


@dataclass(frozen=True, slots=True)
class Plan:
    """`choices` begins with the training as it is configured."""

    machine: Machine
    shape: Shape
    tokens: int
    choices: tuple[Choice, ...]
    disk: Disk

    @property
    def configured(self) -> Choice:
        return self.choices[0]

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": asdict(self.machine),
            "parameters": self.shape.parameters,
            "tokens": self.tokens,
            "choices": [
                {
                    **asdict(one),
                    "needed": one.needed,
                    "memory": asdict(one.memory) | {"total": one.memory.total},
                }
                for one in self.choices
            ],
            "disk": asdict(self.disk) | {"total": self.disk.total},
        }


def plan(
    shape: Shape,
    section: TrainSection,
    machine: Machine,
    products: Literal["float32", "bfloat16"],
    tokens: int,
) -> Plan:
    """The configured training, and what could be changed about it, for rows of at most `tokens` tokens."""
    rank = section.lora.rank if section.lora else None
    configured = Layout(
        machine.place, products, tokens, micro_batch(section), section.gradient_checkpointing, rank
    )
    choices = tuple(_choice(shape, machine, layout, said) for layout, said in _ways(configured))
    return Plan(machine, shape, tokens, choices, disk(shape, rank))


def _ways(configured: Layout) -> Iterator[tuple[Layout, tuple[str, ...]]]:
    """Each way once, with fewer rows at a time before recomputation, and that before adapters."""
    yield configured, ()
    one, one_said = configured, tuple[str, ...]()
    if configured.micro_batch > 1:
        one, one_said = replace(configured, micro_batch=1), ("train.micro_batch_size=1",)
        yield one, one_said
    again, again_said = one, one_said
    if not configured.checkpointing:
        again = replace(one, checkpointing=True)
        again_said = (*one_said, "train.gradient_checkpointing=true")
        yield again, again_said
    if configured.rank is None:
        yield replace(again, rank=16), (*again_said, "train.lora={}")


def _choice(shape: Shape, machine: Machine, layout: Layout, settings: tuple[str, ...]) -> Choice:
    room = int(_USABLE * machine.memory) - LIBRARIES[layout.place]
    low, high = 0, max(layout.tokens, 1 << 20)  # the need only grows with the row
    while low < high:
        middle = (low + high + 1) // 2
        if memory(shape, replace(layout, tokens=middle)).total <= room:
            low = middle
        else:
            high = middle - 1
    return Choice(settings, layout, memory(shape, layout), low, low >= layout.tokens)
