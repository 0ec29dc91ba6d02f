"""The quality of judges from labels: the labels file, the rules by hand, and whole runs on the scripted engine."""

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from veridistill import config, prompts
from veridistill.audit import judges, labelled, labels, votes
from veridistill.audit.labelled import Judged
from veridistill.audit.shares import Clustered
from veridistill.data import tables
from veridistill.data.rundir import RunDir, opened
from veridistill.domains.math import answer_of
from veridistill.engines.scripted import right_answer
from veridistill.errors import ConfigError
from veridistill.grading.graders import Graders
from veridistill.report.progress import Progress
from veridistill.runs import pipeline
from veridistill.runs.session import Session

QUESTIONS = [f"What is {i} plus {7 * i}?" for i in range(60)]
SETTINGS = (
    "engine.kind=scripted", "generate.candidates=4", "judge.votes=3", "prompts=compact", "generate.max_tokens=256",
    "judge.max_tokens=256", "build.speculation=off", "seeds.id=id",
)  # fmt: skip


# --- the labels file --------------------------------------------------------------------------------------------


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "labels.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8"
    )
    return path


def test_both_kinds_of_line_may_be_mixed(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"id": "a", "candidate": 0, "correct": True},
        "",
        {"id": "a", "candidate": 1, "correct": False, "note": "from a person"},
        {"id": "b", "kind": "integer", "answer": 42},
        {"id": "c\u2028", "kind": "choice", "reference": "B"},
    )
    found = labels.load(path)
    assert found.candidates == {("a", 0): True, ("a", 1): False}
    assert found.references["b"] == labels.Reference("integer", "42")
    assert found.questions == {"a", "b", "c\u2028"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is not JSON"),
        ("[1]", r"must be a JSON object; found \[1\]"),
        ({"candidate": 0, "correct": True}, "id must be the seed's id"),
        ({"id": 7, "candidate": 0, "correct": True}, "found 7"),
        ({"id": "a", "correct": True}, "candidate must be an index from 0 up; found None"),
        ({"id": "a", "candidate": -1, "correct": True}, "found -1"),
        ({"id": "a", "candidate": True, "correct": True}, "found True"),
        ({"id": "a", "candidate": 0, "correct": 1}, "correct must be true, false or null; found 1"),
        (
            {"id": "a", "candidate": 0, "correct": True, "round": 0},
            "round must be a number from 1 up; found 0",
        ),
        ({"id": "first", "candidate": 0, "correct": None}, "candidate 0 of first is labelled twice"),
        ({"id": "a", "candidate": 0}, r"needs correct \(with candidate\)"),
        ({"id": "a", "kind": "integer", "answer": "1", "reference": "1"}, "needs correct"),
        ({"id": "a", "answer": "1"}, "kind must be one of"),
        ({"id": "a", "kind": "code", "answer": "1"}, "found 'code'"),
        ({"id": "a", "kind": ["integer"], "answer": "1"}, "kind must be one of"),
        ({"id": "a", "kind": "integer", "answer": " "}, "answer must be text"),
        ({"id": "a", "kind": "integer", "answer": True}, "answer must be text"),
        ({"id": "a", "kind": "integer", "reference": "one"}, "is not a reference of kind integer"),
        ({"id": "first", "candidate": 0, "correct": True}, "candidate 0 of first is labelled twice"),
        ({"id": "first", "kind": "integer", "answer": "1"}, "first has two answers"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, line: Any, fault: str) -> None:
    fine = {"id": "first", "candidate": 0, "correct": True}, {"id": "first", "kind": "integer", "answer": "1"}
    path = written(tmp_path, *fine, line)
    with pytest.raises(ConfigError, match=f"labels.jsonl:3: .*{fault}"):
        labels.load(path)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        labels.load(written(tmp_path, *["{"] * 25))
    assert "labels.jsonl:20:" in str(error.value)
    assert str(error.value).endswith("... and 5 more")


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no labels"):
        labels.load(written(tmp_path, "", " "))
    with pytest.raises(ConfigError, match="cannot be read"):
        labels.load(tmp_path / "none.jsonl")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        labels.load(tmp_path / "bytes")


def test_unsure_labels_and_those_of_another_round_do_not_count(tmp_path: Path) -> None:
    first = {"id": "a", "candidate": 0, "correct": True, "round": 1}
    second = {"id": "a", "candidate": 0, "correct": False, "round": 2}
    unsure = {"id": "a", "candidate": 1, "correct": None, "round": 1}
    path = written(tmp_path, first, second, unsure, {"id": "b", "candidate": 0, "correct": False})
    assert labels.load(path, 1).candidates == {("a", 0): True, ("b", 0): False}
    assert labels.load(path, 2).candidates == {("a", 0): False, ("b", 0): False}
    with pytest.raises(ConfigError, match="says of no candidate of round 1 that it is right or wrong"):
        labels.load(written(tmp_path, second, unsure), 1)


# --- rules, by hand ---------------------------------------------------------------------------------------------


def judged(seed: str, index: int, right: bool, one: str, two: str = "YYY") -> Judged:
    votes = {"one": tuple(mark == "Y" for mark in one), "two": tuple(mark == "Y" for mark in two)}
    return Judged(seed, index, right, votes)


HAND = [
    judged("a", 0, False, "YYN"),
    judged("a", 1, True, "YYY"),
    judged("a", 2, True, "YYY", "NYY"),
    judged("b", 1, False, "YYY"),
    judged("b", 0, True, "NYY"),
    judged("c", 0, False, "NNN"),
]


@pytest.mark.parametrize(
    ("name", "votes", "rule", "accepted", "right", "kept", "first_right"),
    [
        ("one", 3, "unanimous", 3, 2, 2, 1),
        ("one", 2, "unanimous", 4, 2, 2, 0),
        ("one", 1, "unanimous", 4, 2, 2, 0),
        ("one", 3, "majority", 5, 3, 2, 1),
        ("two", 3, "unanimous", 5, 2, 3, 1),
        ("cascade", 3, "unanimous", 2, 1, 2, 1),
        ("cascade", 3, "majority", 5, 3, 2, 1),
        ("cascade", 1, "unanimous", 3, 1, 2, 0),
    ],
)
def test_a_judge_by_hand(
    name: str, votes: int, rule: Any, accepted: int, right: int, kept: int, first_right: int
) -> None:
    stages = ("one", "two") if name == "cascade" else (name,)
    found = judges.quality(HAND, name, stages, votes, rule)
    assert (found.accepted, found.accepted_right, found.questions_kept) == (accepted, right, kept)
    assert found.precision.rate == pytest.approx(right / accepted)
    assert found.recall.rate == pytest.approx(right / 3)
    assert found.false_accepts.rate == pytest.approx((accepted - right) / 3)
    assert found.first_valid.rate == pytest.approx(first_right / kept)
    assert found.recall.low is not None
    assert found.recall.low < right / 3


@pytest.mark.parametrize(
    ("votes", "unanimous", "majority"),
    [
        ("Y", True, True),
        ("N", False, False),
        ("YN", False, False),
        ("YYN", False, True),
        ("YNN", False, False),
    ],
)
def test_the_rules(votes: str, unanimous: bool, majority: bool) -> None:
    cast = [mark == "Y" for mark in votes]
    assert (judges.passes(cast, "unanimous"), judges.passes(cast, "majority")) == (unanimous, majority)


def test_what_accepts_nothing_has_no_precision() -> None:
    found = judges.quality([judged("a", 0, True, "NNN")], "one", ("one",), 3, "unanimous")
    assert found.precision.rate is found.precision.low is found.first_valid.rate is None
    assert (found.recall.rate, found.false_accepts.rate) == (0, None)


def test_candidates_of_one_question_do_not_count_as_many() -> None:
    """Ten questions of eight candidates that share their fate are known as ten, not as eighty."""
    alike = [judged(str(q), i, True, "YYY" if q % 2 else "NNN") for q in range(10) for i in range(8)]
    apart = [judged(str(q), 0, True, "YYY" if q % 2 else "NNN") for q in range(80)]
    wide = judges.quality(alike, "one", ("one",), 3, "unanimous").recall
    narrow = judges.quality(apart, "one", ("one",), 3, "unanimous").recall
    assert wide.rate == narrow.rate == 0.5
    assert wide.high is not None
    assert wide.low is not None
    assert narrow.high is not None
    assert narrow.low is not None
    assert wide.high - wide.low > 2.3 * (narrow.high - narrow.low)


def test_the_grid_has_each_judge_with_fewer_votes_and_both_rules() -> None:
    found = [(one.judge, one.rule, one.votes) for one in judges.grid(HAND, ("one", "two"), ("one", "two"), 3)]
    unanimous = [("unanimous", 3), ("unanimous", 2), ("unanimous", 1), ("majority", 3)]
    assert found == [(name, *one) for name in ("cascade", "one", "two") for one in unanimous]


# --- whole runs -------------------------------------------------------------------------------------------------


def build(folder: Path, name: str, *overrides: str) -> RunDir:
    seeds = folder / "seeds.jsonl"
    seeds.write_text(
        "\n".join(json.dumps({"id": f"q{i}", "question": q}) for i, q in enumerate(QUESTIONS)),
        encoding="utf-8",
    )
    chosen = config.load(None, [f"seeds.path={seeds}", *SETTINGS, *overrides])
    with opened(folder / name, chosen) as run:
        asyncio.run(pipeline.build_step(Session(run, Progress(None, "quiet"))))
        return run


def references(folder: Path, num: int = len(QUESTIONS)) -> Path:
    rows = (
        {"id": f"q{i}", "kind": "integer", "answer": right_answer(q)} for i, q in enumerate(QUESTIONS[:num])
    )
    return written(folder, *rows)


def audited(run: RunDir, path: Path) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with Graders(1) as graders:
            return await judges.audit(run, path, graders)

    return asyncio.run(work())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="module")
