"""Laws of every world: questions that parse back, splits by meaning, and flaws that are what they say they are."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from veridistill.decide import read_verdict, split
from veridistill.evaluation.benchmarks import own
from veridistill.grading.graders import Graders
from veridistill.lab.worlds import WORLDS, files, named, task_of
from veridistill.lab.worlds.replies import passes
from veridistill.lab.worlds.world import SKILLS, STAGES, AnyWorld, Mix, Split, split_of
from veridistill.records import Completion

MIXES: tuple[Mix, ...] = ("solver", "judge", "hard")
SPLITS: tuple[Split, ...] = ("post_train", "seeds", "exam")
EACH = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


@EACH
def test_every_drawn_question_parses_back_to_its_task(world: AnyWorld) -> None:
    rng = random.Random(1)
    for mix in MIXES:
        for _ in range(300):
            task = world.draw(rng, mix)
            assert world.parse(task.question) == task
            assert task_of(task.question) == task
            assert task.problem.question == task.question
            assert task.problem.domain == world.domain
    assert world.parse("What is the capital of France?") is None


@EACH
def test_splits_share_no_meaning_in_10000_draws(world: AnyWorld) -> None:
    rng, found = random.Random(2), dict[str, set[Split]]()
    shares = Counter[Split]()
    for number in range(10_000):
        task = world.draw(rng, MIXES[number % 3])
        found.setdefault(task.key, set()).add(split_of(task.key))
        shares[split_of(task.key)] += 1
    assert all(len(splits) == 1 for splits in found.values())
    assert len(found) > 5_000, "few meanings: the splits would be small"
    expected = {"post_train": 0.80, "seeds": 0.15, "exam": 0.05}
    assert {name: share / 10_000 for name, share in shares.items()} == pytest.approx(expected, abs=0.03)


@EACH
def test_streams_are_reproducible_distinct_and_of_one_split(world: AnyWorld) -> None:
    for name in SPLITS:
        first, again = (world.take(60, 7, "hard", name) for _ in range(2))
        assert first == again
        assert world.take(60, 8, "hard", name) != first
        assert len({task.key for task in first}) == 60
        assert {split_of(task.key) for task in first} == {name}
    assert world.drawn(random.Random(3), "hard", "seeds") == world.drawn(random.Random(3), "hard", "seeds")


def _num(world: AnyWorld) -> int:
    """Tasks to grade: programs run in a sandbox, six tests each."""
    return 12 if world.domain == "code" else 150


@EACH
def test_solutions_are_graded_right_and_pass_every_stage(world: AnyWorld) -> None:
    tasks = [task for mix in MIXES for task in world.take(_num(world) // 3, 4, mix, "exam")]
    outcomes = asyncio.run(_graded(tasks, [world.solution(task) for task in tasks]))
    assert set(outcomes) == {"pass"}
    for task in tasks:
        assert split(world.solution(task)).answer == world.answer(task)
        assert all(passes(world, stage, task, world.answer(task)) for stage in STAGES)


async def _graded(tasks: list[object], replies: list[str]) -> list[str]:
    async with Graders(workers=2, allow_code=True) as graders:
        grades = (graders.grade(task.problem, reply) for task, reply in zip(tasks, replies, strict=True))  # type: ignore[attr-defined]
        return [grade.outcome for grade in await asyncio.gather(*grades)]


@EACH
def test_every_flaw_is_graded_as_it_says_and_seen_by_its_stages_alone(world: AnyWorld) -> None:
    assert sum(flaw.share for flaw in world.flaws.values()) == pytest.approx(1)
    rng = random.Random(5)
    tasks = world.take(_num(world) if world.domain == "code" else 60, 6, "judge", "seeds")
    for name, flaw in world.flaws.items():
        made = [(task, text) for task in tasks if (text := flaw.make(rng, task)) is not None]
        assert made, name
        outcomes = asyncio.run(_graded([task for task, _ in made], [text for _, text in made]))
        assert {outcome == "pass" for outcome in outcomes} == {flaw.graded == "right"}, name
        for task, text in made:
            seen = {stage for stage in STAGES if not passes(world, stage, task, text)}
            assert seen == flaw.seen_by, (name, task.question, text)


def test_each_stage_alone_sees_a_flaw_that_is_wrong() -> None:
    for name in ("science", "programs"):
        flaws = [flaw for flaw in WORLDS[name].flaws.values() if flaw.graded == "wrong"]
        alone = {stage for flaw in flaws if len(flaw.seen_by) == 1 for stage in flaw.seen_by}
        assert alone == set(STAGES), name


@EACH
def test_flaws_are_planted_in_their_proportions(world: AnyWorld) -> None:
    rng = random.Random(7)
    tasks = world.take(100, 8, "hard", "seeds")
    counts = Counter(world.flawed(rng, tasks[i % 100])[0] for i in range(600))
    assert set(counts) == set(world.flaws)
    slips = world.flaws["slip"].share
    assert counts["slip"] / 600 == pytest.approx(slips, abs=0.15), (
        "a flaw that does not fit leaves more to the others"
    )


@EACH
def test_samples_are_reproducible_short_and_balanced(world: AnyWorld) -> None:
    assert set(world.skills) == set(world.shares) == set(SKILLS)
    assert sum(world.shares.values()) == pytest.approx(1)
    for skill in SKILLS:
        first, again = (
            [world.sample(rng, skill) for _ in range(200)] for rng in (random.Random(9), random.Random(9))
        )
        assert first == again
        if skill not in ("solve", "infer"):
            replies = [Completion(one.reply, "stop", 0, 0) for one in first]
            ballots = Counter(read_verdict(reply, reasoning=True).ballot for reply in replies)
            assert set(ballots) == {"yes", "no"}
            assert 0.38 < ballots["yes"] / 200 < 0.65, (skill, ballots)


def test_the_floor_is_what_guessing_gets_of_the_exam() -> None:
    for world in WORLDS.values():
        problems = [task.problem for task in world.take(600, 0, "hard", "exam")] if world.floor else []
        guessed = [1 / len(problem.options) if problem.options else 0.0 for problem in problems]
        assert sum(guessed) / max(1, len(guessed)) == pytest.approx(world.floor, abs=0.02)


@EACH
def test_files_of_a_run(world: AnyWorld, tmp_path: Path) -> None:
    seeds, exam = files.seeds_file(world, tmp_path, 20), files.exam_file(world, tmp_path, 12)
    rows = [json.loads(line) for line in seeds.read_text().splitlines()]
    assert {frozenset(row) for row in rows} == {frozenset({"id", "question"})}
    problems = own.load(exam)
    tasks = world.take(12, 0, "hard", "exam")
    for problem, task in zip(problems, tasks, strict=True):
        expected = task.problem
        assert (problem.kind, problem.question, problem.options) == (
            expected.kind,
            expected.question,
            expected.options,
        )
        assert (problem.reference, problem.domain) == (expected.reference, expected.domain)
        assert problem.tests == expected.tests
    assert {task.key for task in tasks}.isdisjoint(world.parse(row["question"]).key for row in rows)
    before = seeds.read_text()
    assert files.seeds_file(world, tmp_path / "again", 5).read_text().splitlines() == before.splitlines()[:5]


def test_worlds_by_name() -> None:
    assert named("all") == tuple(WORLDS.values())
    assert [world.name for world in named("science")] == ["science"]
    with pytest.raises(
        Exception, match="world must be one of equations, science, programs, all; found 'chess'"
    ):
        named("chess")
