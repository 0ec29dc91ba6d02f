"""Runtime fields change cost and place, never what is kept: each that a scripted build reads is varied here.

A new runtime field fails `test_every_runtime_field_is_listed` until it is listed as varied, or with the reason why not.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import kept, questions, script, settings, veridistill
from veridistill.config import fields

VARIED: dict[str, list[list[str]]] = {
    "rounds": [["rounds=2"]],
    "judge.engine": [["judge.engine={kind: scripted, max_model_len: 100000}"]],
    "build.asks": [["build.asks=exhaustive"]],
    "build.order": [["build.order=paper"]],
    "build.speculation": [["build.speculation=idle"], ["build.speculation=idle", "gate.width=20"]],
    "build.audit_share": [["build.audit_share=0.5"]],
    "build.canary_share": [["build.canary_share=0.5"]],
    "build.extra_stages": [["build.extra_stages=[simple]", "build.asks=exhaustive"]],
    "build.window": [["build.window=1"], ["build.window=3"]],
    "build.target": [["build.target=1000"]],
    "engine.max_model_len": [["engine.max_model_len=100000"]],
    "gate.width": [["gate.width=1"], ["gate.width=3"]],
    "journal.path": [["journal.path=replies.sqlite"]],
    "journal.commit_rows": [["journal.commit_rows=1"]],
    "quality.min_kept": [["quality.min_kept=1000"]],
    "quality.max_invalid": [["quality.max_invalid=0"]],
    "quality.max_canaries": [["quality.max_canaries=0", "build.canary_share=1"]],
}
STOPPING = {"limits.tokens": "400", "limits.hours": "1e-7"}
"""A build that crosses them stops, and goes on without."""
NOT_READ = {
    "another kind of engine may round differently: replayed from a journal in tests/engines": ["engine.kind"],
    "only training reads it": ["train.micro_batch_size", "train.gradient_checkpointing", "train.save_steps"],
    "only what comes before a whole run reads it": ["train.preflight"],
    "only an exam reads it": [
        *(
            "evaluation.data",
            "evaluation.ttc",
            "evaluation.allow_code_execution",
            "evaluation.grading_workers",
        ),
    ],
    "prices turn counted tokens into money": [
        *("cost.currency", "cost.prompt", "cost.completion", "cost.judge_prompt", "cost.judge_completion"),
    ],
    "only other kinds of engine read it": [
        *("engine.seeded", "engine.device", "engine.batch_size", "engine.threads", "engine.max_num_seqs"),
        *("engine.tensor_parallel", "engine.data_parallel", "engine.gpu_memory"),
        *(
            "engine.enforce_eager",
            "engine.urls",
            "engine.served_name",
            "engine.protocol",
            "engine.api_key_env",
        ),
        *("engine.max_width", "engine.idle_timeout", "engine.retries", "engine.patience", "engine.replicas"),
        *(
            "engine.replica",
            "engine.address",
            "engine.actor_gpus",
            "engine.actor_cpus",
            "engine.actor_resources",
        ),
    ],
}
RUNTIME = {name for name, kind in fields() if kind == "runtime"}
ROLES = ("solve", "infer", "compare", "factuality", "correctness")

Kept = dict[tuple[str, int], set[bytes]]


def test_every_runtime_field_is_listed() -> None:
    listed = {*VARIED, *STOPPING, *(name for names in NOT_READ.values() for name in names)}
    assert not RUNTIME - listed, "vary them, or say why a scripted build does not read them"
    assert not listed - {name for name, _ in fields()}, "no such fields any more"


def built(folder: Path, run: str, *options: str) -> int:
    command = settings(questions(folder), *options)
    return veridistill("build", "-d", folder / run, "-q", *command).code


def kept_keys(run: Path) -> Kept:
    """The keys of the cascade's replies for each kept candidate: all that speak for it."""
    found: Kept = {candidate: set() for candidate in kept(run)}
    journal = next(run.glob("*.sqlite"))
    with closing(sqlite3.connect(journal)) as replies:
        query = f"SELECT path, key FROM replies WHERE status = 'ok' AND role IN {ROLES}"
        for path, key in replies.execute(query):
            found.get(tuple(json.loads(path)[:2]), set()).add(key)
    return found


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("truth")
    assert built(folder, "run") == 0
    found = kept_keys(folder / "run")
    assert len(found) > 6
    assert all(len(keys) >= 1 + 2 * 4 for keys in found.values()), "a candidate and two votes of three stages"
    return found


@pytest.mark.parametrize(
    "options",
    [options for name, values in VARIED.items() if name in RUNTIME for options in values],
    ids=lambda options: " ".join(options),
)
def test_a_runtime_field_keeps_the_same(tmp_path: Path, options: list[str], truth: Kept) -> None:
    assert built(tmp_path, "run", *options) in (0, 4), "a quality limit ends a build that is finished"
    assert kept_keys(tmp_path / "run") == truth


@pytest.mark.parametrize(("name", "value"), STOPPING.items())
def test_a_limit_stops_a_build_that_then_keeps_the_same(
    tmp_path: Path, name: str, value: str, truth: Kept
) -> None:
    assert built(tmp_path, "run", f"{name}={value}", "gate.width=4") == 3
    assert built(tmp_path, "run", f"{name}=null", "gate.width=4") == 0
    assert kept_keys(tmp_path / "run") == truth


def test_another_script_is_another_run(tmp_path: Path) -> None:
    one, other = script(tmp_path, right=0.9), script(tmp_path, right=0.1)
    assert built(tmp_path, "run", f"engine.script={one}") == 0
    done = veridistill("build", "-d", tmp_path / "run", "-q", "-o", f"engine.script={other}")
    assert done.code == 2
    assert "engine.script" in done.err