def whole(folder: Path) -> RunDir:
    return build(folder, "whole", "build.asks=exhaustive", "build.extra_stages=[simple]")


def test_a_vote_that_stayed_invalid_is_no_yes(folder: Path) -> None:
    (folder / "unsure.yaml").write_text("invalid: 0.6", encoding="utf-8")
    run = build(folder, "unsure", "build.asks=exhaustive", f"engine.script={folder / 'unsure.yaml'}")
    rows = list(tables.CANDIDATES.read(run.round(1).tables / "candidates.parquet"))
    accepted = sum(row.outcome == "accepted" for row in rows)
    assert sum(row.outcome == "unjudged" for row in rows) > 0 < accepted
    assert judge(audited(run, references(folder)), "cascade")["accepted"] == accepted


# --- agreement and votes ----------------------------------------------------------------------------------------


def test_agreement_accepts_the_commonest_answer(folder: Path, whole: RunDir) -> None:
    found = audited(whole, references(folder))
    rows = [
        row
        for row in tables.CANDIDATES.read(whole.round(1).tables / "candidates.parquet")
        if row.outcome != "malformed"
    ]
    by_question: dict[str, list[str | None]] = {}
    for row in rows:
        by_question.setdefault(row.seed_id, []).append(answer_of(row.answer))
    accepted = right = lone = 0
    for seed_id, answers in by_question.items():
        most = max(answers, key=answers.count)
        times = answers.count(most) if answers.count(most) > 1 else 0
        lone += not times
        accepted += times
        right += times * (most == str(right_answer(QUESTIONS[int(seed_id[1:])])))
    assert lone, "one answer alone is no agreement"
    agreement = found["agreement"]
    assert (agreement["accepted"], agreement["accepted_right"]) == (accepted, right)
    assert (agreement["judge"], agreement["rule"], agreement["votes"]) == ("agreement", "plurality", 4)
    assert "agreement          plurality   4" in judges.table(found)


