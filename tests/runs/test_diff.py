"""Two runs compared: what differs is found and counted, and nothing that is in both counts as a difference."""

import json
import re
from pathlib import Path

import pytest

from tests.commands import kept, questions, results, script, settings, veridistill
from tests.report.test_page import Page
from veridistill.engines.scripted import right_answer
from veridistill.runs import diff as comparing
from veridistill.runs.diff import judges
from veridistill.runs.diff.page import clipped, page
from veridistill.runs.diff.text import printable, text

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e</style>"


def problems(folder: Path, num: int) -> Path:
    """Problems that the scripted model solves now and then."""
    path, asked = folder / "problems.jsonl", [f"What is {i} times 3?" for i in range(num)]
    lines = [
        {"id": str(i), "kind": "integer", "question": text, "answer": right_answer(text)}
        for i, text in enumerate(asked)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def build(run: Path, seeds: Path, exam: Path, *fields: str) -> Path:
    shared = [f"evaluation.problems={exam}", "evaluation.samples=2", "build.audit_share=0.5"]
    for command in ("build", "evaluate"):
        done = veridistill(command, "-d", run, *settings(seeds, *shared, *fields))
        assert done.code == 0, done.err
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a`; `votes`, with fewer votes; `seed`, with another run seed; `apart`, with other questions and problems."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "other").mkdir()
    seeds, exam = questions(folder, 20), problems(folder, 6)
    apart = folder / "other" / "questions.jsonl"
    apart.write_text(
        "".join(json.dumps({"question": f"How much is {i} times 3? {HOSTILE}"}) + "\n" for i in range(5)),
        encoding="utf-8",
    )
    others = folder / "other" / "problems.jsonl"
    others.write_text(exam.read_text(encoding="utf-8").replace("times 3", "times 4"), encoding="utf-8")
    # Judges that are often undecided: another number of votes keeps something else.
    undecided = [0.7, 0.7]
    noise = f"engine.script={script(folder, factuality=undecided, correctness=undecided)}"
    build(folder / "a", seeds, exam, noise)
    build(folder / "votes", seeds, exam, noise, "judge.votes=1", "gate.width=7")
    build(folder / "seed", seeds, exam, noise, "seed=1")
    build(folder / "apart", apart, others, noise)
    return folder


# --- what is found ------------------------------------------------------------------------------------------------


def test_a_run_is_equal_to_itself(runs: Path) -> None:
    found = comparing.compare(runs / "a", runs / "a")
    assert found.settings == ()
    assert found.questions is not None
    assert found.questions.common == found.questions.same + found.questions.neither == 20
    assert not any(found.questions.changes.values())
    assert found.verdicts is not None
    assert found.verdicts.accepted is not None
    assert found.verdicts.accepted.agreed["rate"] == 1.0
    (exam,) = found.exams
    assert (exam.common, exam.even, exam.won, exam.lost) == (6, 6, 0, 0)
    assert not found.shares_nothing


def test_fewer_votes_change_settings_what_is_kept_and_verdicts(runs: Path) -> None:
    found = comparing.compare(runs / "a", runs / "votes", shown=100)
    assert [(one.name, one.kind, one.a, one.b) for one in found.settings] == [
        ("judge.votes", "identity", 2, 1),
        ("gate.width", "runtime", None, 7),
    ]
    first, second = dict(kept(runs / "a")), dict(kept(runs / "votes"))
    asked = found.questions
    assert asked is not None
    assert (asked.asked_in_a_only, asked.asked_in_b_only, asked.common) == (0, 0, 20)
    assert {one.seed_id for one in asked.changes["a_only"]} == first.keys() - second.keys()
    assert {one.seed_id for one in asked.changes["b_only"]} == second.keys() - first.keys()
    other = {seed for seed in first.keys() & second.keys() if first[seed] != second[seed]}
    assert {one.seed_id for one in asked.changes["other"]} == other
    assert asked.other == len(other)
    assert asked.same == len(first.keys() & second.keys()) - len(other)
    assert asked.changes["b_only"] or asked.changes["other"], "fewer votes accept more"
    for one in asked.changes["other"]:
        assert (list(one.a), list(one.b)) == ([first[one.seed_id]], [second[one.seed_id]])
        assert one.question.startswith("What is ")
    verdicts = found.verdicts
    assert verdicts is not None
    assert verdicts.accepted is not None
    assert verdicts.accepted.a_only == 0, "whoever passes two votes passes the first of them"
    assert verdicts.accepted.b_only > 0


def test_another_seed_gives_other_candidates_which_are_not_the_same_ones(runs: Path) -> None:
    found = comparing.compare(runs / "a", runs / "seed")
    assert found.questions is not None
    assert (found.questions.common, found.questions.same) == (20, 0)
    assert found.verdicts is not None
    assert found.verdicts.common == 0
    assert "no candidate with the same text" in " ".join(text(found).split())


def test_the_exam_is_paired_over_its_problems(runs: Path) -> None:
    (exam,) = comparing.compare(runs / "a", runs / "seed").exams
    assert (exam.a, exam.b, exam.common) == ("base", "base", 6)
    assert exam.won + exam.lost + exam.even == 6
    assert exam.won
    (mirrored,) = comparing.compare(runs / "seed", runs / "a").exams
    assert (mirrored.won, mirrored.lost) == (exam.lost, exam.won)
    assert all(flip.b < flip.a for flip in mirrored.flips["lost"])
    assert exam.difference is not None
    before, after = (results(runs / name)["base"]["pass_at_1"] for name in ("a", "seed"))
    assert exam.difference["mean"] == pytest.approx(after - before)
    assert exam.difference["low"] <= exam.difference["mean"] <= exam.difference["high"]
    assert all(flip.b > flip.a for flip in exam.flips["won"])
    assert all(flip.b < flip.a for flip in exam.flips["lost"])
    assert (len(exam.flips["won"]), len(exam.flips["lost"])) == (exam.won, exam.lost)


def test_a_problem_with_the_same_id_and_another_text_is_another_one(runs: Path) -> None:
    (exam,) = comparing.compare(runs / "a", runs / "apart").exams
    assert (exam.common, exam.changed, exam.difference) == (0, 6, None)


def test_runs_that_share_nothing_say_so(runs: Path) -> None:
    done = veridistill("diff", runs / "a", runs / "apart")
    assert done.code == 0
    assert done.out.startswith("These runs share no question and no problem")
    assert json.loads(veridistill("diff", runs / "a", runs / "apart", "--json").out)["shares_nothing"]


def test_no_more_than_asked_for_are_listed_and_all_are_counted(runs: Path) -> None:
    found = comparing.compare(runs / "a", runs / "seed", shown=1)
    assert found.questions is not None
    assert all(len(changes) <= 1 for changes in found.questions.changes.values())
    assert found.questions.other > 1
    assert f"Another candidate kept: {found.questions.other}, of which 1 are listed" in text(found)


# --- parts of runs ------------------------------------------------------------------------------------------------


def test_a_shard_is_compared_on_its_part(runs: Path, tmp_path: Path) -> None:
    noise = f"engine.script={next(runs.glob('script*'))}"
    fields = settings(runs / "questions.jsonl", noise, "seeds.shard=1/2", "build.audit_share=0.5")
    assert veridistill("build", "-d", tmp_path / "part", *fields).code == 0
    found = comparing.compare(runs / "a", tmp_path / "part")
    assert found.questions is not None
    assert 0 < found.questions.common < 20
    assert found.questions.common + found.questions.asked_in_a_only == 20
    assert found.questions.same + found.questions.neither == found.questions.common
    assert found.b.shard == "1/2"
    assert "do not both have one" in text(found)


def test_a_run_that_built_nothing_says_so(runs: Path, tmp_path: Path) -> None:
    assert veridistill("merge", runs / "a", "-d", tmp_path / "merged").code == 0
    found = comparing.compare(runs / "a", tmp_path / "merged")
    assert (found.questions, found.verdicts, found.b.round) == (None, None, None)
    assert "Nothing is built in B" in text(found)
    assert page(found)


def test_a_fork_says_that_its_cost_is_not_whole(runs: Path, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    done = veridistill("build", "-d", runs / "a", "--fork", fork, "-o", "judge.votes=1")
    assert done.code == 0, done.err
    found = comparing.compare(runs / "a", fork)
    assert found.b.forked == 1
    assert "B takes replies from 1 other run" in text(found)
    assert found.verdicts is not None
    assert found.verdicts.common > 0


def test_a_directory_that_is_no_run_is_refused(runs: Path, tmp_path: Path) -> None:
    done = veridistill("diff", runs / "a", tmp_path)
    assert (done.code, "not a run directory" in done.err) == (2, True)


# --- judges -------------------------------------------------------------------------------------------------------


def verdicts(pattern: str) -> dict[tuple[str, int], bool]:
    return {("q", index): letter == "y" for index, letter in enumerate(pattern) if letter != "-"}


@pytest.mark.parametrize(
    ("a", "b", "counts", "kappa"),
    [
        ("yynn", "yynn", (2, 0, 0, 2), 1.0),
        ("yynn", "ynyn", (1, 1, 1, 1), 0.0),
        ("yy", "yy", (2, 0, 0, 0), None),
        ("y-n", "yn-", (1, 0, 0, 0), None),
        ("yn", "ny", (0, 1, 1, 0), -1.0),
    ],
)
def test_agreement(a: str, b: str, counts: tuple[int, ...], kappa: float | None) -> None:
    found = judges.agreement(verdicts(a), verdicts(b))
    assert found is not None
    assert (found.both, found.a_only, found.b_only, found.neither) == counts
    assert found.kappa == kappa


def test_without_a_common_candidate_there_is_no_agreement() -> None:
    assert judges.agreement(verdicts("y-"), verdicts("-y")) is None


# --- on a terminal and as a page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(runs: Path, width: int) -> None:
    found = comparing.compare(runs / "a", runs / "seed")
    assert max(map(len, text(found, width).splitlines())) <= width
    assert "pass@1" in text(found, width)


def test_a_model_cannot_write_control_codes_to_the_terminal(runs: Path) -> None:
    shown = text(comparing.compare(runs / "apart", runs / "apart"))
    assert "\x1b" not in shown
    assert printable("a\x1b[31m\u202eb\nc") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b c"


def test_the_page_stands_alone_and_shows_texts_as_texts(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "diff.html"
    done = veridistill("diff", runs / "seed", runs / "a", "--html", out)
    assert done.code == 0, done.err
    shown = Page(out.read_text(encoding="utf-8"))
    assert "script" not in shown.tags
    assert not {"src", "onload", "style"} & {name for name, _ in shown.attributes}
    policy = next(str(value) for value in shown.of("content") if value and "default-src" in value)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; base-uri 'none'; form-action 'none'", policy
    )
    for heading in ("Runs", "Settings", "Cost", "Questions", "Judges"):
        assert heading in shown.text


def test_hostile_texts_are_inert_on_the_page(runs: Path) -> None:
    found = comparing.compare(runs / "apart", runs / "apart")
    assert found.questions is not None
    change = comparing.kept.Change("q", HOSTILE, {0: HOSTILE}, {})
    asked = comparing.kept.Questions(0, 0, 1, 0, 0, 0, 1, 0, {"a_only": (change,), "b_only": (), "other": ()})
    object.__setattr__(found, "questions", asked)
    shown = Page(page(found))
    assert "script" not in shown.tags
    assert "<script>alert(1)</script>" in shown.text
    assert "\x1b" not in page(found)
    assert "\u202e" not in page(found)


def test_a_long_text_says_how_much_is_left_out() -> None:
    assert clipped("x" * 4_100).endswith("… 100 characters more")
    assert clipped("x" * 4_000) == "x" * 4_000
