"""The shipped model: loads, is as its card says, and solves and judges as its figures say."""

import asyncio
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import veridistill
from veridistill.decide import read_verdict, split
from veridistill.engines.local import LocalEngine
from veridistill.grading.graders import Graders
from veridistill.lab import quality, tokenizer
from veridistill.lab.worlds import EQUATIONS
from veridistill.lab.worlds.equations import texts
from veridistill.lab.worlds.replies import prompt
from veridistill.lab.worlds.world import Mix
from veridistill.records import Completion, Message, Sampling

MODEL = Path(veridistill.__file__).parent / "lab" / "model"


@pytest.fixture(scope="module")
def loaded() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto")


def test_files_are_small_and_as_the_card_says() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 4_000_000
    digest = hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (MODEL / "README.md").read_text(encoding="utf-8")


def test_weights_are_bfloat16_and_of_the_stated_size(loaded: Any) -> None:
    weights = (MODEL / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}
    assert type(loaded).__name__ == "Qwen3ForCausalLM"
    assert 1_000_000 < loaded.num_parameters() < 1_100_000


def test_tokenizer_and_template_are_the_labs_own(tmp_path: Path) -> None:
    tokenizer.save(tmp_path, [EQUATIONS])
    for file in tmp_path.iterdir():
        assert json.loads(file.read_text()) == json.loads((MODEL / file.name).read_text())


def test_generation_ends_at_the_end_of_turn(loaded: Any) -> None:
    transformers = pytest.importorskip("transformers")
    known = transformers.AutoTokenizer.from_pretrained(MODEL)
    assert loaded.generation_config.eos_token_id == known.convert_tokens_to_ids("<|im_end|>")
    assert loaded.generation_config.pad_token_id == known.convert_tokens_to_ids("<|endoftext|>")


def ask(prompts: list[str], temperature: float, directory: Path = MODEL) -> list[Completion]:
    """Replies of the local engine, by fixed seeds."""

    async def run() -> list[Completion]:
        engine = LocalEngine.load(str(directory), device="cpu", batch_size=64)
        try:
            sampling = Sampling(temperature, 0.95, 0, 128)
            return await asyncio.gather(
                *(
                    engine.generate((Message("user", prompt),), sampling, seed)
                    for seed, prompt in enumerate(prompts)
                )
            )
        finally:
            await engine.close()

    return asyncio.run(run())


def test_it_solves_what_it_was_taught_and_half_of_the_seeds() -> None:
    mixes: tuple[Mix, ...] = ("solver", "hard")
    questions = [(mix, q.question) for mix in mixes for q in EQUATIONS.take(64, 11, mix, "seeds")]
    replies = ask([prompt("solve_math", question=question) for _, question in questions], 0.8)

    async def graded() -> dict[str, int]:
        right = dict.fromkeys(mixes, 0)
        async with Graders(workers=1) as graders:
            for (mix, question), reply in zip(questions, replies, strict=True):
                right[mix] += await quality.is_right(question, split(reply.text).answer, graders)
        return {str(mix): num for mix, num in right.items()}

    right = asyncio.run(graded())
    assert right["solver"] > 40
    assert 19 <= right["hard"] <= 45


def test_its_judges_tell_right_from_wrong() -> None:
    prompts, wanted = [], []
    for question in EQUATIONS.take(32, 12, "hard", "seeds"):
        for x in (question.x, question.x + 1):
            stated = texts.answer_text(question.a, question.b, question.c, x)
            prompts.append(prompt("correctness", question=question.question, answer=stated))
            wanted.append("yes" if x == question.x else "no")
    found = [read_verdict(reply, reasoning=True).ballot for reply in ask(prompts, 0.6)]
    assert sum(one == other for one, other in zip(found, wanted, strict=True)) > 0.85 * len(wanted)


def test_a_copy_is_the_same_model(tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "copy")
    prompts = [prompt("solve_math", question=q.question) for q in EQUATIONS.take(4, 1, "hard", "exam")]
    assert [r.text for r in ask(prompts, 0.8)] == [r.text for r in ask(prompts, 0.8, tmp_path / "copy")]