def compact_and(texts: Path, name: str, text: str) -> Path:
    """The prompts `compact` with one more file."""
    shutil.copytree(Path(prompts.__file__).parent / "compact", texts)
    (texts / f"{name}.txt").write_text(text, encoding="utf-8")
    return texts


@pytest.fixture(scope="module")
def followed_up(folder: Path) -> RunDir:
    """Judges that often give no verdict, and are asked for it."""
    texts = compact_and(folder / "prompts", "verdict", "{ending} Reply with [[Y]] or [[N]] alone.")
    (folder / "mute.yaml").write_text("invalid: 0.5", encoding="utf-8")
    fields = [f"prompts={texts}", f"engine.script={folder / 'mute.yaml'}", "judge.max_reasks=1"]
    return build(folder, "mute", "build.asks=exhaustive", *fields)


def test_votes_are_counted_as_they_came_about(folder: Path, followed_up: RunDir) -> None:
    found = audited(followed_up, references(folder))
    cast = found["cast"]
    rows = list(tables.VOTES.read(followed_up.round(1).tables / "votes.parquet"))
    assert cast["votes"] == len(rows)
    assert sum(cast["invalid_in_the_end"].values()) == sum(row.ballot == "invalid" for row in rows) > 0
    # half of the replies without a verdict are truncated, and only the others are followed up
    assert set(cast["invalid_in_the_end"]) == {"truncated"}
    assert set(cast["invalid_at_first"]) == {"truncated", "no_verdict"}
    assert 0.4 < sum(cast["invalid_at_first"].values()) / cast["votes"] < 0.6
    with closing(sqlite3.connect(followed_up.journal)) as journal:
        calls = dict(journal.execute("SELECT role, COUNT(*) FROM replies GROUP BY role"))
        tokens = dict(journal.execute("SELECT role, SUM(completion_tokens) FROM replies GROUP BY role"))
    assert cast["followed_up"] == cast["decided_by_follow_up"] == calls["verdict"] > 0
    by_stage = Counter(row.stage for row in rows)
    for name, counted in (("calls", calls), ("completion", tokens)):
        for role in ("infer", "compare", "factuality", "correctness", "verdict"):
            summed = sum(
                roles[role][name] * by_stage[stage]
                for stage, roles in cast["per_vote"].items()
                if role in roles
            )
            assert summed == pytest.approx(counted[role], abs=1)
    valid = [row for row in rows if row.ballot != "invalid"]
    sizes = {how: sum(one["votes"] for one in found.values()) for how, found in cast["right"].items()}
    assert sizes == {"direct": len(valid) - calls["verdict"], "followed_up": calls["verdict"]}
    yes = cast["right"]["followed_up"]["yes"]
    assert yes["low"] < yes["rate"] < yes["high"]
    text = judges.table(found)
    assert f"followed up: {calls['verdict']:,}, of which {calls['verdict']:,} decided" in text


