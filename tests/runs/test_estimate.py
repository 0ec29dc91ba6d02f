"""`--dry-run`: the calls that it estimates are about those that the build makes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import calls, questions, results, settings, veridistill
from tests.harness import make_seeds
from veridistill.runs.estimate import SAMPLE, _drawn

FACTOR = 1.2
"""How far an estimate from 30 of 300 questions may be off."""


@pytest.mark.parametrize(
    "fields",
    [
        ["build.audit_share=0.05", "build.canary_share=0.1"],
        ["build.audit_share=0.3", "build.canary_share=0.4", "judge.infer_per_vote=false"],
        ["build.asks=exhaustive"],
        ["build.selection=all"],
        ["build.selection=unfiltered", "build.canary_share=0.5"],
        ["build.target=60"],
    ],
    ids=lambda fields: fields[0],
)
def test_an_estimate_is_close_to_what_the_build_asks(tmp_path: Path, fields: Sequence[str]) -> None:
    # In the paper's order the calls of a build follow from its replies; the cheapest order also learns as time allows.
    fields = [*fields, "build.order=paper"]
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
    seeds = make_seeds(1000)
    drawn = _drawn(seeds, SAMPLE)
    assert drawn == _drawn(list(reversed(seeds)), SAMPLE)
    assert len(set(drawn)) == SAMPLE == len(_drawn(seeds[:SAMPLE], 99))
    places = [seeds.index(seed) for seed in drawn]
    assert min(places) < 250
    assert max(places) > 750


def test_few_questions_are_all_asked_and_none_is_scaled(tmp_path: Path) -> None:
    options = settings(questions(tmp_path, 3))
    dry = veridistill("build", "-d", tmp_path / "run", "--dry-run", "--json", *options).json
    assert dry["sampled_questions"] == 3
    assert dry["calls"] == len(calls(tmp_path / "run"))
