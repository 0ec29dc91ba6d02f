"""Public data of shared formats, made into what a user hands to a run: questions without answers, and an exam.

    math      gsm8k_train.jsonl (seeds), gsm8k_test.jsonl (exam)
    science   mmlu_science.jsonl: its first 500 rows are for seeds, the rest for exams
    code      mbpp.jsonl, by task_id: 601 to 974 for seeds, shown with one of their tests; 11 to 510 for exams

`prepare` samples both with a fixed seed and writes `seeds.jsonl`, `references.jsonl` (what grades the seeds'
candidates, read by nothing but the measurement), `exam.jsonl` and `others.jsonl` (a smaller exam of the other domains).
That seeds and exam do not overlap is left to the run's own decontamination, for which more seeds are written than are
asked for.
"""

import ast
import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.evaluation.benchmarks.question import LETTERS, with_options

Row = dict[str, Any]
SPARE = 1.25
"""Seeds written for each seed asked for: some are dropped as overlapping with the exam or one another."""
_GSM8K_ANSWER = re.compile(r"####\s*(-?[\d,]+)\s*\Z")


@dataclass(frozen=True, slots=True)
class Item:
    """A question with what grades it, as `veridistill grade` has it: `kind`, and `answer` (`options`) or `tests`.

    `question` is the text as a model sees it; `stem` is the same without its options, which an exam's loader adds.
    """

    item_id: str
    question: str
    stem: str
    grading: Row

    def seed(self) -> Row:
        return {"id": self.item_id, "question": self.question}

    def reference(self) -> Row:
        return {"id": self.item_id, **self.grading}

    def problem(self, domain: str) -> Row:
        """A line of an exam's file. The right option is given by its index: an option's text may itself be a letter."""
        grading = dict(self.grading)
        if options := grading.pop("options", None):
            grading |= {"choices": options, "answer": LETTERS.index(grading["answer"])}
        return {"id": self.item_id, "domain": domain, "question": self.stem, **grading}


@dataclass(frozen=True, slots=True)
class Split:
    """A domain's items for seeds and for exams, in the order of the files."""

    seeds: list[Item]
    exam: list[Item]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files of one domain."""

    seeds: Path
    references: Path
    exam: Path
    others: Path


def prepare(
    data: Path, folder: Path, domain: str, num_seeds: int, num_exam: int, num_others: int, seed: int = 0
) -> Prepared:
    """Write the files, the same ones for the same arguments. Raises `ValueError` when the data hold too few items."""
    split = DOMAINS[domain](data)
    files = {name: folder / f"{name}.jsonl" for name in ("seeds", "references", "exam", "others")}
    seeds = sample(split.seeds, min(len(split.seeds), round(SPARE * num_seeds)), f"{seed}/{domain}/seeds")
    if len(seeds) < num_seeds:
        raise ValueError(
            f"{data}: {len(seeds)} {domain} items for seeds, fewer than the {num_seeds} asked for"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(files["seeds"], (item.seed() for item in seeds))
    write_lines(files["references"], (item.reference() for item in seeds))
    exam = sample(split.exam, num_exam, f"{seed}/{domain}/exam")
    write_lines(files["exam"], (item.problem(domain) for item in exam))
    write_lines(files["others"], _others(data, domain, num_others, seed))
    return Prepared(**files)


def _others(data: Path, domain: str, num: int, seed: int) -> list[Row]:
    """The exam of the other domains: the first ones of each domain's own exam."""
    return [
        item.problem(other)
        for other, read in DOMAINS.items()
        if other != domain
        for item in sample(read(data).exam, num, f"{seed}/{other}/exam")
    ]


def sample(items: Sequence[Item], num: int, seed: str) -> list[Item]:
    """`num` items in random order; a smaller sample is the beginning of a larger one."""
    if num > len(items):
        raise ValueError(f"{num} items were asked for, and there are {len(items)}")
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    return shuffled[:num]


def lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


# --- the domains ------------------------------------------------------------------------------------------------


def _math(data: Path) -> Split:
    return Split(*(_gsm8k(data, part) for part in ("train", "test")))


def _gsm8k(data: Path, part: str) -> list[Item]:
    items = []
    for number, row in enumerate(lines(data / f"gsm8k_{part}.jsonl"), 1):
        found = _GSM8K_ANSWER.search(row["answer"])
        if found is None:
            raise ValueError(f"gsm8k_{part}.jsonl: row {number} does not end in '#### ' and an integer")
        grading = {"kind": "integer", "answer": found[1].replace(",", "")}
        items.append(Item(f"{part}-{number}", row["question"], row["question"], grading))
    return items


def _science(data: Path) -> Split:
    items = [
        _choice(f"mmlu-{number}", row) for number, row in enumerate(lines(data / "mmlu_science.jsonl"), 1)
    ]
    return Split(items[:500], items[500:])


def _choice(name: str, row: Row) -> Item:
    grading = {"kind": "choice", "options": row["options"], "answer": row["answer"]}
    return Item(name, with_options(row["question"], row["options"]), row["question"], grading)


def _code(data: Path) -> Split:
    rows = lines(data / "mbpp.jsonl")
    items = {row["task_id"]: item for row in rows if (item := _program(row)) is not None}
    return Split(
        [item for task, item in items.items() if 601 <= task <= 974],
        [item for task, item in items.items() if 11 <= task <= 510],
    )


def _program(row: Row) -> Item | None:
    """The task with its first test, which says what the function is called; None if a test is not a plain `call`."""
    tests = row["test_list"]
    cases = [found for test in tests if (found := call(test))]
    if len(cases) < len(tests):
        return None
    question = f"{row['text']}\n\nYour code should pass, for example:\n{tests[0]}"
    grading = {
        "kind": "code",
        "tests": {
            "kind": "functional",
            "entry": cases[0].entry,
            "cases": [{"input": case.input, "output": case.output} for case in cases],
        },
    }
    return Item(f"mbpp-{row['task_id']}", question, question, grading)


@dataclass(frozen=True, slots=True)
class Call:
    """A test that calls one function: `input` has an argument's JSON on each line, `output` is the result's JSON."""

    entry: str
    input: str
    output: str


def call(test: str) -> Call | None:
    """`assert f(1, [2]) == 3` as a call; None for any other form, and where a value is not one that JSON has."""
    try:
        match ast.parse(test).body:
            case [ast.Assert(ast.Compare(ast.Call(ast.Name(entry), given, []), [ast.Eq()], [expected]))]:
                values = [ast.literal_eval(one) for one in (*given, expected)]
            case _:
                return None
        *inputs, output = [_exact_json(value) for value in values]
    except (SyntaxError, TypeError, ValueError):
        return None
    return Call(entry, "\n".join(inputs), output)


def _exact_json(value: Any) -> str:
    """Raises `ValueError` for a value that JSON would change, such as a tuple, and `TypeError` for one it lacks."""
    text = json.dumps(value)
    if repr(json.loads(text)) != repr(value):
        raise ValueError(f"JSON changes {value!r}")
    return text


DOMAINS: dict[str, Callable[[Path], Split]] = {"math": _math, "science": _science, "code": _code}