def test_reference_solutions_are_counted_and_so_are_those_that_fail(folder: Path) -> None:
    texts = compact_and(folder / "solving", "reference", "{question}\nSolve it.")
    (folder / "cut.yaml").write_text("well_formed: 0.6", encoding="utf-8")
    fields = [f"prompts={texts}", f"engine.script={folder / 'cut.yaml'}", "judge.max_reasks=0"]
    run = build(folder, "solving", "build.asks=exhaustive", *fields)
    cast = audited(run, references(folder))["cast"]
    rows = [
        row for row in tables.VOTES.read(run.round(1).tables / "votes.parquet") if row.ballot == "invalid"
    ]
    failed = sum(row.reason == "no reference solution" for row in rows)
    assert cast["invalid_in_the_end"]["no_reference_solution"] == failed > 0
    assert cast["invalid_at_first"]["no_reference_solution"] == failed
    with closing(sqlite3.connect(run.journal)) as journal:
        ((calls,),) = journal.execute("SELECT COUNT(*) FROM replies WHERE role = 'reference'")
    by_stage = Counter(row.stage for row in tables.VOTES.read(run.round(1).tables / "votes.parquet"))
    per_vote = cast["per_vote"]["correctness"]["reference"]["calls"]
    assert per_vote * by_stage["correctness"] == pytest.approx(calls, abs=1)


