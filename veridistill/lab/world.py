"""The lab's world: word problems about a·x + b = c, made from a seed, split by hash, with an oracle.

A question belongs to exactly one split, by the hash of its parameters (the wording does not count), so the
simulated post-training, the seeds and the exam share no equation. Answers leave this module in two ways: exam
problems, and the oracle with which benchmarks measure what a cascade accepted.
"""

import hashlib
import json
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["post_train", "seeds", "exam"]

WORDINGS = (
    "Solve {a}x+{b}={c} for x.",
    "If {a} times a number plus {b} is {c}, what is the number?",
    "I multiply a number by {a}, add {b} and get {c}. Which number is it?",
    "{a} equal boxes and {b} loose pens make {c} pens. How many pens are in a box?",
    "{c} is {b} more than {a} times which number?",
)
"""Each asks for x in a·x + b = c; the first is the canonical one."""

PATTERNS = tuple(
    re.compile(re.sub(r"\\\{([abc])\\\}", r"(?P<\1>[0-9]+)", re.escape(wording))) for wording in WORDINGS
)


@dataclass(frozen=True)
class Question:
    """a·x + b = c in one of the wordings."""

    a: int
    b: int
    x: int
    wording: int = 0

    @property
    def c(self) -> int:
        return self.a * self.x + self.b

    @property
    def text(self) -> str:
        return WORDINGS[self.wording].format(a=self.a, b=self.b, c=self.c)

    @property
    def split(self) -> Split:
        """80 % post-training, 15 % seeds, 5 % exam, for every wording."""
        digest = hashlib.sha256(f"{self.a}|{self.b}|{self.c}".encode()).digest()
        percent = int.from_bytes(digest[:8], "big") % 100
        return "post_train" if percent < 80 else "seeds" if percent < 95 else "exam"


@dataclass(frozen=True)
class Mix:
    """Shares of the number of digits (1, 2, 3, 4) of the answer x and of the addend b."""

    answer: tuple[float, float, float, float]
    addend: tuple[float, float, float, float] = (0.2, 0.5, 0.3, 0.0)


SOLVER = Mix(answer=(0.20, 0.65, 0.12, 0.03))
"""What the lab's model was taught to solve: answers of three digits are rare, of four very rare."""

JUDGE = Mix(answer=(0.12, 0.53, 0.25, 0.10))
"""What it was taught to judge: longer numbers more often, so that it can check more than it can solve."""

HARD = Mix(answer=(0.0, 0.0, 0.0, 1.0), addend=(0.1, 0.4, 0.5, 0.0))
"""Seeds and exam: answers of four digits, 3 % of what the solver was taught."""

NUM_SEEDS = 1500
NUM_PROBLEMS = 300


def _number(rng: random.Random, shares: tuple[float, float, float, float]) -> int:
    digits = rng.choices((1, 2, 3, 4), shares)[0]
    return rng.randrange(10 ** (digits - 1), 10**digits)


def draw(rng: random.Random, mix: Mix, split: Split) -> Question:
    """One question of the split; draws again until the hash agrees."""
    while True:
        question = Question(
            a=rng.randrange(2, 10),
            b=_number(rng, mix.addend),
            x=_number(rng, mix.answer),
            wording=rng.randrange(len(WORDINGS)),
        )
        if question.split == split:
            return question


def stream(seed: int, mix: Mix, split: Split) -> Iterator[Question]:
    """Distinct equations without end, the same for the same seed."""
    rng = random.Random(f"{split}:{seed}")
    seen: set[tuple[int, int, int]] = set()
    while True:
        question = draw(rng, mix, split)
        identity = (question.a, question.b, question.x)
        if identity not in seen:
            seen.add(identity)
            yield question


def take(num: int, seed: int, mix: Mix, split: Split) -> list[Question]:
    """The first `num` questions of the stream."""
    questions = stream(seed, mix, split)
    return [next(questions) for _ in range(num)]


def parse(text: str) -> Question | None:
    """The question with this text, or None when the world cannot make it."""
    for wording, pattern in enumerate(PATTERNS):
        if match := pattern.fullmatch(text.strip()):
            a, b, c = (int(match[name]) for name in "abc")
            if a < 1 or c < b or (c - b) % a:
                return None
            return Question(a=a, b=b, x=(c - b) // a, wording=wording)
    return None


def seeds_file(run_dir: Path, limit: int | None = None) -> Path:
    """Write the lab's seed questions, `limit` or `NUM_SEEDS` of them; the same file for the same number.

    The file does not depend on the run seed: runs that differ only in it sample other candidates for the same
    questions.
    """
    path = run_dir / "lab" / "seeds.jsonl"
    write_seeds(path, take(limit or NUM_SEEDS, 0, HARD, "seeds"))
    return path


def exam_file(run_dir: Path, limit: int | None = None) -> Path:
    """Write the lab's exam, `limit` or `NUM_PROBLEMS` problems; the same file for the same number."""
    path = run_dir / "lab" / "exam.jsonl"
    write_exam(path, take(limit or NUM_PROBLEMS, 0, HARD, "exam"))
    return path


def write_seeds(path: Path, questions: Iterable[Question]) -> None:
    """JSONL with `id` and `question`; no answers."""
    _write_rows(path, ({"id": f"lab-{i}", "question": q.text} for i, q in enumerate(questions)))


def write_exam(path: Path, questions: Iterable[Question]) -> None:
    """JSONL with `id`, `kind`, `question` and `answer`."""
    rows = (
        {"id": f"exam-{i}", "kind": "integer", "question": q.text, "answer": str(q.x)}
        for i, q in enumerate(questions)
    )
    _write_rows(path, rows)


def _write_rows(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """The whole file or nothing: a temporary name, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(temporary, path)


def oracle(question: str, answers: Mapping[int, str]) -> frozenset[int]:
    """The ids of the candidates whose final answer (a decimal integer) is right. For benchmarks only."""
    known = parse(question)
    if known is None:
        raise ValueError(f"not a question of the lab: {question!r}")
    return frozenset(index for index, answer in answers.items() if _integer(answer) == known.x)


def _integer(text: str) -> int | None:
    stripped = text.strip()
    return int(stripped) if re.fullmatch(r"[0-9]{1,18}", stripped) else None
