"""The doctor, at servers that do as they are told, and at one that does nothing of the kind."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from tests.engines.fault_server import Process, Served
from veridistill.engines.endpoint import checks
from veridistill.engines.endpoint.aimd import Width
from veridistill.engines.endpoint.doctor import Report, examine, render
from veridistill.engines.endpoint.pool import Server
from veridistill.engines.endpoint.wire import Key, open_session
from veridistill.errors import ConfigError


def report_of(process: Process, tmp_path: Path, script: dict[str, Any], model: str | None = None) -> Report:
    served = Served(process, script, tmp_path / "log.jsonl")
    return asyncio.run(examine(served.url, model, api_key_env="NO_SUCH_KEY"))


def found(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def test_a_server_that_always_says_the_same_is_seen_through(shared: Process, tmp_path: Path) -> None:
    report = report_of(shared, tmp_path, {"context": 512, "text": "one two three four five six"})
    assert found(report) == {
        "model": "ok",
        "reply": "ok",
        "context": "ok",
        "streaming": "ok",
        "max_tokens": "fail",
        "temperature 0": "ok",
        "temperature": "fail",
        "top_k": "ok",
        "top_p": "ok",
        "seed": "ok",
        "reasoning": "unknown",
        "choices": "warn",
        "token ids": "warn",
        "control tokens": "fail",
        "cancelling": "unknown",
    }
    assert json.loads(json.dumps(asdict(report)))["checks"][4]["name"] == "max_tokens"
    shown = render(report)
    assert all(check.found in shown and check.advice in shown for check in report.checks)
    assert shown.startswith(report.url)


@pytest.mark.parametrize(
    ("script", "name", "status", "text"),
    [
        (
            {"rules": [{"match": "17 + 25", "deltas": [{"reasoning": "so"}, {"content": "42"}]}]},
            "reasoning",
            "ok",
            "in a separate field",
        ),
        ({"text": "<think>so</think>42"}, "reasoning", "ok", "inline"),
        ({"unknown": ["seed"]}, "seed", "warn", "does not support seeds"),
        ({"unknown": ["top_k"]}, "top_k", "warn", "does not support the field"),
        ({"unknown": ["top_k", "min_p"]}, "reply", "warn", "min_p, top_k"),
        ({"rules": [{"match": "lighthouse", "whole": True}]}, "streaming", "warn", "in one piece"),
        (
            {"rules": [{"match": "lighthouse", "finish": "length"}]},
            "max_tokens",
            "ok",
            "finish reason length",
        ),
        ({"rules": [{"match": "lighthouse", "status": 500, "says": "no"}]}, "temperature", "fail", "500 no"),
        ({}, "context", "unknown", "does not say"),
        ({}, "choices", "warn", "not asked"),
        ({"owner": "vllm"}, "choices", "warn", "something else"),
        ({"owner": "vllm", "text": "[[Y]]"}, "choices", "ok", "[[Y]] or [[N]]"),
        ({"owner": "vllm", "unknown": ["structured_outputs"]}, "choices", "warn", "something else"),
    ],
)
def test_what_is_found(
    shared: Process,
    tmp_path: Path,
    script: dict[str, Any],
    name: str,
    status: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_MARKERS", ("<|im_end|>",))
    report = report_of(shared, tmp_path, script)
    check = next(check for check in report.checks if check.name == name)
    assert check.status == status
    assert text in check.found


@pytest.mark.parametrize(
    ("script", "model", "status", "text"),
    [
        ({"model": ["a", "b"]}, None, "fail", "it lists a, b"),
        ({"model": ["a", "b"]}, "c", "fail", "it lists a, b"),
        ({"model": ["a", "b"]}, "b", "ok", "b, served by us"),
        ({"listing": 404}, None, "fail", "it lists no model"),
        ({"listing": 404}, "c", "ok", "c"),
        ({"key": "k"}, None, "fail", "NO_SUCH_KEY"),
        ({"listing": 404, "rules": [{"match": "", "status": 401}]}, "c", "fail", "NO_SUCH_KEY"),
    ],
)
def test_which_model(
    shared: Process,
    tmp_path: Path,
    script: dict[str, Any],
    model: str | None,
    status: str,
    text: str,
) -> None:
    stop = [{"match": "", "status": 418}]
    report = report_of(shared, tmp_path, {"rules": stop} | script, model)
    last = report.checks[0] if status == "ok" or "listing" not in script else report.checks[-1]
    assert last.status == status
    assert text in last.found


def test_a_closed_connection_is_seen_in_the_servers_own_count(shared: Process, tmp_path: Path) -> None:
    served = Served(shared, {"every": 0.5}, tmp_path / "log.jsonl")

    async def main() -> checks.Check:
        key = Key("NONE", "")
        async with open_session(key) as session:
            return await checks.Examination(session, Server(served.url, Width(1)), "m", key)._cancelling()

    assert asyncio.run(main()).status == "ok"
    assert [end["ended"] for end in served.ends().values()] == ["gone"] * 3


def test_a_server_that_is_not_there() -> None:
    report = asyncio.run(examine("http://127.0.0.1:1"))
    assert report.checks[0].status == "fail"
    assert "cannot be reached" in report.checks[0].found
    with pytest.raises(ConfigError, match="not an http address"):
        asyncio.run(examine("127.0.0.1:1"))
