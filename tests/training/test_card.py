"""The model card says how this run chose its examples, and claims nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.jobs import ORIGIN, job
from veridistill.training.card import card
from veridistill.training.job import Origin, TrainResult

RESULT = TrainResult(63, (0.5,), 1000, 2, 81_000, 0, 9.0)
ACCEPTED = "voted yes in all 5 votes of each stage (cycle consistency, factuality)"


def made(root: Path, **changes: Any) -> str:
    origin = Origin(**ORIGIN.model_dump() | changes)
    return " ".join(card(origin, job(root).section, RESULT).split())


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        (
            {},
            ["Up to 8 candidates were sampled", "the first accepted", f"the model itself {ACCEPTED}"],
            ["round"],
        ),
        ({"selection": "all"}, ["8 candidates were sampled", "all accepted"], ["Up to"]),
        ({"selection": "shortest"}, ["the shortest accepted one"], []),
        ({"selection": "random"}, ["an accepted one was kept at random"], []),
        ({"votes": 1}, ["in the 1 vote of each stage"], ["1 votes"]),
        (
            {"selection": "unfiltered"},
            ["kept without being judged", "were not checked"],
            ["voted", "accepted", "judgement", "verified"],
        ),
        (
            {"judge": "org/judge"},
            [f"`org/judge` {ACCEPTED}", "No reference answers were used", "Another model's judgement"],
            ["the model itself", "nor another model", "Its own judgement", "self-verified"],
        ),
        (
            {"selection": "oracle"},
            ["chosen by the selection `oracle`"],
            ["voted", "accepted", "judgement", "reference answers"],
        ),
        (
            {"round": 2},
            ["after round 2 of self-verified distillation", "sampled from the model of round 1"],
            [],
        ),
    ],
)
def test_it_says_how_the_examples_were_chosen(
    tmp_path: Path, changes: dict[str, Any], said: list[str], unsaid: list[str]
) -> None:
    text = made(tmp_path, **changes)
    assert [part for part in said if part not in text] == []
    assert [part for part in unsaid if part in text] == []


def test_it_names_the_base_and_the_settings(tmp_path: Path) -> None:
    text = card(ORIGIN, job(tmp_path).section, RESULT)
    assert "\nbase_model: org/base\n---\n\n# org/base, after" in text
    assert "`org/base` at revision `abc`" in text
    assert "1,000 examples (81,000 tokens of replies; 2 more were too long), 63 optimizer steps" in text
    assert "\n| learning_rate | 3e-05 |\n" in text


@pytest.mark.parametrize("judge", [None, "the same directory"])
def test_a_directory_is_named_without_its_path(tmp_path: Path, judge: str | None) -> None:
    (tmp_path / "tiny").mkdir()
    text = made(tmp_path, model=str(tmp_path / "tiny"), judge=judge and str(tmp_path / "tiny"))
    assert "`tiny` at revision" in text
    assert str(tmp_path) not in text
    assert "base_model" not in text, "the Hub would look for it"
