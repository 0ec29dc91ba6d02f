"""Options, domains and templates in files: the questions that they make, and faults with file, row and column."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_seeds import CLEAN, errors, jsonl, load, q
from veridistill.config import SeedsSection
from veridistill.data import seeds
from veridistill.domains.options import with_options
from veridistill.records import seed_id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "questions.jsonl"


# --- options ------------------------------------------------------------------------------------------------

SHOWN = "Which?\n\nA. red\nB. blue\nC. green"

OPTIONS: list[Any] = [
    ["red", "blue", "green"],
    [" red", "blue\n", "green"],
    {"A": "red", "B": "blue", "C": "green"},
    {"b": "blue", "c": "green", "a": "red", "d": None},
    {"label": ["A", "B", "C"], "text": ["red", "blue", "green"]},
    {"text": ["green", "red", "blue"], "label": ["C", "A", "B"]},
    {"text": ["green", "red", "blue"], "label": ["3", "1", "2"]},
    {"label": [1, 2, 3], "text": ["red", "blue", "green"]},
]


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_options_are_shown_as_an_exam_shows_them(tmp_path: Path, given: Any, suffix: str) -> None:
    path = tmp_path / f"q.{suffix}"
    row = q("Which?\n", choices=given)
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        jsonl(path, row)
    (seed,) = load(path, options="choices", domain="science")
    assert seed.question == SHOWN == with_options("Which?", ["red", "blue", "green"])
    assert seed.seed_id == seed_id(SHOWN)


def test_a_row_with_null_has_no_options(file: Path) -> None:
    found = load(jsonl(file, q("1+1?", options=None), q("Which?", options=["a", "b"])), options="options")
    assert [s.question for s in found] == ["1+1?", "Which?\n\nA. a\nB. b"]


def test_other_options_make_another_question(file: Path) -> None:
    rows = [q("Which?", options=options) for options in (["a", "b"], ["b", "a"], ["A", "b"])]
    found = load(jsonl(file, *rows), options="options")
    assert [s.source for s in found] == ["questions.jsonl:1", "questions.jsonl:2"]


NOT_OPTIONS: list[tuple[Any, str]] = [
    ([], "options is empty; give two options or more; null means that a question has none"),
    (
        {"label": [], "text": []},
        "options is empty; give two options or more; null means that a question has none",
    ),
    (["only"], "options holds one option, 'only'; give two or more; null means that a question has none"),
    ("a, b", "options must be a list of texts, or texts by letter (found 'a, b')"),
    (["a", 2], "options[1] must be text (found 2)"),
    (["a", " "], "options[1] must be text (found ' ')"),
    (["a", None], "options[1] must be text (found None)"),
    (
        {"A": "a", "C": "c"},
        "options must be labelled A, B, C or 1, 2, 3 and so on, without a gap (found 'A, C')",
    ),
    ({"red": "a", "blue": "c"}, "options must be labelled A, B, C or 1, 2, 3 and so on, without a gap"),
    ({"label": ["A", "A"], "text": ["a", "b"]}, "options must be labelled A, B, C or 1, 2, 3 and so on"),
    ({"label": ["A"], "text": ["a", "b"]}, "options has 1 labels and 2 texts; give a label to each text"),
    ([f"option {n}" for n in range(27)], "options holds 27 options; there are letters for 26"),
]


@pytest.mark.parametrize(("given", "expected"), NOT_OPTIONS)
def test_options_that_cannot_be_shown_are_told(file: Path, given: Any, expected: str) -> None:
    (fault,) = errors(jsonl(file, q("a", options=["x", "y"]), q("b", options=given)), options="options")
    assert fault.startswith(f"{file}:2: {expected}")


def test_options_that_pandas_lost_are_told(file: Path) -> None:
    (fault,) = errors(jsonl(file, b'{"question": "a", "options": ["x", NaN]}'), options="options")
    assert fault == (
        f"{file}:1: options[1] must be text (found nan); pandas writes NaN for a text None or an empty one"
    )


def test_a_row_without_the_column_of_options_is_told(file: Path) -> None:
    rows = (q("a", options=["x", "y"]), q("b", option=["x", "y"]))
    assert errors(jsonl(file, *rows), options="options") == [
        f"{file}:2: no column options (columns: question, option); did you mean seeds.options=option?"
    ]


def test_programs_have_no_options(file: Path) -> None:
    rows = (q("a", options=["x", "y"], of="code"), q("b", options=None, of="code"))
    assert errors(jsonl(file, *rows), options="options", domain="of") == [
        f"{file}:1: options must be null in the domain code, whose answers are programs"
    ]


# --- domains ------------------------------------------------------------------------------------------------


def test_a_column_gives_each_question_its_domain(file: Path) -> None:
    rows = [q("a", of="math"), q("b", of="code"), q("c", of="science"), q("d", of="math")]
    found = load(jsonl(file, *rows), domain="of")
    assert [s.domain for s in found] == ["math", "code", "science", "math"]
    assert found.domains == ("math", "science", "code")
    assert [s.question for s in found.like(found.seeds[3])] == ["a", "d"]


def test_a_name_of_a_domain_is_never_a_column(file: Path) -> None:
    assert [s.domain for s in load(jsonl(file, q("a", math="code")), domain="math")] == ["math"]


def test_a_value_that_is_no_domain_is_told(file: Path) -> None:
    rows = [q("a", of="math"), q("b", of="maths"), q("c", of=None), q("d")]
    assert errors(jsonl(file, *rows), domain="of") == [
        f"{file}:2: of must be math, science or code (found 'maths')",
        f"{file}:3: of must be math, science or code (found None)",
        f"{file}:4: no column of (columns: question); give seeds.domain=math, science or code, or the column with one"
        " of them in each row",
    ]


def test_a_name_that_is_neither_domain_nor_column_is_told_as_both(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"question": ["a"], "mathe": ["math"]}), path)
    assert errors(path, domain="maths") == [
        f"{path}: no column maths (columns: question, mathe); give seeds.domain=math, science or code, or the column"
        " mathe"
    ]


# --- templates ----------------------------------------------------------------------------------------------

MBPP = "{text}\n\nYour code should pass, for example:\n{test_list[0]}"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_template_over_columns(tmp_path: Path, suffix: str) -> None:
    rows = [
        {
            "text": "Add {x}.",
            "code": "secret",
            "test_list": ["assert f(1) == {2}", "assert f(2) == 3"],
            "task_id": 7,
        },
        {"text": "Double.", "code": "secret", "test_list": ["assert g(1) == 2"], "task_id": 8},
    ]
    path = tmp_path / f"q.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        jsonl(path, *rows)
    found = load(path, question=MBPP, id="task_id", domain="code")
    assert [(s.seed_id, s.question) for s in found] == [
        ("7", "Add {x}.\n\nYour code should pass, for example:\nassert f(1) == {2}"),
        ("8", "Double.\n\nYour code should pass, for example:\nassert g(1) == 2"),
    ]


def test_a_template_over_csv(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('stem,A,B\n"Which, {A}?",red,blue\n', encoding="utf-8")
    assert [s.question for s in load(path, question="{stem}\n\nA. {A}\nB. {B}", domain="science")] == [
        "Which, {A}?\n\nA. red\nB. blue"
    ]


def test_faults_of_a_template_are_told_with_the_row(file: Path) -> None:
    rows = [{"text": "a", "tests": ["b"]}, {"text": "c", "tests": []}, {"txt": "d", "tests": ["e"]}]
    assert errors(jsonl(file, *rows), question="{text} {tests[0]}") == [
        f"{file}:2: tests[0] is not there: the list has 0 items, counted from 0",
        f"{file}:3: no column text (columns: txt, tests); did you mean {{txt}} in seeds.question?",
    ]


def test_a_column_that_parquet_lacks_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "tests": [["c"], ["d"]]}), path)
    assert errors(path, question="{txt} {tests[0]}", id="task", options="choices") == [
        f"{path}: no column txt (columns: text, tests); did you mean {{text}} in seeds.question?",
        f"{path}: no column task (columns: text, tests); set seeds.id",
        f"{path}: no column choices (columns: text, tests); set seeds.options",
    ]


def test_surrogates_in_values_are_replaced_and_counted(file: Path) -> None:
    jsonl(file, b'{"a": "x\\ud800", "b": ["y\\udfff"]}')
    found = load(file, question="{a} {b[0]}")
    assert ([s.question for s in found], found.num_replaced) == (["x\ufffd y\ufffd"], 2)


# --- limits, shards and overlaps ----------------------------------------------------------------------------


def test_limit_and_shards_of_questions_from_columns(file: Path) -> None:
    rows = [
        {"n": n, "of": "math" if n % 3 else "science", "options": None if n % 3 else ["a", "b"]}
        for n in range(60)
    ]
    fields: dict[str, Any] = {"question": "What is {n} + 1?", "domain": "of", "options": "options"}
    whole = load(jsonl(file, *rows), limit=40, **fields)
    assert len(whole) == 40
    shards = [load(file, limit=40, shard=f"{part}/3", **fields) for part in (1, 2, 3)]
    assert sorted(s.source for shard in shards for s in shard) == sorted(s.source for s in whole)
    assert {s.seed_id for s in shards[0].like(shards[0].seeds[0])} <= {s.seed_id for s in whole}


STEM = "Which of these gases do leaves of the common daisy take in through their stomata while the sun is shining?"
COUNTED = "Write a function that counts how often each vowel occurs in the name of an island and returns the counts."


def test_a_benchmarks_question_is_found_behind_options_and_templates(file: Path) -> None:
    """Whatever the options and the words around it, and where the benchmark's own has others."""
    rows = [
        {"stem": CLEAN[0], "options": ["orange", "door hinge"]},
        {"stem": STEM, "options": ["helium", "carbon dioxide"]},
        {"stem": CLEAN[1], "options": None},
        {"stem": COUNTED, "options": None},
    ]
    items = [
        ("mmlu", "1", with_options(STEM, ["carbon dioxide", "oxygen", "argon", "neon"])),
        ("mmlu", "1", STEM),
        ("mbpp", "2", f"{COUNTED}\nassert count('Malta') == {{'a': 2}}"),
    ]
    jsonl(file, *rows)
    section = SeedsSection(
        path=(str(file),), question="Think well. {stem}", options="options", domain="science"
    )
    found = seeds.load(section, items)
    assert [s.source for s in found] == ["questions.jsonl:1", "questions.jsonl:3"]
    assert [(o.source, o.benchmark, o.problem_id) for o in found.overlaps] == [
        ("questions.jsonl:2", "mmlu", "1"),
        ("questions.jsonl:4", "mbpp", "2"),
    ]


