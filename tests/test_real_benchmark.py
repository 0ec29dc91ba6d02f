"""The study on real models: what it hands to a run, who is trained on what, and its tables."""

import ast
import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.harness import make_plan, make_seeds
from veridistill import method
from veridistill.config import SeedsSection
from veridistill.data import seeds
from veridistill.data.tables import CandidateRow, VoteRow
from veridistill.evaluation.benchmarks import load
from veridistill.records import Completion, Outcome

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODULES = ("markdown", "arms", "soft_verdicts", "steps", "public", "measured", "real_figures", "real")


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The modules of the study, found as a script finds those beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        for name in MODULES:
            sys.modules.pop(name)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in the public formats."""
    folder = tmp_path_factory.mktemp("data")

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    for part, start in (("train", 0), ("test", 1_000)):
        rows = [
            {"question": f"How much is {i} and one?", "answer": f"Secret. {i}+1.\n#### {i + 1:,}"}
            for i in range(start, start + 12)
        ]
        write(f"gsm8k_{part}.jsonl", rows)
    options = ["B", "iron", "copper", "tin"]
    write(
        "mmlu_science.jsonl",
        [{"question": f"Metal {i}?", "options": options, "answer": "CD"[i % 2]} for i in range(520)],
    )
    tasks = [
        {"text": f"Write f{i}.", "task_id": i, "test_setup_code": "",
         "code": f"def f{i}(x):\n    return x + {i}",
         "test_list": [f"assert f{i}({x}) == {x + i}" for x in range(3)]}
        for i in range(1, 975)  # all of them, since the benchmark counts them
    ]  # fmt: skip
    write("mbpp.jsonl", tasks)
    return folder


@pytest.mark.parametrize("domain", ["math", "science", "code"])
def test_a_run_reads_the_files_and_they_hold_no_answers(
    parts: SimpleNamespace, data: Path, tmp_path: Path, domain: str
) -> None:
    study = parts.real.Study(tmp_path, domain, parts.real.Sizes(seeds=8), ())
    files = parts.public.prepare(data, tmp_path, domain, 8, 6, 4)
    section = SeedsSection(**parts.real.settings(study, "any", "cpu", 1e-5)["seeds"])
    found = seeds.load(section)
    assert len(found.seeds) == 8
    assert {seed.domain for seed in found.seeds} == {domain}
    exam, references = load(files.exam), parts.public.lines(files.references)
    assert len(exam) == 6
    assert {seed.seed_id for seed in found.seeds} <= {one["id"] for one in references}
    assert not {seed.seed_id for seed in found.seeds} & {problem.problem_id for problem in exam}
    others = load(files.others)
    assert sorted({problem.domain for problem in others}) == sorted({"math", "science", "code"} - {domain})
    assert len(others) == 8
    shown = [seed.question for seed in found.seeds]
    if domain == "math":
        assert "Secret" not in files.seeds.read_text(encoding="utf-8")
        assert {problem.reference for problem in exam} <= {str(i + 1) for i in range(1_000, 1_012)}
    if domain == "science":
        assert all("\nB. iron\nC. copper\n" in question for question in shown)
        assert {problem.reference for problem in exam} <= {"C", "D"}
    if domain == "code":
        assert all("(0) == " in question and "(1) == " not in question for question in shown)
        assert all(601 <= int(seed.seed_id.removeprefix("mbpp-")) <= 974 for seed in found.seeds)
        assert all("(1) == " in problem.question and "(2) == " in problem.tests for problem in exam)
        assert "return" not in files.seeds.read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_sample_and_a_smaller_one_is_its_beginning(
    parts: SimpleNamespace, data: Path
) -> None:
    items = parts.public.DOMAINS["math"](data).exam
    found = parts.public.sample(items, 6, "0/math/exam")
    assert found == parts.public.sample(items, 6, "0/math/exam")
    assert found[:3] == parts.public.sample(items, 3, "0/math/exam")
    assert len({item.item_id for item in found}) == 6
    assert found != items[:6]


def test_too_few_items_are_refused(parts: SimpleNamespace, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 math items for seeds, fewer than the 50 asked for"):
        parts.public.prepare(data, tmp_path, "math", 50, 6, 2)


def row(name: str, index: int, outcome: Outcome = "rejected", end: str = "stop") -> CandidateRow:
    return CandidateRow(name, index, outcome, None, outcome == "accepted", "", f"text {index}", end, 1, 1)


CANDIDATES = [
    row("a", 0), row("a", 1, "accepted"),
    row("b", 0, "malformed", "length"), row("b", 1),
    row("c", 0, "accepted"), row("c", 1),
    row("d", 0), row("d", 1, "malformed"),
]  # fmt: skip
RIGHT = {("a", 1): True, ("b", 1): True, ("c", 0): False, ("d", 1): True}


@pytest.mark.parametrize(
    ("kept", "most", "expected"),
    [
        (2, 60, {"cascade": ["a", "c"], "unfiltered": ["a", "c"], "oracle": ["a", "b"]}),
        (2, 1, {"cascade": ["a"], "unfiltered": ["a"], "oracle": ["a"]}),
        (0, 60, {"cascade": [], "unfiltered": ["a", "c", "d"], "oracle": ["a", "b"]}),
    ],
)
def test_arms_get_equally_many_examples(
    parts: SimpleNamespace, kept: int, most: int, expected: dict[str, list[str]]
) -> None:
    candidates = [one for one in CANDIDATES if kept or not one.kept]
    if not kept:
        candidates += [row("c", 0), row("a", 1)]
    scores = {("d", 0): 0.1, ("b", 1): 2.0, ("a", 0): -1.0, ("a", 1): 1.0}
    found = parts.measured.equally_many(["a", "b", "c", "d"], candidates, RIGHT, scores, most)
    highest = {1: ["b"], 2: ["a", "b"], 60: ["a", "b", "d"]}[min(most, kept or most)]
    assert found == expected | {"soft": highest}


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_takes_from_another_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (BENCHMARKS / f"{node.module}.py").is_file():
            tree = ast.parse((BENCHMARKS / f"{node.module}.py").read_text(encoding="utf-8"))
            stored = {
                one.id
                for one in ast.walk(tree)
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            }
            defined = {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
            imported = {
                one.name for part in tree.body if isinstance(part, ast.ImportFrom) for one in part.names
            }
            assert {one.name for one in node.names} <= stored | defined | imported


def test_the_likeliest_yes_is_kept(parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "SELECTIONS", dict(method.SELECTIONS))
    parts.arms.add_soft({("seed-0", 0): -1.0, ("seed-0", 2): 3.0, ("seed-0", 3): 2.0})
    asked: list[tuple[Any, ...]] = []

    async def ask(role: str, path: tuple[Any, ...], *_: Any) -> Completion:
        asked.append((role, *path))
        return Completion("It is 4.", "stop", 1, 1)

    kept = [
        [
            one.index
            for one in asyncio.run(method.distil(seed, cast(Any, ask), make_plan(4, selection="soft"))).kept
        ]
        for seed in make_seeds(2)
    ]
    assert kept == [[2], []]
    assert asked == [("solve", f"seed-{seed}", index) for seed in range(2) for index in range(4)], (
        "nothing is judged"
    )


def test_scores_are_measured_by_their_order(parts: SimpleNamespace) -> None:
    def scored(*given: tuple[str, bool, float]) -> dict[str, Any]:
        rows = [
            parts.soft_verdicts.Scored(name, i, right, score) for i, (name, right, score) in enumerate(given)
        ]
        found: dict[str, Any] = parts.soft_verdicts.measured(rows)
        return found["measures"] | {"above_even": found["above_even"]}

    found = scored(
        ("a", True, 3.0), ("a", False, 1.0), ("b", False, 2.0), ("b", True, 2.0), ("c", False, -1.0)
    )
    assert found["auc"]["value"] == pytest.approx((3 + 2.5) / 6, abs=1e-4)
    assert found["auc_within_questions"]["value"] == 0.75
    assert found["above_even"] == 4
    assert found["precision_at_recall_50"]["value"] == 1.0
    assert found["precision_at_recall_75"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["best_of_question_right"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["any_of_question_right"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert scored(("a", True, 1.0), ("b", True, 2.0))["auc"] is None


def test_candidates_are_labelled_by_their_grades(parts: SimpleNamespace) -> None:
    references = [{"id": "a/1", "kind": "integer", "answer": "5"}]
    responses = list(parts.measured.responses([row("a/1", 3)], references))
    assert responses == [{"id": "3/a/1", "kind": "integer", "answer": "5", "response": "text 3"}]
    outcomes = ["pass", "wrong_answer", "no_answer", "grader_error"]
    graded = [{"id": f"{i}/a/1", "outcome": outcome} for i, outcome in enumerate(outcomes)]
    assert [(one["id"], one["candidate"], one["correct"]) for one in parts.measured.labels(graded)] == [
        ("a/1", 0, True), ("a/1", 1, False), ("a/1", 2, False),
    ]  # fmt: skip


def test_shares_of_first_and_kept_candidates(parts: SimpleNamespace) -> None:
    found = parts.measured.shares_right(CANDIDATES, RIGHT | {("a", 0): False})
    assert (found["first"]["right"], found["first"]["graded"]) == (0, 2)
    assert (found["kept"]["right"], found["kept"]["graded"], found["kept"]["rate"]) == (1, 2, 0.5)
    assert found["questions_with_a_right_candidate"] == 3


def test_invalid_votes_are_counted_by_cause(parts: SimpleNamespace) -> None:
    votes = [
        VoteRow("a", 0, "factuality", 0, "invalid", "no verdict"),
        VoteRow("a", 0, "factuality", 1, "yes", ""),
        VoteRow("a", 1, "factuality", 0, "invalid", "truncated"),
        VoteRow("a", 1, "simple", 0, "no", ""),
    ]
    assert parts.measured.invalid_by_cause(votes) == {
        "factuality": {"votes": 3, "invalid": {"no verdict": 1, "truncated": 1}},
        "simple": {"votes": 1, "invalid": {}},
    }


def test_a_step_that_is_done_is_not_run_again(parts: SimpleNamespace, tmp_path: Path) -> None:
    steps, count = parts.steps.Steps(tmp_path), tmp_path / "count"

    def program(status: int) -> list[str]:
        code = f"import sys; open({str(count)!r}, 'a').write('x'); print('said'); sys.exit({status})"
        return [sys.executable, "-c", code]

    for _ in range(2):
        steps.do("good", program(0), tmp_path / "said")
    assert (tmp_path / "said").read_text() == "said\n"
    for _ in range(2):
        with pytest.raises(parts.steps.StepFailed, match="bad ended with status 3; the same command goes on"):
            steps.do("bad", program(3))
    steps.do("good", [*program(0), "another command"])
    assert count.read_text() == "xxxx"
    assert {name: one["runs"] for name, one in parts.measured.steps(tmp_path).items()} == {
        "good": 2,
        "bad": 2,
    }


def test_a_study_that_has_not_begun_has_no_figures(parts: SimpleNamespace, tmp_path: Path) -> None:
    found = parts.measured.gathered(tmp_path, parts.real.ARMS)
    runs = {"runs": {"tiny math": {"model": "tiny", "domain": "math", **found}}}
    blocks: list[Callable[[Any], str]] = [
        getattr(parts.real_figures, name)
        for name in (
            "outcome",
            "right",
            "judges",
            "soft",
            "best",
            "invalid",
            "tokens",
            "votes",
            "ttc",
            "others",
            "cost",
        )
    ]
    assert {block(runs) for block in blocks} == {parts.real_figures.NOTHING}


def test_an_arm_is_shown_once_it_was_examined(parts: SimpleNamespace) -> None:
    gain = {"before": 20.0, "after": 24.0, "mean": 4.0, "low": -3.0, "high": 11.0}
    arms = {
        "cascade": {"examples": 9, "examples_right": 6, "gain": gain},
        "unfiltered": {"examples": 9, "examples_right": 3, "gain": None},
    }
    run = {"model": "tiny", "domain": "math", "arms": arms, "cascade_over": {"unfiltered": gain}}
    text = parts.real_figures.outcome({"runs": {"tiny math": run}})
    assert (
        "| tiny | math | the first that the cascade accepts | 9 | 6 | 20.0 | 24.0 | +4.0 [-3.0, 11.0] |"
        in text
    )
    assert "| candidate 0 |" not in text
    assert "over that of candidate 0: +4.0 [-3.0, 11.0] points" in text
