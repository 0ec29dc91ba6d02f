"""Data sets of ours in the exact formats of the public ones: every column and type, and their nulls.

`write(folder, name)` lays a whole one out as the Hub does; the `*_record` functions make single records.
"""

import base64
import csv
import json
import pickle
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Record = dict[str, Any]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
AIME24 = pa.schema([(name, pa.string()) for name in ("problem", "solution", "answer", "url", "year")]).insert(
    0, pa.field("id", pa.int64())
)
HMMT = pa.schema(
    [
        ("problem_idx", pa.int64()),
        ("answer", pa.string()),
        ("problem_type", pa.list_(pa.string())),
        ("problem", pa.string()),
    ]
)
GSM8K = pa.schema([("question", pa.string()), ("answer", pa.string())])
MMLU_PRO = pa.schema(
    [
        ("question_id", pa.int64()),
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("answer_index", pa.int64()),
        ("cot_content", pa.string()),
        ("category", pa.string()),
        ("src", pa.string()),
    ]
)
SVAMP = pa.schema(
    [
        (name, pa.string())
        for name in ("ID", "Body", "Question", "Equation", "Answer", "Type", "question_concat")
    ]
)
MMLU = pa.schema(
    [
        ("question", pa.string()),
        ("subject", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int64()),
    ]
)
ARC = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("choices", pa.struct([("text", pa.list_(pa.string())), ("label", pa.list_(pa.string()))])),
        ("answerKey", pa.string()),
    ]
)
MBPP = pa.schema(
    [
        ("task_id", pa.int32()),
        ("text", pa.string()),
        ("code", pa.string()),
        ("test_list", pa.list_(pa.string())),
        ("test_setup_code", pa.string()),
        ("challenge_test_list", pa.list_(pa.string())),
    ]
)
MBPP_SANITIZED = pa.schema(
    [
        ("source_file", pa.string()),
        ("task_id", pa.int32()),
        ("prompt", pa.string()),
        ("code", pa.string()),
        ("test_imports", pa.list_(pa.string())),
        ("test_list", pa.list_(pa.string())),
    ]
)
HUMANEVAL = pa.schema(
    [(name, pa.string()) for name in ("task_id", "prompt", "canonical_solution", "test", "entry_point")]
)
HLE = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("image", pa.string()),
        ("image_preview", IMAGE),
        ("answer", pa.string()),
        ("answer_type", pa.string()),
        ("author_name", pa.string()),
        ("rationale", pa.string()),
        ("rationale_image", IMAGE),
        ("raw_subject", pa.string()),
        ("category", pa.string()),
        ("canary", pa.string()),
    ]
)
GPQA_COLUMNS = (
    "Pre-Revision Question",
    "Pre-Revision Correct Answer",
    "Self-reported question-writing time (minutes)",
    "Question",
    "Correct Answer",
    "Incorrect Answer 1",
    "Incorrect Answer 2",
    "Incorrect Answer 3",
    "Explanation",
    "High-level domain",
    "Subdomain",
    "Canary String",
    "Record ID",
)


def aime24_record(index: int) -> Record:
    answer = str(index * 33 % 1000).zfill(3)
    text = f"Find $m+n$ for {index}."
    solution = rf"So \boxed{{{answer}}}."
    url = f"https://example.org/{index}"
    return {
        "id": 60 + index,
        "problem": text,
        "solution": solution,
        "answer": answer,
        "url": url,
        "year": "2024",
    }


def aime25_record(index: int) -> Record:
    answer = r"336^\circ" if index == 3 else str(index * 31)
    return {"problem": f"Find the number of ways {index}.", "answer": answer, "id": str(index)}


def aime26_record(index: int) -> Record:
    return {"id": index + 1, "problem": f"Patrick walks {index} miles.", "answer": index * 34}


def hmmt_record(index: int) -> Record:
    return {
        "problem_idx": index + 1,
        "answer": rf"\frac{{{index}}}{{7}}",
        "problem_type": ["Algebra", "Geometry"],
        "problem": f"Compute the {index}th value.",
    }


