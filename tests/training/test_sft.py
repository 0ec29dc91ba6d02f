"""Real training of a tiny model in a real child process; starts are few, each costs seconds of imports."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from veridistill.config import TrainSection
from veridistill.errors import ConfigError, Incomplete
from veridistill.records import Example
from veridistill.training.sft import Progress, TrainResult, micro_batch, num_steps, order, read_result, train

Examples = Callable[[int], list[Example]]
Write = Callable[[list[Example]], Path]


def run(
    section: TrainSection,
    base: Path,
    examples: Path,
    root: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainResult:
    job = train(
        section, str(base), None, examples, root / "work", root / "model", device="cpu", progress=progress
    )
    return asyncio.run(job)


# --- the plan, without training -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "num_rows", "steps"),
    [
        ({"max_steps": 7}, 10, 7),
        ({}, 64, 2),
        ({"epochs": 4}, 1000, 63),
        ({"epochs": 0.5}, 128, 1),
        ({"epochs": 1}, 3, 1),
    ],
)
def test_num_steps(settings: dict[str, float], num_rows: int, steps: int) -> None:
    assert num_steps(TrainSection(**settings), num_rows) == steps


@pytest.mark.parametrize(
    ("batch", "micro", "chosen"), [(64, 8, 8), (64, 100, 64), (64, 24, 16), (7, 4, 1), (6, 4, 3)]
)
def test_micro_batch_divides_the_batch(batch: int, micro: int, chosen: int) -> None:
    assert micro_batch(TrainSection(batch_size=batch, micro_batch_size=micro)) == chosen


def test_order_is_passes_over_all_rows_in_exact_batches() -> None:
    lengths = [(7 * i) % 50 + 1 for i in range(100)]
    sequence = order(lengths, steps=25, batch_size=16, seed=3)
    assert len(sequence) == 400
    assert set(Counter(sequence).values()) == {4}
    for start in range(0, 400, 16):
        batch = [lengths[i] for i in sequence[start : start + 16]]
        assert batch == sorted(batch)
    assert sequence != order(lengths, steps=25, batch_size=16, seed=4)


def test_grouping_by_length_changes_no_batch() -> None:
    plain, grouped = order([1] * 100, 25, 16, 3), order([(7 * i) % 50 for i in range(100)], 25, 16, 3)
    assert [sorted(plain[i : i + 16]) for i in range(0, 400, 16)] == [
        sorted(grouped[i : i + 16]) for i in range(0, 400, 16)
    ]


# --- training -----------------------------------------------------------------------------------------------


def test_trains_once_and_saves_a_whole_model(
    base: Path, tmp_path: Path, make_examples: Examples, write_examples: Write
) -> None:
    section = TrainSection(
        max_steps=24, learning_rate=1e-2, batch_size=16, micro_batch_size=4, max_length=120
    )
    too_long = Example("long", 0, tuple(range(100)), (*range(100), 258), ())
    steps: list[Progress] = []
    result = run(section, base, write_examples([*make_examples(40), too_long]), tmp_path, steps.append)

    assert [p.step for p in steps] == list(range(1, 25))
    assert {p.total for p in steps} == {24}
    assert tuple(p.loss for p in steps) == result.losses
    assert result.losses[-1] < 0.7 * result.losses[0]
    assert (result.num_rows, result.num_dropped, result.resumed_from) == (40, 1, 0)
    assert not (tmp_path / "work" / "checkpoints").exists()
    assert not (tmp_path / "model.tmp").exists()
    _check_model(base, tmp_path / "model")

    before = (tmp_path / "model").stat().st_mtime_ns
    again = run(section, base, tmp_path / "gone.parquet", tmp_path, lambda _: pytest.fail("trained again"))
    assert again == result == read_result(tmp_path / "model")
    assert (tmp_path / "model").stat().st_mtime_ns == before


def _check_model(base: Path, model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    names = {path.name for path in model.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "README.md",
    } <= names
    old, new = (AutoModelForCausalLM.from_pretrained(p, dtype="auto") for p in (base, model))
    assert new.dtype == old.dtype == torch.bfloat16
    assert not torch.equal(new.model.layers[0].mlp.up_proj.weight, old.model.layers[0].mlp.up_proj.weight)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((model / name).read_text()) == json.loads((base / name).read_text())
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (base, model)]
    assert len({t.chat_template for t in tokenizers}) == len({t.pad_token for t in tokenizers}) == 1
    card = (model / "README.md").read_text()
    assert "40 examples" in card
    assert "| learning_rate | 0.01 |" in card
    assert str(base.parent) not in card


def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_the_same(
    base: Path, tmp_path: Path, make_examples: Examples, write_examples: Write
) -> None:
    section = TrainSection(
        max_steps=10, learning_rate=5e-3, batch_size=8, micro_batch_size=8, save_steps=3, warmup=0.2
    )
    examples = write_examples(make_examples(20))

    def kill_child(progress: Progress) -> None:
        if progress.step == 8:
            os.kill(_child(), signal.SIGKILL)

    with pytest.raises(Incomplete, match=r"killed by signal 9 after step (8|9|10) of 10") as failure:
        run(section, base, examples, tmp_path / "killed", kill_child)
    assert "goes on from the last checkpoint" in str(failure.value)
    assert not (tmp_path / "killed" / "model").exists()

    torn = tmp_path / "killed" / "work" / "checkpoints" / "checkpoint-9"
    torn.mkdir(exist_ok=True)
    (torn / "complete").unlink(missing_ok=True)
    steps: list[int] = []
    result = run(section, base, examples, tmp_path / "killed", lambda p: steps.append(p.step))
    assert (steps, result.resumed_from) == ([7, 8, 9, 10], 6)

    whole = run(section, base, examples, tmp_path / "whole")
    assert result.losses == whole.losses
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("killed", "whole")]
    assert weights[0] == weights[1]


def _child() -> int:
    """The one child of this process that trains."""
    mine = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    return next(
        pid
        for pid in map(int, Path(mine).read_text().split())
        if b"sft" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


@pytest.mark.parametrize(
    ("model", "examples", "fault"),
    [
        ("gone", True, "gone cannot be loaded for training"),
        ("base", False, "no examples to train on; run build"),
    ],
)
def test_what_the_user_can_set_right(
    base: Path,
    tmp_path: Path,
    make_examples: Examples,
    write_examples: Write,
    model: str,
    examples: bool,
    fault: str,
) -> None:
    path = write_examples(make_examples(2)) if examples else tmp_path / "none.parquet"
    (tmp_path / "gone").mkdir()
    with pytest.raises(ConfigError, match=fault):
        run(TrainSection(max_steps=1), {"base": base, "gone": tmp_path / "gone"}[model], path, tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_bad_row_fails_with_the_log(base: Path, tmp_path: Path, write_examples: Write) -> None:
    bad = Example("s1", 4, (1, 2), (3, 4), ())
    with pytest.raises(
        Incomplete, match=r"ended with status 1 before its first step(.|\n)*s1 candidate 4 ends with 4"
    ):
        run(TrainSection(max_steps=1), base, write_examples([bad]), tmp_path)


def test_cancelling_kills_the_child(
    base: Path, tmp_path: Path, make_examples: Examples, write_examples: Write
) -> None:
    examples = write_examples(make_examples(20))
    children: list[int] = []

    async def cancelled() -> None:
        section = TrainSection(max_steps=100_000, batch_size=4)
        started = asyncio.Event()
        job = train(
            section,
            str(base),
            None,
            examples,
            tmp_path / "work",
            tmp_path / "model",
            device="cpu",
            progress=lambda _: started.set(),
        )
        task = asyncio.create_task(job)
        await asyncio.wait_for(started.wait(), 60)
        children.append(_child())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not Path(f"/proc/{children[0]}").exists()


def test_other_settings_do_not_go_on_from_old_checkpoints(tmp_path: Path) -> None:
    from veridistill.training.sft import Spec, _forget_other_checkpoints

    (tmp_path / "examples").write_bytes(b"rows")
    kept = tmp_path / "checkpoints" / "checkpoint-1"

    def left(section: TrainSection) -> bool:
        kept.mkdir(parents=True, exist_ok=True)
        spec = Spec({}, "base", None, str(tmp_path / "examples"), str(tmp_path), "", "cpu")
        _forget_other_checkpoints(section, spec)
        return kept.exists()

    assert not left(TrainSection())
    assert left(TrainSection())
    assert left(TrainSection(micro_batch_size=1, save_steps=7))
    assert not left(TrainSection(learning_rate=1e-6))
    (tmp_path / "examples").write_bytes(b"other rows")
    assert not left(TrainSection(learning_rate=1e-6))


def test_a_model_of_other_examples_does_not_pass_for_one_of_these(tmp_path: Path) -> None:
    work, out, examples = tmp_path / "train", tmp_path / "model", tmp_path / "examples.parquet"
    for folder in (work, out):
        folder.mkdir()
    examples.write_bytes(b"other examples than those")
    (work / "identity.json").write_text(json.dumps([{}, "base", None, "the digest of those"]))
    with pytest.raises(ConfigError, match="was trained on other examples"):
        asyncio.run(train(TrainSection(), "base", None, examples, work, out))
