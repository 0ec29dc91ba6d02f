"""`build.target`: the first N in the seeds' order are kept, whatever ends first, and little is asked beyond them."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import Done, calls, kept, questions, results, script, settings, veridistill
from tests.runs.test_pipeline import trainer  # noqa: F401
from veridistill.data.tables import EXAMPLES, SEEDS
from veridistill.runs.found import Found
from veridistill.runs.target import Target
from veridistill.training.job import Job


def in_order(run: Path) -> list[tuple[str, int]]:
    """What was kept, in the order of the dataset, which is the seeds'."""
    rows = EXAMPLES.read(run / "rounds" / "1" / "dataset" / "examples.parquet")
    return [(row.seed_id, row.candidate) for row in rows]


def asked_questions(run: Path) -> int:
    return sum(1 for _ in SEEDS.read(run / "rounds" / "1" / "tables" / "seeds.parquet"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 questions, of which a script of low rates keeps some: built `whole`; read-only."""
    folder = tmp_path_factory.mktemp("target")
    questions(folder, 60)
    script(folder, right=0.3).rename(folder / "rates.yaml")
    assert build(folder, folder / "whole").code == 0
    return folder


def build(folder: Path, run: Path, *fields: str, fork: Path | None = None) -> Done:
    rates = (f"engine.script={folder / 'rates.yaml'}", "build.order=paper")
    options = ["--fork", fork] if fork else []
    return veridistill(
        "build", "-d", run, "-q", *settings(folder / "questions.jsonl", *rates, *fields), *options
    )


def upto(built: Path, num: int) -> int:
    """Questions, in the seeds' order, up to the N-th that is kept."""
    order = [
        seed.seed_id for seed in SEEDS.read(built / "whole" / "rounds" / "1" / "tables" / "seeds.parquet")
    ]
    return order.index(in_order(built / "whole")[num - 1][0]) + 1


@pytest.mark.parametrize("num", [1, 5, 12])
def test_the_first_n_are_kept_and_only_what_they_need_is_asked(built: Path, tmp_path: Path, num: int) -> None:
    run, needed = tmp_path / "run", tmp_path / "needed"
    assert 12 < len(in_order(built / "whole")) < 50
    done = build(built, run, f"build.target={num}")
    assert (done.code, f"stopped at its target of {num}\n" in done.err) == (0, True)
    assert in_order(run) == in_order(built / "whole")[:num]
    assert asked_questions(run) == upto(built, num)
    assert build(built, needed, f"seeds.limit={upto(built, num)}").code == 0
    assert calls(run) == calls(needed), "without speculation not one call more"
    found, other = results(run), results(needed)
    assert found["rounds"][0].pop("stopped_at_target") == num
    assert other["rounds"][0].pop("stopped_at_target") is None
    assert found["rounds"] == other["rounds"], "what is counted is what was needed"


POLICIES = {
    "one question at a time": ["build.window=1"],
    "narrow": ["gate.width=2"],
    "wide": ["gate.width=200"],
    "early calls and questions": ["build.speculation=idle", "gate.width=200"],
    "early, narrow": ["build.speculation=idle", "gate.width=8", "build.window=64"],
    "any order": ["build.order=cheapest"],
    "exhaustive": ["build.asks=exhaustive"],
    "audited, with canaries": ["build.audit_share=0.3", "build.canary_share=0.5"],
}


@pytest.mark.parametrize("fields", POLICIES.values(), ids=POLICIES)
def test_what_is_kept_depends_on_no_policy(built: Path, tmp_path: Path, fields: list[str]) -> None:
    run = tmp_path / "run"
    assert build(built, run, "build.target=7", *fields).code == 0
    assert in_order(run) == in_order(built / "whole")[:7]
    assert asked_questions(run) == upto(built, 7)


def units(run: Path) -> int:
    """Questions of which anything was asked."""
    with closing(sqlite3.connect(run / "journal.sqlite")) as journal:
        return int(journal.execute("SELECT COUNT(DISTINCT unit) FROM replies").fetchone()[0])


def test_with_speculation_few_questions_are_opened_beyond_the_last_one(built: Path, tmp_path: Path) -> None:
    fields = ["build.speculation=idle", "gate.width=16", "build.window=64"]
    assert build(built, tmp_path / "some", "build.target=7", *fields).code == 0
    opened = units(tmp_path / "some")
    assert upto(built, 7) <= opened <= 2 * upto(built, 7) < 60


def test_a_higher_target_asks_for_the_rest_alone_and_a_lower_one_keeps_fewer(
    built: Path, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", in_order(built / "whole")
    assert build(built, run, "build.target=4").code == 0
    first = calls(run)
    assert build(built, run, "build.target=9").code == 0
    assert in_order(run) == whole[:9]
    second = calls(run)
    assert first.items() <= second.items()
    assert build(built, tmp_path / "once", "build.target=9").code == 0
    assert second == calls(tmp_path / "once")
    assert build(built, run, "build.target=2").code == 0
    assert (in_order(run), calls(run)) == (whole[:2], second)
    assert results(run)["rounds"][0]["stopped_at_target"] == 2
    assert build(built, run, "build.target=null").code == 0
    assert (in_order(run), calls(run)) == (whole, calls(built / "whole"))


def test_a_stopped_build_goes_on_to_the_same_place(built: Path, tmp_path: Path) -> None:
    run, codes = tmp_path / "run", []
    while not codes or (codes[-1] == 3 and len(codes) < 30):
        codes.append(build(built, run, "build.target=9", "limits.tokens=2000", "gate.width=2").code)
    assert (codes[0], codes[-1]) == (3, 0)
    assert in_order(run) == in_order(built / "whole")[:9]


def test_a_fork_takes_what_is_known(built: Path, tmp_path: Path) -> None:
    run, fork = tmp_path / "run", tmp_path / "fork"
    assert build(built, run, "build.target=4").code == 0
    assert build(built, run, "build.target=8", fork=fork).code == 0
    assert in_order(fork) == in_order(built / "whole")[:8]
    assert not calls(fork).keys() & calls(run).keys()


def test_shards_have_a_target_each_and_their_merged_run_asks_nothing(built: Path, tmp_path: Path) -> None:
    """The first N of all hold at most N of each shard, which has asked up to its own N-th."""
    parts = [tmp_path / str(part) for part in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        assert build(built, part, "build.target=6", f"seeds.shard={number}/3").code == 0
        assert len(in_order(part)) == 6
    assert veridistill("merge", *parts, "--out", tmp_path / "all").code == 0
    asked = calls(tmp_path / "all")
    assert veridistill("build", "-q", "-d", tmp_path / "all").code == 0
    assert calls(tmp_path / "all") == asked
    assert in_order(tmp_path / "all") == in_order(built / "whole")[:6]


@pytest.mark.parametrize("selection", ["all", "unfiltered", "shortest"])
def test_n_counts_questions_whatever_is_selected(built: Path, tmp_path: Path, selection: str) -> None:
    run = tmp_path / "run"
    assert build(built, run, "build.target=5", f"build.selection={selection}").code == 0
    assert len(dict(in_order(run))) == 5
    assert results(run)["rounds"][0]["questions_kept"] == 5


def test_n_counts_over_all_domains(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    domains = ("math", "science")
    lines = [{"question": f"What is {i} plus {7 * i}?", "about": domains[i % 2]} for i in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (tmp_path / "rates.yaml").write_text("right: 0.5", encoding="utf-8")
    for name, more in (("whole", ()), ("some", ("build.target=6",))):
        assert build(tmp_path, tmp_path / name, "seeds.domain=about", *more).code == 0
    assert in_order(tmp_path / "some") == in_order(tmp_path / "whole")[:6]
    by_domain = results(tmp_path / "some")["domains"]
    assert sum(one["questions_kept"] for one in by_domain.values()) == 6
    assert all(one["questions_kept"] for one in by_domain.values())


def test_too_few_questions_are_told(built: Path, tmp_path: Path) -> None:
    done = build(built, tmp_path / "run", "build.target=1000")
    assert done.code == 0
    num = len(in_order(built / "whole"))
    assert f"kept {num}, short of its target of 1,000: there are no more questions" in done.err
    assert results(tmp_path / "run")["rounds"][0]["stopped_at_target"] is None
    assert kept(tmp_path / "run") == kept(built / "whole")


def test_it_holds_in_each_round_and_is_fixed_once_a_model_is_trained(
    built: Path,
    tmp_path: Path,
    trainer: list[Job],  # noqa: F811
) -> None:
    rates = f"engine.script={built / 'rates.yaml'}"
    fields = settings(built / "questions.jsonl", rates, "build.target=3", "rounds=2")
    assert veridistill("run", "-q", "-d", tmp_path / "run", *fields).code == 0
    assert [one["questions_kept"] for one in results(tmp_path / "run")["rounds"]] == [3, 3]
    assert len(trainer) == 2
    done = veridistill("run", "-q", "-d", tmp_path / "run", "-o", "build.target=4")
    assert (done.code, "build.target: 3 -> 4" in done.err, "--fork NEW" in done.err) == (2, True, True)
    fork = veridistill(
        "build", "-q", "-d", tmp_path / "run", "-o", "build.target=4", "--fork", tmp_path / "4"
    )
    assert fork.code == 0
    assert len(in_order(tmp_path / "4")) == 4


# --- how many questions may be open -------------------------------------------------------------------------


def ended(pattern: str) -> Iterator[Found]:
    """Questions that were kept (`k`) or not (`.`)."""
    for letter in pattern:
        yield Found(None, (), frozenset({0} if letter == "k" else ()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("speculation", "pattern", "most"),
    [
        ("off", "", 10),
        ("off", "......", 10),
        ("off", "k..k", 8),
        ("off", "kkkkkkkkkk", 0),
        ("idle", "", 10),
        ("idle", "...", 13),
        ("idle", "k..k...", 12),
        ("idle", "kkkkkkkkkkk", 0),
    ],
)
def test_as_many_are_open_as_may_be_needed(speculation: str, pattern: str, most: int) -> None:
    target = Target(10, speculation)  # type: ignore[arg-type]
    for found in ended(pattern):
        target.ended(found)
    assert target.most_open() == most
    assert not target.reached


def test_without_a_target_nothing_is_bounded() -> None:
    target, take = Target(None, "off"), ended("kkk")
    for found in take:
        target.ended(found)
        target.take(found)
    assert target.most_open() > 10**6
    assert not target.reached
