"""`--dry-run`: the calls that it estimates are about those that the build makes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import calls, questions, results, settings, veridistill
from tests.harness import make_seeds
from veridistill.calls.unit import UnitAsk
from veridistill.records import Seed
from veridistill.runs.estimate import FIRST, SAMPLE, _kind

FACTOR = 1.2
"""How far an estimate from 20 of 300 questions may be off. A build of 300 also learns the order of its votes, as the
sample's first questions do; of thousands of questions, that is a smaller part."""


@pytest.mark.parametrize(
    "fields",
    [
        ["build.audit_share=0.05", "build.canary_share=0.1"],
        ["build.audit_share=0.3", "build.canary_share=0.4", "judge.infer_per_vote=false"],
        ["build.asks=exhaustive"],
        ["build.selection=all"],
        ["build.selection=unfiltered", "build.canary_share=0.5"],
    ],
    ids=lambda fields: fields[0],
)
def test_an_estimate_is_close_to_what_the_build_asks(tmp_path: Path, fields: Sequence[str]) -> None:
    options = settings(questions(tmp_path, 300), *fields, "build.speculation=idle")
    dry = veridistill("build", "-d", tmp_path / "dry", "--dry-run", "--json", *options).json
    built = veridistill("build", "-d", tmp_path / "run", *options, "-o", "build.speculation=off")
    assert built.code == 0, built.err
    real = results(tmp_path / "run")["calls"]
    assert real["total"] / FACTOR < dry["calls"] < real["total"] * FACTOR
    assert dry["calls_by_role"]["solve"] == pytest.approx(real["solve"], rel=FACTOR - 1)
    canaries = results(tmp_path / "run")["canaries"]["judged"]
    assert canaries <= dry["canaries"] <= 1.2 * canaries + 1


def test_the_sample_is_asked_without_speculation_and_not_again(tmp_path: Path) -> None:
    fields = ["build.audit_share=0.1", "build.canary_share=0.1", "build.speculation=idle"]
    options = settings(questions(tmp_path, 60), *fields)
    dry = veridistill("build", "-d", tmp_path / "run", "--dry-run", "--json", *options).json
    asked = calls(tmp_path / "run")
    assert not [key for key, (status, _) in asked.items() if status == "cancelled"]
    assert dry["from_journal"] == 0, "an inference that votes share was not in the journal"
    assert dry["seconds_at_most"] is not None
    assert veridistill("build", "-d", tmp_path / "run").code == 0
    after = calls(tmp_path / "run")
    assert asked.items() <= after.items()
    again = veridistill("build", "-d", tmp_path / "run", "--dry-run", "--json").json
    assert calls(tmp_path / "run").keys() - after.keys() == set()
    assert again["from_journal"] > 0


def test_a_sample_is_drawn_by_hash_from_all_of_the_file() -> None:
    async def work(seed: Seed, ask: UnitAsk) -> None: ...

    seeds = make_seeds(1000)
    kind, again = (_kind(some, FIRST, SAMPLE, work) for some in (seeds, list(reversed(seeds))))
    assert (kind.drawn, kind.first, kind.total) == (again.drawn, again.first, 1000)
    assert (len(kind.drawn), len(kind.first)) == (SAMPLE, FIRST)
    assert not set(kind.drawn) & set(kind.first)
    places = [seeds.index(seed) for seed in kind.drawn]
    assert min(places) < 250
    assert max(places) > 750
    few = _kind(seeds[:5], FIRST, SAMPLE, work)
    assert (len(few.drawn), few.first, few.scale) == (5, [], 1.0)
