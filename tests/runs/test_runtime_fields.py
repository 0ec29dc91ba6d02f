"""The promise of runtime fields: none of them changes what a build keeps."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import kept, questions, veridistill
from veridistill.config import fields

# Each is read by a build on the scripted engine, and varied alone.
READ: dict[str, tuple[Any, ...]] = {
    "judge.engine": ({"kind": "scripted", "max_model_len": 100_000},),
    "build.asks": ("exhaustive",),
    "build.order": ("paper",),
    "build.speculation": ("off",),
    "build.audit_share": (0.0, 1.0),
    "build.canary_share": (0.0, 1.0),
    "build.extra_stages": (["simple"],),
    "build.window": (1, 3),
    "gate.width": (1, 7),
    "engine.max_model_len": (100_000,),
    "journal.path": ("other.sqlite",),
    "journal.commit_rows": (1,),
    "limits.tokens": (10**9,),
    "limits.hours": (1.0,),
    "quality.min_kept": (0,),
    "quality.max_invalid": (1.0,),
    "quality.max_canaries": (1.0,),
}
# Read by other engines and other steps: varied together. An endpoint's reading of them is tested with its servers.
UNREAD: dict[str, Any] = {
    "rounds": 2,
    "train.micro_batch_size": 1,
    "train.gradient_checkpointing": True,
    "train.save_steps": 1,
    "evaluation.data": "nowhere",
    "evaluation.ttc": True,
    "evaluation.allow_code_execution": True,
    "evaluation.grading_workers": 1,
    "engine.seeded": False,
    "engine.device": "cuda:1",
    "engine.batch_size": 1,
    "engine.threads": 1,
    "engine.max_num_seqs": 1,
    "engine.tensor_parallel": 2,
    "engine.data_parallel": 2,
    "engine.gpu_memory": 0.5,
    "engine.enforce_eager": True,
    "engine.urls": ["http://127.0.0.1:1"],
    "engine.served_name": "m",
    "engine.protocol": "chat",
    "engine.api_key_env": "NO_SUCH_KEY",
    "engine.max_width": 1,
    "engine.idle_timeout": 1.0,
    "engine.retries": 0,
    "engine.patience": 1.0,
    "engine.replicas": 2,
    "engine.replica": "local",
    "engine.address": "auto",
    "engine.actor_gpus": 1.0,
    "engine.actor_cpus": 2.0,
    "engine.actor_resources": {"seat": 1.0},
}
OTHER_ENGINES = {"engine.kind"}  # another kind may round differently: replayed from a journal (tests/engines)


def test_every_runtime_field_is_varied() -> None:
    assert {
        name for name, kind in fields() if kind == "runtime"
    } == READ.keys() | UNREAD.keys() | OTHER_ENGINES


def build(folder: Path, name: str, **varied: Any) -> set[tuple[str, int]]:
    out = folder / name
    settings = {
        "model.path": "any",
        "seeds.path": str(questions(folder, 20)),
        "engine.kind": "scripted",
        "generate.candidates": 3,
        "judge.votes": 2,
        **varied,
    }
    flags = [
        f"{field}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
        for field, value in settings.items()
    ]
    done = veridistill("build", "--out", out, *(part for flag in flags for part in ("-o", flag)))
    assert done.code == 0, done.err
    return kept(out)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    found = build(tmp_path_factory.mktemp("plain"), "run")
    assert len(found) > 5
    return found


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in READ.items() for v in values])
def test_what_a_build_reads_changes_nothing(
    tmp_path: Path, plain: set[tuple[str, int]], field: str, value: Any
) -> None:
    assert build(tmp_path, "run", **{field: value}) == plain


def test_what_others_read_changes_nothing(tmp_path: Path, plain: set[tuple[str, int]]) -> None:
    assert build(tmp_path, "run", **UNREAD) == plain


def test_another_script_is_another_run(tmp_path: Path) -> None:
    from tests.commands import script

    one, other = script(tmp_path, right=0.9), script(tmp_path, right=0.1)
    build(tmp_path, "run", **{"engine.script": str(one)})
    done = veridistill("build", "--out", tmp_path / "run", "-o", f"engine.script={other}")
    assert done.code == 2
    assert "engine.script" in done.err
