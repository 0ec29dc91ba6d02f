"""What a world of the lab is: tasks with a meaning and a reference, skills to teach, and flaws to plant.

A task belongs to one split by a hash of its key, and its key says what the task means: wordings do not count. So the
simulated post-training, the seeds and the exam share no meaning. References leave a world in one way: as the `Problem`
of a task, which graders and exams read.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from veridistill.records import Domain, Problem

Split: TypeAlias = Literal["post_train", "seeds", "exam"]
Mix: TypeAlias = Literal["solver", "judge", "hard"]
"""How hard the tasks are: what is taught to solve, what is taught to judge (harder), and what seeds and exam hold."""
Skill: TypeAlias = Literal["solve", "infer", "compare", "factuality", "correctness", "simple"]
SKILLS: tuple[Skill, ...] = ("solve", "infer", "compare", "factuality", "correctness", "simple")
Stage: TypeAlias = Literal["cycle_consistency", "factuality", "correctness"]
STAGES: tuple[Stage, ...] = ("cycle_consistency", "factuality", "correctness")


class Task(Protocol):
    """One question. `key`: what it means, whatever its wording; `problem`: how its answers are graded."""

    @property
    def key(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def problem(self) -> Problem: ...


T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Sample:
    """One post-training pair: the user's message and the assistant's reply."""

    skill: Skill
    prompt: str
    reply: str


@dataclass(frozen=True)
class Flaw(Generic[T]):
    """A way to answer that is not as it should be.

    `share`: of the flawed answers of a world, whose shares sum to 1. `seen_by`: the stages that reject it by their own
    work. `graded`: what graders say; "right" where only the form is flawed. `make`: the answer's text after the
    reasoning, or None where the task cannot be answered in this way.
    """

    share: float
    seen_by: frozenset[Stage]
    make: Callable[[random.Random, T], str | None]
    graded: Literal["wrong", "right"] = "wrong"


@dataclass(frozen=True)
class Judge(Generic[T]):
    """The work of a world's judges, as it is taught: whole replies to any answer or inferred question."""

    infer: Callable[[str], str]
    compare: Callable[[T, str], str]
    factuality: Callable[[T, str], str]
    correctness: Callable[[T, str], str]


@dataclass(frozen=True)
class World(Generic[T]):
    """A world of questions. `draw` makes a task of any split; `parse` gives the task with this question, or None when
    the world cannot make it; `answer` is the text after the reasoning of a right solution.

    `skills` make a training sample about a task, `shares` say how often each is taught. `floor` is the share of the
    exam (0 to 1) that guessing gets right: that of the multiple-choice tasks.
    """

    name: str
    domain: Domain
    draw: Callable[[random.Random, Mix], T]
    parse: Callable[[str], T | None]
    answer: Callable[[T], str]
    solution: Callable[[T], str]
    judge: Judge[T]
    skills: Mapping[Skill, Callable[[random.Random, T], Sample]]
    shares: Mapping[Skill, float]
    flaws: Mapping[str, Flaw[T]]
    floor: float = 0.0

    def drawn(self, rng: random.Random, mix: Mix, split: Split) -> T:
        """One task of the split; draws again until the hash agrees."""
        while split_of((task := self.draw(rng, mix)).key) != split:
            pass
        return task

    def stream(self, seed: int, mix: Mix, split: Split) -> Iterator[T]:
        """Tasks of distinct meaning without end, the same for the same seed."""
        rng = random.Random(f"{split}:{seed}")
        seen: set[str] = set()
        while True:
            task = self.drawn(rng, mix, split)
            if task.key not in seen:
                seen.add(task.key)
                yield task

    def take(self, num: int, seed: int, mix: Mix, split: Split) -> list[T]:
        """The first `num` tasks of the stream."""
        tasks = self.stream(seed, mix, split)
        return [next(tasks) for _ in range(num)]

    def sample(self, rng: random.Random, skill: Skill, mix: Mix | None = None) -> Sample:
        """One pair from the post-training split; without `mix`, from the one that the skill is taught on."""
        taught: Mix = "solver" if skill == "solve" else "judge"
        return self.skills[skill](rng, self.drawn(rng, mix or taught, "post_train"))

    def flawed(self, rng: random.Random, task: T) -> tuple[str, str]:
        """The name of a flaw, drawn by the shares from those that the task can have, and the answer with it."""
        names = list(self.flaws)
        while names:
            (name,) = rng.choices(names, [self.flaws[name].share for name in names])
            if (text := self.flaws[name].make(rng, task)) is not None:
                return name, text
            names.remove(name)
        raise ValueError(f"no flaw fits {task.question!r}")


def split_of(key: str) -> Split:
    """80 % post-training, 15 % seeds, 5 % exam."""
    percent = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    return "post_train" if percent < 80 else "seeds" if percent < 95 else "exam"


AnyWorld: TypeAlias = World[Any]