def test_without_follow_ups_there_are_none(folder: Path, whole: RunDir) -> None:
    cast = audited(whole, references(folder))["cast"]
    assert (cast["followed_up"], cast["right"]["followed_up"]["yes"]["votes"]) == (0, 0)
    assert cast["right"]["followed_up"]["yes"]["rate"] is None


def test_without_its_journal_the_tables_alone_are_read(folder: Path, whole: RunDir, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.path, copy, ignore=shutil.ignore_patterns("journal.sqlite*"))
    found = audited(RunDir(copy, whole.config), references(folder))
    assert found["cast"] is None
    assert found["judges"] == audited(whole, references(folder))["judges"]
    assert "the journal is not there" in judges.table(found)


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("finish reason length", "truncated"),
        ("finish reason abort", "other_finish"),
        ("last line is not a verdict", "no_verdict"),
        ("contradictory verdicts", "contradictory"),
        ("verdict in a code block", "code_block"),
        ("no question inferred", "no_question_inferred"),
        ("no reference solution", "no_reference_solution"),
        ("reasoning not closed", "reasoning"),
        ("no reasoning", "reasoning"),
        ("refused: too long", "refused"),
    ],
)
def test_causes_have_short_names(reason: str, name: str) -> None:
    assert votes.cause(reason) == name


