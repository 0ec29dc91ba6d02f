"""The lab's world: deterministic, split by equation, and unlabeled where it must be."""

import json
import random
from pathlib import Path

import pytest
from veridistill.lab.world import HARD, SOLVER, Question, Split

from veridistill.lab import world

SPLITS: tuple[Split, ...] = ("post_train", "seeds", "exam")


def test_streams_are_deterministic_and_distinct() -> None:
    first, again = (world.take(300, 7, HARD, "seeds") for _ in range(2))
    assert first == again
    assert world.take(300, 8, HARD, "seeds") != first
    assert len({(q.a, q.b, q.x) for q in first}) == 300


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_only_its_own_equations(split: Split) -> None:
    questions = world.take(300, 1, HARD, split)
    assert {q.split for q in questions} == {split}
    others = [Question(q.a, q.b, q.x, wording) for q in questions for wording in range(len(world.WORDINGS))]
    assert {q.split for q in others} == {split}, "another wording must not change the split"


def test_every_split_gets_its_share() -> None:
    rng = random.Random(0)
    drawn = [
        Question(rng.randrange(2, 10), rng.randrange(1, 999), rng.randrange(1, 999)) for _ in range(6000)
    ]
    shares = {split: sum(q.split == split for q in drawn) / len(drawn) for split in SPLITS}
    assert shares == pytest.approx({"post_train": 0.80, "seeds": 0.15, "exam": 0.05}, abs=0.02)


def test_seeds_and_exam_are_harder_than_what_was_taught() -> None:
    def long_answers(mix: world.Mix, split: Split) -> float:
        return sum(q.x >= 1000 for q in world.take(500, 3, mix, split)) / 500

    assert long_answers(SOLVER, "post_train") < 0.1
    assert long_answers(HARD, "exam") == 1


def test_parse_inverts_every_wording() -> None:
    for question in world.take(200, 5, HARD, "exam"):
        assert world.parse(question.text) == question
    assert {q.wording for q in world.take(200, 5, HARD, "exam")} == set(range(len(world.WORDINGS)))


@pytest.mark.parametrize(
    "text", ["", "Solve 3x+1=3 for x.", "Solve 3x+9=3 for x.", "Solve 3x+1=4 for x. Now."]
)
def test_parse_refuses_what_the_world_never_made(text: str) -> None:
    assert world.parse(text) is None


def test_files(tmp_path: Path) -> None:
    questions = world.take(5, 0, HARD, "exam")
    world.write_seeds(tmp_path / "a" / "seeds.jsonl", questions)
    world.write_exam(tmp_path / "exam.jsonl", questions)
    seeds = [json.loads(line) for line in (tmp_path / "a" / "seeds.jsonl").read_text().splitlines()]
    exam = [json.loads(line) for line in (tmp_path / "exam.jsonl").read_text().splitlines()]
    assert {frozenset(row) for row in seeds} == {frozenset({"id", "question"})}
    for row, question in zip(exam, questions, strict=True):
        assert row["kind"] == "integer"
        solved = world.parse(row["question"])
        assert solved is not None
        assert solved.a * int(row["answer"]) + solved.b == solved.c
        assert row["question"] == question.text


def test_oracle_hands_over_ids_alone() -> None:
    answers = {0: "12", 1: "13", 2: " 12 ", 3: "", 4: "012", 5: "-12", 6: "1e1", 7: "9" * 50}
    assert world.oracle("Solve 3x+4=40 for x.", answers) == {0, 2, 4}
    with pytest.raises(ValueError, match="not a question of the lab"):
        world.oracle("What is the capital of France?", answers)


def test_files_of_a_run_are_the_same_on_resume_and_share_no_equation(tmp_path: Path) -> None:
    seeds, exam = world.seeds_file(tmp_path, 40), world.exam_file(tmp_path, 20)
    assert (seeds, exam) == (tmp_path / "lab" / "seeds.jsonl", tmp_path / "lab" / "exam.jsonl")
    texts = [path.read_text() for path in (seeds, exam)]
    assert [world.seeds_file(tmp_path, 40).read_text(), world.exam_file(tmp_path, 20).read_text()] == texts
    rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
    assert [len(part) for part in rows] == [40, 20]
    assert rows[0][0]["id"] == "lab-0"
    equations = [{(q.a, q.b, q.c) for row in part if (q := world.parse(row["question"]))} for part in rows]
    assert not equations[0] & equations[1]
    fewer = world.seeds_file(tmp_path / "other", 10).read_text()
    assert texts[0].startswith(fewer), "a limit takes the first ones"
    assert not list(tmp_path.rglob("*.tmp"))


def test_files_of_a_run_have_a_default_size(tmp_path: Path) -> None:
    assert len(world.seeds_file(tmp_path).read_text().splitlines()) == world.NUM_SEEDS
    assert len(world.exam_file(tmp_path).read_text().splitlines()) == world.NUM_PROBLEMS
