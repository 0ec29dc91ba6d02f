"""Real training of a tiny model in a real child process; starts are few, each costs seconds of imports."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

import veridistill
from tests.training.jobs import job
from veridistill.config import TrainSection
from veridistill.data.tables import EXAMPLES
from veridistill.errors import ConfigError, Incomplete, MissingExtra
from veridistill.records import Example
from veridistill.training import child
from veridistill.training.job import Progress, TrainResult, read_result
from veridistill.training.launcher import train

Examples = Callable[[int], list[Example]]
SECTION = TrainSection(
    max_steps=24,
    learning_rate=1e-2,
    batch_size=16,
    micro_batch_size=4,
    max_length=120,
    warmup=0.2,
    save_steps=3,
)


def run(
    base: Path,
    examples: list[Example],
    root: Path,
    section: TrainSection = SECTION,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainResult:
    root.mkdir(exist_ok=True)
    if not (root / "examples.parquet").exists():
        EXAMPLES.write(root / "examples.parquet", examples)
    return asyncio.run(train(job(root, section, base_model=str(base)), progress))


@pytest.fixture(scope="module")
def forty(make_examples: Examples) -> list[Example]:
    """Forty rows that fit and one that is too long."""
    return [*make_examples(40), Example("long", 0, tuple(range(100)), (*range(100), 258), ())]


@dataclass(frozen=True)
class Undisturbed:
    """A training from start to end."""

    root: Path
    result: TrainResult
    seen: list[Progress]


@pytest.fixture(scope="module")
def undisturbed(base: Path, forty: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root, seen = tmp_path_factory.mktemp("undisturbed"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "default")
        result = run(base, forty, root, progress=seen.append)
    return Undisturbed(root, result, seen)


def test_trains_once_and_saves_a_whole_model(base: Path, undisturbed: Undisturbed) -> None:
    root, result = undisturbed.root, undisturbed.result
    assert [p.step for p in undisturbed.seen] == list(range(1, 25))
    assert {p.total for p in undisturbed.seen} == {24}
    assert tuple(p.loss for p in undisturbed.seen) == result.losses
    assert result.losses[-1] < 0.7 * result.losses[0]
    assert (result.num_rows, result.num_dropped, result.resumed_from) == (40, 1, 0)
    assert result.epochs == 24 * 16 / 40
    assert not (root / "work" / "checkpoints").exists()
    assert not (root / "model.tmp").exists()
    _check_model(base, root / "model")


def test_every_step_is_recorded(undisturbed: Undisturbed) -> None:
    found = recorded_steps(undisturbed.root)
    assert found == [asdict(step) for step in undisturbed.seen]
    for step in found:
        assert 0 <= step["learning_rate"] <= 1e-2
        assert min(step["gradient_norm"], step["tokens_per_second"]) > 0
    assert found[0]["learning_rate"] == 0, "the first step warms up"
    assert 1e8 < found[0]["memory"] <= found[-1]["memory"] <= undisturbed.result.memory


def recorded_steps(root: Path) -> list[dict[str, Any]]:
    lines = (root / "work" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_trained_model_is_not_trained_again(base: Path, undisturbed: Undisturbed) -> None:
    root, before = undisturbed.root, (undisturbed.root / "model").stat().st_mtime_ns
    again = run(base, [], root, progress=lambda _: pytest.fail("trained again"))
    assert again == undisturbed.result == read_result(root / "model")
    assert (root / "model").stat().st_mtime_ns == before


def test_our_own_code_warns_of_nothing(undisturbed: Undisturbed) -> None:
    """What dependencies deprecate is listed at the end of the session, as in this process, and fails nothing."""
    log = (undisturbed.root / "work" / "train.log").read_text(encoding="utf-8")
    for line in re.findall(r"^.*(?:Deprecation|Future)Warning: .*$", log, re.MULTILINE):
        warnings.warn(f"in the training process: {line}", FutureWarning, stacklevel=1)
    package = re.escape(str(Path(veridistill.__file__).parent))
    ours = re.findall(rf"^{package}/.*Warning: .*$", log, re.MULTILINE)
    assert ours == []


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


def test_a_killed_training_resumes_from_its_checkpoint_and_ends_the_same(
    base: Path, forty: list[Example], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    def kill_child(progress: Progress) -> None:
        if progress.step == 8:  # 16 steps and 5 checkpoints before it could end
            os.kill(_child(), signal.SIGKILL)

    with pytest.raises(Incomplete, match=r"killed by signal 9 after step \d+ of 24") as failure:
        run(base, forty, tmp_path, progress=kill_child)
    assert "resumes from the last checkpoint" in str(failure.value)
    assert not (tmp_path / "model").exists()

    saved = sorted(
        int(path.parent.name.removeprefix("checkpoint-"))
        for path in (tmp_path / "work" / "checkpoints").glob("checkpoint-*/complete")
    )
    torn = tmp_path / "work" / "checkpoints" / f"checkpoint-{saved[-1]}"
    (torn / "complete").unlink()
    steps: list[int] = []
    result = run(base, forty, tmp_path, progress=lambda p: steps.append(p.step))
    assert result.resumed_from == saved[-2]
    assert steps == list(range(saved[-2] + 1, 25))
    assert result.losses == undisturbed.result.losses
    assert [step["step"] for step in recorded_steps(tmp_path)] == list(range(1, 25))
    weights = [(root / "model" / "model.safetensors").read_bytes() for root in (tmp_path, undisturbed.root)]
    assert weights[0] == weights[1]


def _child() -> int:
    """The one child of this process that trains."""
    mine = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    return next(
        pid
        for pid in map(int, Path(mine).read_text().split())
        if b"veridistill.training.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def test_a_model_that_cannot_be_loaded(forty: list[Example], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with pytest.raises(ConfigError, match="gone cannot be loaded for training"):
        run(tmp_path / "gone", forty, tmp_path)
    assert not (tmp_path / "model").exists()


def test_no_examples(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no examples to train on; run build"):
        asyncio.run(train(job(tmp_path, base_model=str(base))))


def test_missing_packages_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'veridistill[train]'")):
        child.fit(job(tmp_path), lambda _: None)


def test_a_bad_row_fails_with_the_log(base: Path, tmp_path: Path) -> None:
    bad = Example("s1", 4, (1, 2), (3, 4), ())
    with pytest.raises(
        Incomplete, match=r"ended with status 1 before its first step(.|\n)*s1 candidate 4 ends with 4"
    ):
        run(base, [bad], tmp_path)


def test_cancelling_kills_the_child(base: Path, forty: list[Example], tmp_path: Path) -> None:
    EXAMPLES.write(tmp_path / "examples.parquet", forty)
    endless = job(tmp_path, TrainSection(max_steps=100_000, batch_size=4), base_model=str(base))

    async def cancelled() -> int:
        started = asyncio.Event()
        task = asyncio.create_task(train(endless, lambda _: started.set()))
        waiter = asyncio.create_task(started.wait())
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        assert started.is_set(), task.result()
        pid = _child()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert not Path(f"/proc/{asyncio.run(cancelled())}").exists()


def test_the_child_ends_with_its_parent(base: Path, forty: list[Example], tmp_path: Path) -> None:
    """The system closes the child's stdin however the parent ends."""
    EXAMPLES.write(tmp_path / "examples.parquet", forty)
    one_step = job(tmp_path, TrainSection(max_steps=1), base_model=str(base))
    (tmp_path / "job.json").write_text(one_step.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "veridistill.training.child", str(tmp_path / "job.json")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert not one_step.out.exists()