def test_large_runs_are_graded_in_parts(folder: Path, whole: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = audited(whole, references(folder))
    monkeypatch.setattr(labelled, "_TOGETHER", 7)
    assert audited(whole, references(folder)) == at_once


def judge(found: dict[str, Any], name: str, votes: int = 3, rule: str = "unanimous") -> dict[str, Any]:
    return next(
        one for one in found["judges"] if (one["judge"], one["votes"], one["rule"]) == (name, votes, rule)
    )


def test_an_exhaustive_run_is_measured_whole(folder: Path, whole: RunDir) -> None:
    found = audited(whole, references(folder))
    rows = list(tables.CANDIDATES.read(whole.round(1).tables / "candidates.parquet"))
    counts = found["counts"]
    assert counts["candidates"] + counts["malformed"] == len(rows) == 4 * len(QUESTIONS)
    assert counts["malformed"] == sum(row.outcome == "malformed" for row in rows) > 0
    assert (counts["unknown_questions"], counts["lazy_questions"], counts["unlabelled"]) == (0, 0, 0)
    cascade = judge(found, "cascade")
    accepted = [row for row in rows if row.outcome == "accepted"]
    right = [row for row in accepted if f"{{{right_answer(QUESTIONS[int(row.seed_id[1:])])}}}" in row.text]
    assert (cascade["accepted"], cascade["accepted_right"]) == (len(accepted), len(right))
    assert cascade["questions_kept"] == sum(row.kept for row in rows)
    # the script's factuality lets 97 % of right and 30 % of wrong candidates pass at each vote
    factuality = judge(found, "factuality", votes=1)
    assert abs(factuality["recall"]["rate"] - 0.97) < 0.05
    assert factuality["false_accepts"]["low"] < 0.30 < factuality["false_accepts"]["high"]
    assert {one["judge"] for one in found["judges"]} == {
        "cascade", "cycle_consistency", "factuality", "correctness", "simple",
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_a_candidates_own_label_goes_before_its_questions_answer(folder: Path, whole: RunDir) -> None:
    rows = [
        {"id": "q0", "kind": "integer", "answer": right_answer(QUESTIONS[0])},
        *({"id": "q0", "candidate": i, "correct": False} for i in range(4)),
        {"id": "q0", "candidate": 9, "correct": True},
        {"id": "q1", "candidate": 0, "correct": True},
        {"id": "elsewhere", "candidate": 0, "correct": True},
    ]
    counts = audited(whole, written(folder, *rows))["counts"]
    assert counts["right"] <= 1
    assert (counts["unknown_candidates"], counts["unknown_questions"], counts["labelled_questions"]) == (
        1,
        1,
        3,
    )
    assert counts["unlabelled"] in (2, 3)  # of q1; a malformed one counts there


def test_of_a_lazy_run_only_the_audit_share_counts(folder: Path, whole: RunDir) -> None:
    run = build(folder, "lazy", "build.audit_share=0.4")
    found = audited(run, references(folder))
    counts = found["counts"]
    assert 5 <= counts["questions"] <= 45
    assert counts["questions"] + counts["lazy_questions"] == len(QUESTIONS)
    same = {f"q{i}" for i in range(len(QUESTIONS)) if labelled.asked_exhaustively(run, f"q{i}")}
    path = written(
        folder,
        *({"id": q, "kind": "integer", "answer": right_answer(QUESTIONS[int(q[1:])])} for q in sorted(same)),
    )
    exhaustive = audited(whole, path)
    assert [one for one in exhaustive["judges"] if one["judge"] != "simple"] == found["judges"]


def test_a_run_without_exhaustive_questions_is_refused_with_the_command(folder: Path) -> None:
    run = build(folder, "none", "build.audit_share=0")
    with pytest.raises(
        ConfigError, match=r"60 were not asked exhaustively.*veridistill build --out .*asks=exhaustive"
    ):
        audited(run, references(folder))


def test_labels_of_other_questions_or_candidates_are_told_apart(folder: Path, whole: RunDir) -> None:
    with pytest.raises(ConfigError, match=r"none of its 1 ids is a seed of .*seeds\.parquet"):
        audited(whole, written(folder, {"id": "elsewhere", "candidate": 0, "correct": True}))
    with pytest.raises(ConfigError, match="1 of no candidate"):
        audited(whole, written(folder, {"id": "q0", "candidate": 9, "correct": True}))


def test_a_run_that_only_says_it_is_exhaustive_is_refused(folder: Path) -> None:
    run = build(folder, "claims", "build.audit_share=0")
    claims = RunDir(run.path, config.load(run.path / "config.yaml", ["build.asks=exhaustive"]))
    with pytest.raises(ConfigError, match=r"lacks votes of .*build the round again"):
        audited(claims, references(folder))


def test_a_run_that_was_not_built_is_refused(folder: Path) -> None:
    with opened(folder / "unbuilt", config.load(None, ["build.asks=exhaustive"])) as run:
        pass
    with pytest.raises(ConfigError, match="has not been built"):
        audited(run, references(folder))


def test_the_table_says_what_was_left_out(folder: Path, whole: RunDir) -> None:
    text = judges.table(audited(whole, references(folder, 20)))
    assert " of 20 questions" in text
    assert "cascade            unanimous   3" in text
    assert "simple             majority    3" in text


def test_shares_are_clustered() -> None:
    """The same interval as the build's audit gives, from the same sums."""
    hits_and_sizes = {"a": (2, 3), "b": (1, 2), "c": (0, 1)}
    clustered, rows = Clustered(), []
    for name, (hits, size) in hits_and_sizes.items():
        clustered.add(hits, size)
        rows += [judged(name, i, True, "YYY" if i < hits else "NNN") for i in range(size)]
    assert judges.quality(rows, "one", ("one",), 3, "unanimous").recall == clustered.share