def test_a_short_question_is_found_behind_its_options(file: Path) -> None:
    """Four words: too few to be looked for inside longer texts."""
    jsonl(file, q("What do daisies eat?", options=["sun", "rain"]), q("Why?", options=["so", "thus"]))
    section = SeedsSection(path=(str(file),), options="options", domain="science")
    found = seeds.load(section, [("mmlu", "1", "What do daisies eat?")])
    assert [s.source for s in found] == ["questions.jsonl:2"]
    assert found.overlaps[0].rule == "exact"


def test_the_words_of_a_template_make_no_near_duplicates(file: Path) -> None:
    long = "Here follows a question of a quiz. Read it slowly, think about every word of it, and then answer it: {text}"
    story = "The keeper of a small island counts twelve boats at noon and asks how many come back at night."
    short = [f"Why do {animals} sing at dawn?" for animals in ("robins", "wrens", "whales", "crickets")]
    rows = [*short, story, story.replace("small", "tiny")]
    jsonl(file, *({"text": text} for text in rows))
    found = load(file, question=long, near_duplicates=0.5)
    assert found.num_near_duplicates == 1
    assert len(found) == len(rows) - 1


def test_an_answer_beside_the_question_changes_nothing(tmp_path: Path) -> None:
    """For every format; a build is compared in tests/runs/test_domains.py."""

    def of(answers: list[str], suffix: str) -> seeds.Seeds:
        path = tmp_path / f"q.{suffix}"
        rows = [{"question": f"What is {n}?", "answer": answer} for n, answer in enumerate(answers)]
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == "csv":
            path.write_text("question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in rows))
        else:
            path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)))
        return load(path)

    for suffix in ("jsonl", "json", "csv", "parquet"):
        assert of(["1", "2"], suffix) == of(["7", "{question}"], suffix)