def math500_record(index: int) -> Record:
    return {
        "problem": f"Convert {index} to polar form.",
        "solution": rf"It is $\boxed{{({index}, \pi)}}$.",
        "answer": rf"\left( {index}, \frac{{\pi}}{{2}} \right)",
        "subject": "Precalculus",
        "level": index % 5 + 1,
        "unique_id": f"test/precalculus/{index}.json",
    }


def gsm8k_record(index: int) -> Record:
    answer = f"{1000 + index:,}" if index % 2 else str(-index)
    return {"question": f"How many eggs has {index}?", "answer": f"She has <<3*4=12>>12.\n#### {answer}"}


def gpqa_record(index: int) -> Record:
    """The right answer is stored first, and texts have quotes, commas and line ends in them."""
    record = dict.fromkeys(GPQA_COLUMNS, "")
    return record | {
        "Question": f'Which "state", of {index},\r\nis stable?\n',
        "Correct Answer": f"right {index}\n",
        "Incorrect Answer 1": f"wrong one, of {index}",
        "Incorrect Answer 2": f'wrong "two" of {index}',
        "Incorrect Answer 3": f"wrong three of {index}\n",
        "High-level domain": "Physics",
        "Record ID": f"rec{index * 7919:014x}",
    }


def mmlu_pro_record(index: int) -> Record:
    options = [f"{letter} of {index}" for letter in "qrstuvwxyz"][: 3 + index % 8]
    right = index % len(options)
    return {
        "question_id": 70 + index,
        "question": f"Which is it, {index}?",
        "options": options,
        "answer": "ABCDEFGHIJ"[right],
        "answer_index": right,
        "cot_content": "",
        "category": "law",
        "src": "ori_mmlu-law",
    }


def svamp_record(index: int) -> Record:
    body, question = f"A pack costs {index} dollars.", "How much do 2 packs cost?"
    return {
        "ID": f"chal-{index}",
        "Body": body,
        "Question": question,
        "Equation": f"( {index}.0 * 2.0 )",
        "Answer": f"{2 * index}.0" if index % 3 else str(2 * index),
        "Type": "Multiplication",
        "question_concat": f"{body} {question}",
    }


def mmlu_record(index: int) -> Record:
    """Of three topics in turn."""
    return {
        "question": f"What holds of {index}?",
        "subject": ("astronomy", "high_school_physics", "philosophy")[index % 3],
        "choices": [f"{letter} of {index}" for letter in "wxyz"],
        "answer": index % 4,
    }


def arc_record(index: int) -> Record:
    """Labels are letters or digits, and there are three to five."""
    texts = [f"{word} of {index}" for word in ("sun", "soil", "sea", "wind", "rain")][: 3 + index % 3]
    labels = list("12345" if index % 7 == 1 else "ABCDE")[: len(texts)]
    return {
        "id": f"Mercury_{index}",
        "question": f"Which warms {index}?",
        "choices": {"text": texts, "label": labels},
        "answerKey": labels[index % len(labels)],
    }


