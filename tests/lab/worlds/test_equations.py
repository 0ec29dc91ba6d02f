"""The equations: their texts and splits are those that the shipped model was taught."""

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from veridistill.lab import pretrain, tokenizer
from veridistill.lab.worlds import EQUATIONS, files
from veridistill.lab.worlds.equations.questions import WORDINGS, Equation
from veridistill.lab.worlds.world import Mix, Split, split_of

SPLITS: tuple[Split, ...] = ("post_train", "seeds", "exam")


def digest(texts: Iterable[str]) -> str:
    made = hashlib.sha256()
    for text in texts:
        made.update(text.encode() + b"\0")
    return made.hexdigest()


def test_texts_are_those_of_the_shipped_models_post_training(tmp_path: Path) -> None:
    """Other hashes mean other texts than the shipped checkpoint was taught, or is asked in a demonstration."""
    batches = [one for step in range(20) for one in pretrain.batch_samples(step, [EQUATIONS])]
    assert digest(text for one in batches for text in (one.skill, one.prompt, one.reply)) == (
        "57d53573abd2e7a319d7d9da8bef3282e6e3e581e6f11b0f2d0cc7f47d9bdb86"
    )
    assert digest(tokenizer.corpus([EQUATIONS], 600)) == (
        "a85f91f38c2bc78a6d17930ab965332ee6df1f3cffc364fa4f6b7d182e1036d3"
    )
    rng = random.Random("pin")
    hard = [EQUATIONS.sample(rng, skill, "hard") for skill in EQUATIONS.skills for _ in range(50)]
    assert digest(text for one in hard for text in (one.prompt, one.reply)) == (
        "eb0cca1fe8c4c6a01b66196195893572f57bec529d04d46fe2129318f415c70e"
    )
    made = (files.seeds_file(EQUATIONS, tmp_path), files.exam_file(EQUATIONS, tmp_path))
    assert digest(path.read_text() for path in made) == (
        "dbcf91bf8c0d9f6e5e1deceb2407a2d21cf547766ea19fe4ead6112fd1c0f8a3"
    )
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("split", SPLITS)
def test_another_wording_is_in_the_same_split(split: Split) -> None:
    tasks = EQUATIONS.take(300, 1, "hard", split)
    others = [Equation(q.a, q.b, q.x, wording) for q in tasks for wording in range(len(WORDINGS))]
    assert {split_of(q.key) for q in others} == {split}


def test_seeds_and_exam_are_harder_than_what_was_taught() -> None:
    def long_answers(mix: Mix, split: Split) -> float:
        return sum(q.x >= 1000 for q in EQUATIONS.take(500, 3, mix, split)) / 500

    assert long_answers("solver", "post_train") < 0.1
    assert long_answers("hard", "exam") == 1


@pytest.mark.parametrize(
    "text", ["", "Solve 3x+1=3 for x.", "Solve 3x+9=3 for x.", "Solve 3x+1=4 for x. Now."]
)
def test_parse_refuses_what_the_world_never_made(text: str) -> None:
    assert EQUATIONS.parse(text) is None
