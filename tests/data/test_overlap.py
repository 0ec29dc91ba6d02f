"""Overlap of texts: what is the same word, what is a near duplicate, and what holds a benchmark's question."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from veridistill.data.overlap import Overlap, audit_lines
from veridistill.data.overlap.contamination import Item, contaminated
from veridistill.data.overlap.near import bands, near_duplicates
from veridistill.data.overlap.words import masked, tokens, words
from veridistill.records import Seed

SAME_WORDS = [
    (r"Compute $\dfrac{1}{2}\,x^{2} + 1{,}000$.", r"compute \(\frac12 x^2+1000\)", "compute / 1 2 x ^ 2 + 1000"),
    ("½ of 30°", r"$\frac{1}{2}$ of $30^{\circ}$", "1 / 2 of 30 degrees"),
    ("**Find**  the  non-negative\n root", "find the nonnegative root?", "find the non negative root"),
    ("a × b ≤ 3", r"$a\cdot b\leq 3$", "a * b <= 3"),
    ("5 − 3", "5-3", "5 - 3"),
    (r"\[\begin{pmatrix}1&2\\3&4\end{pmatrix}\]", "(1 2; 3 4)", "1 2 3 4"),
    (r"\text{if } \mathbf{v} \ne \sqrt{2}", "if v != √2", "if v != √ 2"),
    ("最大值", "最大值", "最 大 值"),
    ("ｆ（ｘ）＝ｘ²", "f(x)=x2", "f x = x 2"),
    ("", "...", ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "expected"), SAME_WORDS)
def test_typesetting_is_no_difference(one: str, other: str, expected: str) -> None:
    assert " ".join(tokens(one)) == expected
    apart = {"½ of 30°", "**Find**  the  non-negative\n root"}  # a half and a compound in two spellings
    if one not in apart:
        assert tokens(other) == tokens(one)


def test_words_leave_operators_out_and_masks_hide_numbers_and_variables() -> None:
    found = tokens("Is 3.5x + y² > 12?")
    assert words(found) == ["is", "3.5", "x", "y", "2", "12"]
    assert masked(words(found)) == ["is", "#", "@", "@", "#", "#"]
    assert len(masked(found)) == len(found)


HOSTILE = ["\\begin{", "\\frac ", "\\1,", "^{", "* ", "a-", "frac ", "\\ ^" + " " * 1000]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_of_a_megabyte_is_read(piece: str) -> None:
    assert len(tokens(piece * (1_000_000 // len(piece)) + " end")) > 0


def seeds(*questions: str) -> list[Seed]:
    return [Seed(str(number), text, source=f"q.jsonl:{number + 1}") for number, text in enumerate(questions)]


LONG = (
    "A gardener plants {a} rose bushes along a straight path so that neighbouring bushes stand {b} metres apart, and "
    "then walks from the first bush to the last and back again while watering each of them for {c} minutes in total. "
    "How many minutes does the whole round take when walking one metre needs exactly half a minute of time?"
)
Q = LONG.format(a=12, b=3, c=2)

PAIRS: list[tuple[str, str, bool]] = [
    (Q, Q.upper().replace(" ", "  "), True),
    (Q, "Please solve this. " + Q, True),
    (Q, Q.replace("gardener", "farmer"), True),
    (Q, Q.replace("12", "$12$"), True),
    (Q, LONG.format(a=13, b=3, c=2), False),
    (Q, LONG.format(a=3, b=12, c=2), False),
    (Q, Q.replace("half a minute", "a quarter minute"), False),
    (Q, Q.replace("the first bush to the last", "the last bush to the first"), False),
    (Q + " Let x + y = 1.", Q + " Let x - y = 1.", False),
    (Q + " Find x.", Q + " Find y.", False),
    (Q + " The largest one.", Q + " The smallest one.", False),
    ("What is 2+3?", "What is 2+5?", False),
    ("What is 2+3?", "What is 2 + 3 ?", True),
    ("What is 2+3?", "Name a colour.", False),
    ("Why?", "Why.", True),
]


@pytest.mark.parametrize(("earlier", "later", "same"), PAIRS)
def test_a_near_duplicate_says_the_same_with_the_same_numbers(earlier: str, later: str, same: bool) -> None:
    found = near_duplicates(seeds(earlier, later), 0.7)
    assert [(o.seed_id, o.problem_id, o.rule, o.action) for o in found] == (
        [("1", "0", "near_duplicate", "dropped")] if same else []
    )


def test_the_earliest_question_wins_and_only_kept_ones_are_compared_with() -> None:
    chain = [
        Q,
        Q.replace("gardener", "farmer"),
        Q.replace("gardener", "sailor"),
        "Something else entirely, is it?",
    ]
    found = near_duplicates(seeds(*chain), 0.7)
    assert [(o.seed_id, o.problem_id) for o in found] == [("1", "0"), ("2", "0")]
    assert found[0].source == "q.jsonl:2"
    assert 0.7 <= found[0].share < 1


def test_the_threshold_is_the_exact_jaccard_similarity_of_5_grams() -> None:
    one, other = Q, Q.replace("gardener", "farmer")
    grams = [
        {tuple(found[i : i + 5]) for i in range(len(found) - 4)} for found in (tokens(one), tokens(other))
    ]
    similarity = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
    assert near_duplicates(seeds(one, other), similarity)[0].share == round(similarity, 4)
    assert not near_duplicates(seeds(one, other), similarity + 1e-9)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_hardly_a_pair_at_the_threshold_is_missed(threshold: float) -> None:
    num, rows = bands(threshold)
    assert num * rows <= 128
    assert (1 - threshold**rows) ** num <= 0.001


def test_near_duplicates_are_the_same_in_every_process() -> None:
    program = (
        "from tests.data.test_overlap import *\n"
        "texts = [LONG.format(a=i % 50, b=3, c=1).replace('path', 'path' + 'uvwxyz'[i // 50]) for i in range(300)]\n"
        "print([(o.seed_id, o.problem_id) for o in near_duplicates(seeds(*texts), 0.6)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert "('50', '0')" in runs[0]
    assert "('51', '0')" not in runs[0]


ITEMS: list[Item] = [
    ("aime", "1", Q),
    ("aime", "2", "What is the remainder when $2^{2024}$ is divided by $7$?"),
    ("gsm", "3", "Solve $x^2 + 3x + 2 = 0$."),
    ("gsm", "4", "What is 2+3?"),
    ("gsm", "5", "Hi"),
]
W = Q.split()
OTHER = (
    "In a distant harbour seven silent sailors trade painted shells for barrels of salted fish until the tide turns "
    "and the lighthouse keeper rings a bronze bell."
)

COPIES: list[tuple[str, str | None, str | None]] = [
    (Q, "exact", "1"),
    (Q.lower().replace(" ", "\n "), "exact", "1"),
    (f"{OTHER} {Q} Thank you!", "contained", "1"),
    (" ".join(W[:13]) + " " + OTHER, "13-gram", "1"),
    (" ".join(W[:12]) + " " + OTHER, None, None),
    (Q.replace("bushes stand", "plants stand"), "13-gram", "1"),
    # No 13 words in a row, but half of the item in rows of 8 to 12.
    (" ".join(word if number % 11 else "zeppelin" for number, word in enumerate(W)), "coverage", "1"),
    (" ".join(word if number % 7 else "zeppelin" for number, word in enumerate(W)), None, None),
    (LONG.format(a=31, b=47, c=5), "13-gram", "1"),
    ("What is the remainder when 2^2024 is divided by 7", "exact", "2"),
    ("what is the remainder when $2^{2024}$ is divided by $13$?", "coverage", "2"),
    ("What is the remainder when 3^55 is divided by 13?", "masked_short", "2"),
    ("Solve x^2+3x+2=0 by factoring, please.", "contained", "3"),
    ("Solve x^2+3x+2=0 + x.", None, None),
    ("What is 2 + 3?", "exact", "4"),
    ("What is 2 + 3 + 4?", None, None),
    ("What is 2 - 3?", None, None),
    ("What is 7 + 8?", "masked_short", "4"),
    ("hi!", "exact", "5"),
    ("Hi, who are you?", None, None),
    (OTHER, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("question", "rule", "problem"), COPIES)
def test_what_counts_as_contaminated(question: str, rule: str | None, problem: str | None) -> None:
    found = contaminated(seeds(OTHER[::-1], question), ITEMS)
    assert [(o.seed_id, o.rule, o.problem_id) for o in found] == ([("1", rule, problem)] if rule else [])
    assert all(o.action == ("reported" if o.rule == "masked_short" else "dropped") for o in found)


NUMBERED = (
    "{a} divers and {b} rowers cross at dawn, {c} by raft and {d} on foot; {a} turn back, {b} swim, {c} sleep, {d}"
    " sing. Count whoever is left on shore."
)


def test_a_copy_with_other_numbers_is_masked() -> None:
    item = [("b", "1", NUMBERED.format(a=11, b=22, c=33, d=44))]
    found = contaminated(seeds(NUMBERED.format(a=5, b=6, c=7, d=8)), item)
    assert [(o.rule, o.action, o.share) for o in found] == [("masked", "dropped", 1.0)]
    item = [("b", "1", NUMBERED.format(a="x", b="y", c="z", d="w"))]
    found = contaminated(seeds(NUMBERED.format(a="p", b="q", c="r", d="s")), item)
    assert [(o.rule, o.action, o.share) for o in found] == [("masked", "dropped", 1.0)]


def test_a_masked_copy_may_differ_in_a_fifth_of_its_words() -> None:
    copy = NUMBERED.format(a=5, b=6, c=7, d=8).partition(" Count")[0]
    item = [
        ("b", "1", NUMBERED.format(a=11, b=22, c=33, d=44).partition(" Count")[0] + " How many remain there?")
    ]
    found = contaminated(seeds(f"{copy} Then add up."), item)
    assert [(o.rule, o.action) for o in found] == [("masked", "dropped")]
    assert 0.8 <= found[0].share < 0.9
    assert contaminated(seeds(copy.partition("turn")[0]), item) == []


def test_a_template_of_many_questions_is_reported_and_not_dropped() -> None:
    item = [("b", "1", NUMBERED.format(a=1, b=2, c=3, d=4))]
    many = [NUMBERED.format(a=n + 5, b=n + 6, c=n + 7, d=n + 8) for n in range(40)]
    assert {(o.rule, o.action) for o in contaminated(seeds(*many), item)} == {("masked", "reported")}
    assert {o.action for o in contaminated(seeds(*many[:10]), item)} == {"dropped"}


TAIL = (
    " can be written as $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
)


def test_boilerplate_is_no_evidence_and_a_copy_full_of_it_is_still_found() -> None:
    others = [f"The {word}" + TAIL for word in OTHER.split()]
    item = [("b", "1", "A spinning turnip lands upright. The chance of that" + TAIL)]
    assert contaminated(seeds(*others), item) == []
    found = contaminated(seeds(*others, item[0][2] + " Thanks!"), item)
    assert [(o.seed_id, o.rule) for o in found] == [(str(len(others)), "contained")]
    # With few questions, nothing is known to be boilerplate.
    assert [o.rule for o in contaminated(seeds(*others[:3]), item)] == ["13-gram"] * 3


def test_what_many_items_share_is_boilerplate_too_but_an_item_given_twice_is_not() -> None:
    items = [("b", str(n), f"{word} {word}" + TAIL) for n, word in enumerate(OTHER.split())]
    assert contaminated(seeds("The zeppelin" + TAIL), items) == []
    assert [o.rule for o in contaminated(seeds(" ".join(W[1:])), [("b", str(n), Q) for n in range(9)])] == [
        "13-gram"
    ]


def test_two_boilerplates_side_by_side_are_no_evidence() -> None:
    one, two = "no two of them are next to each other", "Find the number of ordered pairs of such"
    words = OTHER.replace(".", "").split()
    others = [f"{word}, {one}? Oh {word}." for word in words] + [f"{word}! {two} {word}." for word in words]
    item = [("b", "1", f"{' '.join(words[:20])} so that {one}. {two} kettles, {' '.join(words[3:12])}.")]
    straddling = f"Wolves stand so that {one}. {two} wolves."
    assert contaminated(seeds(straddling, *others), item) == []
    # Where they are nobody else's, the same words are evidence.
    assert [o.rule for o in contaminated(seeds(straddling), item)] == ["13-gram"]


def test_formulas_alone_are_no_evidence() -> None:
    matrix = r"\begin{pmatrix}1&0&0&0\\0&1&0&0\\0&0&1&0\\0&0&0&1\end{pmatrix}"
    item = [
        (
            "b",
            "1",
            f"Let the linear map that fixes every basis vector be written ${matrix}$; what is its trace?",
        )
    ]
    assert contaminated(seeds(f"Which eigenvalues has ${matrix}$, asks the impatient examiner?"), item) == []


def test_the_audit_names_both_texts_and_what_they_share() -> None:
    found = contaminated(seeds("Fishy: " + " ".join(W[:20])), ITEMS)
    line = json.loads(audit_lines(found))
    assert line["shared"].startswith("a gardener plants 12 rose bushes")
    assert (line["source"], line["benchmark"], line["problem_id"]) == ("q.jsonl:1", "aime", "1")
    assert line["question"] == "Fishy: " + " ".join(W[:20])
    assert line["other"] == Q[:237] + "..."
    assert 0 < line["share"] < 0.5
    assert set(line) == set(Overlap.__slots__)


def test_the_benchmark_finds_what_was_planted() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "decontaminate.py"
    spec = importlib.util.spec_from_file_location("decontaminate", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    found = benchmark.measure(2500, 300, 40)
    for kind in ("exact", "restyled", "embedded", "foreign_boilerplate"):
        assert found["recall"][kind] == 1.0, kind
    assert found["recall"]["one_word_changed"] >= 0.95
    assert found["recall"]["other_numbers"] >= 0.8
    assert found["recall"]["second_half"] >= 0.6
    assert found["unrelated_dropped"] <= 0.01 * found["unrelated_questions"]
    assert found["near_recall"]["near_with_boilerplate"] == 1.0
    assert found["near_unrelated_dropped"] == found["near_other_numbers_dropped"] == 0