def mbpp_record(task: int) -> Record:
    """Lines of code end as they do there."""
    return {
        "task_id": task,
        "text": f"Write a function to add {task} to a number.",
        "code": f"def add(n):\r\n  return n + {task} ",
        "test_list": [f"assert add({n}) == {n + task}" for n in range(3)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


def mbpp_sanitized_record(task: int) -> Record:
    found = mbpp_record(task)
    return {
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "task_id": task,
        "prompt": found["text"],
        "code": found["code"],
        "test_imports": ["import math"] if task % 2 else [],
        "test_list": found["test_list"],
    }


def humaneval_record(index: int) -> Record:
    prompt = (
        "from typing import List\n\n\ndef shift(numbers: List[int]) -> List[int]:\n"
        f'    """ Add {index} to each.\n    >>> shift([0])\n    [{index}]\n    """\n'
    )
    return {
        "task_id": f"HumanEval/{index}",
        "prompt": prompt,
        "canonical_solution": f"    return [n + {index} for n in numbers]\n",
        "test": "\n\nMETADATA = {'author': 'us'}\n\n\ndef check(candidate):\n"
        f"    assert candidate([1, 2]) == [{index + 1}, {index + 2}]\n    assert candidate([]) == []\n",
        "entry_point": "shift",
    }


def hle_record(index: int, answer_type: str, image: str = "") -> Record:
    choice = answer_type == "multipleChoice"
    tail = "\n\nAnswer Choices:\nA. Egalitarian\nB. Elitism\nC. Weak\nD. Strong\nE. None" if choice else ""
    return {
        "id": f"66e{index:021x}",
        "question": f"What holds of {index}?{tail}",
        "image": image,
        "image_preview": {"bytes": b"\x89PNG", "path": None} if image else None,
        "answer": "ABCDE"[index % 5] if choice else "Myrmidon",
        "answer_type": answer_type,
        "author_name": "A. Author",
        "rationale": "Because.",
        "rationale_image": None,
        "raw_subject": "Philosophy",
        "category": "Humanities/Social Science",
        "canary": "do not train on this",
    }


def hle_records() -> list[Record]:
    """513 choices and 1,645 exact matches without an image, then 342 of either with one."""
    kinds = ["multipleChoice"] * 513 + ["exactMatch"] * 1645 + ["multipleChoice", "exactMatch"] * 171
    return [
        hle_record(i, kind, "data:image/png;base64,iVBORw0KGgo=" if i >= 2158 else "")
        for i, kind in enumerate(kinds)
    ]


def lcb_record(index: int, date: str, functional: bool = False, private: Any = None) -> Record:
    """Field by field in the order of the real files, which have the tests behind the date."""
    testtype = "functional" if functional else "stdin"
    case = {
        "input": "[1, 2]\n3" if functional else "1 2\n",
        "output": "6" if functional else "3\n",
        "testtype": testtype,
    }
    tests = [case] if private is None else private
    packed = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()
    starter = "class Solution:\n    def total(self, xs: List[int], k: int) -> int:\n        "
    return {
        "question_title": f"Title {index}",
        "question_content": f'Problem {index} says "contest_date": "1999-01".\n\nSample Input 1\n\n1 2',
        "platform": "leetcode" if functional else "atcoder",
        "question_id": f"{3000 + index}" if functional else f"abc{index}_a",
        "contest_id": "weekly-contest-432" if functional else "abc387",
        "contest_date": date,
        "starter_code": starter if functional else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([case]),
        "private_test_cases": packed,
        "metadata": json.dumps({"func_name": "total"} if functional else {}),
    }


def lcb_date(file: int, index: int) -> str:
    """Months as the releases have them, near enough: the first five files hold 279 problems from August 2024 to January
    2025, and the last two files both hold some of that January.
    """
    first, months = {
        1: (2023 * 12 + 4, 10),
        2: (2024 * 12 + 2, 2),
        3: (2024 * 12 + 7, 1) if index < 11 else (2024 * 12 + 4, 3),
        4: (2024 * 12 + 7, 2),
        5: (2024 * 12 + 8, 5),
        6: (2025 * 12, 4),
    }[file]
    month = first + index % months
    return f"{month // 12}-{month % 12 + 1:02d}-{index % 28 + 1:02d}T00:00:00"


def write(folder: Path, name: str) -> Path:
    """A whole data set under `folder`, in the layout of the Hub; returns the directory of its repository."""
    hub_id, file = _PLACES[name]
    if name.startswith("lcb"):
        for number, count in enumerate((400, 111, 101, 101, 167, 175), 1):
            records = (
                lcb_record(1000 * number + i, lcb_date(number, i), functional=i % 2 == 1)
                for i in range(count)
            )
            write_jsonl(folder / hub_id / f"test{number if number > 1 else ''}.jsonl", records)
    else:
        write_file(folder / hub_id / file, _SETS[name]())
    return folder / hub_id


def write_file(path: Path, records: Sequence[Record]) -> Path:
    """In the format of the suffix. Parquet has the schema of the data set that has these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        return write_jsonl(path, records)
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
        return path
    schemas = {frozenset(schema.names): schema for schema in _SCHEMAS}
    pq.write_table(pa.Table.from_pylist(list(records), schemas.get(frozenset(records[0]))), path)
    return path


def write_jsonl(path: Path, records: Iterable[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


_SCHEMAS = (AIME24, HMMT, GSM8K, SVAMP, MMLU_PRO, MMLU, ARC, HLE, MBPP, MBPP_SANITIZED, HUMANEVAL)
_SETS = {
    "aime24": lambda: [aime24_record(i) for i in range(30)],
    "aime25": lambda: [aime25_record(i) for i in range(30)],
    "aime26": lambda: [aime26_record(i) for i in range(30)],
    "hmmt_feb25": lambda: [hmmt_record(i) for i in range(30)],
    "hmmt_nov25": lambda: [hmmt_record(i) for i in range(30)],
    "hmmt_feb26": lambda: [hmmt_record(i) for i in range(33)],
    "math500": lambda: [math500_record(i) for i in range(500)],
    "gsm8k": lambda: [gsm8k_record(i) for i in range(1319)],
    "gpqa_diamond": lambda: [gpqa_record(i) for i in range(198)],
    "mmlu_pro": lambda: [mmlu_pro_record(i) for i in range(12032)],
    "svamp": lambda: [svamp_record(i) for i in range(300)],
    "mmlu": lambda: [mmlu_record(i) for i in range(14042)],
    "arc_challenge": lambda: [arc_record(i) for i in range(1172)],
    "mbpp": lambda: [mbpp_record(i) for i in range(11, 511)],
    "mbpp_sanitized": lambda: [mbpp_sanitized_record(i) for i in range(11, 268)],
    "humaneval": lambda: [humaneval_record(i) for i in range(164)],
    "hle_text": hle_records,
    "hle_text_all": hle_records,
}
_PLACES = {
    "aime24": ("HuggingFaceH4/aime_2024", "data/train-00000-of-00001.parquet"),
    "aime25": ("math-ai/aime25", "test.jsonl"),
    "aime26": ("math-ai/aime26", "aime2026.jsonl"),
    "hmmt_feb25": ("MathArena/hmmt_feb_2025", "data/train-00000-of-00001.parquet"),
    "hmmt_nov25": ("MathArena/hmmt_nov_2025", "data/train-00000-of-00001.parquet"),
    "hmmt_feb26": ("MathArena/hmmt_feb_2026", "data/train-00000-of-00001.parquet"),
    "math500": ("HuggingFaceH4/MATH-500", "test.jsonl"),
    "gsm8k": ("openai/gsm8k", "main/test-00000-of-00001.parquet"),
    "gpqa_diamond": ("Idavidrein/gpqa", "gpqa_diamond.csv"),
    "mmlu_pro": ("TIGER-Lab/MMLU-Pro", "data/test-00000-of-00001.parquet"),
    "svamp": ("ChilleD/SVAMP", "data/test-00000-of-00001.parquet"),
    "mmlu": ("cais/mmlu", "all/test-00000-of-00001.parquet"),
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge/test-00000-of-00001.parquet"),
    "mbpp": ("google-research-datasets/mbpp", "full/test-00000-of-00001.parquet"),
    "mbpp_sanitized": ("google-research-datasets/mbpp", "sanitized/test-00000-of-00001.parquet"),
    "humaneval": ("openai/openai_humaneval", "openai_humaneval/test-00000-of-00001.parquet"),
    "hle_text": ("cais/hle", "data/test-00000-of-00001.parquet"),
    "hle_text_all": ("cais/hle", "data/test-00000-of-00001.parquet"),
    "lcb_v5": ("livecodebench/code_generation_lite", ""),
    "lcb_v6": ("livecodebench/code_generation_lite", ""),
}
