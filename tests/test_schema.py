"""The JSON Schema that editors read: it is up to date, knows every field, and judges files as `load` does."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from veridistill.config import SCHEMA_FILE, fields, load, preset_file, presets, schema, template
from veridistill.errors import ConfigError


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(schema())
    return jsonschema.Draft7Validator(schema())


def read(text: str) -> Any:
    """As an editor reads it: where it matters here, PyYAML's words are those of YAML 1.2."""
    return yaml.safe_load(text)


def test_the_packaged_file_is_generated() -> None:
    written = SCHEMA_FILE.read_text(encoding="utf-8")
    assert written == json.dumps(schema(), indent=2, ensure_ascii=False) + "\n", (
        "python -m veridistill.config schema > veridistill/config/schema.json"
    )


def test_every_field_is_explained() -> None:
    for name, kind in fields():
        where = schema()
        for part in name.split("."):
            section = next((one for one in where.get("anyOf", [where]) if "properties" in one), where)
            where = section["properties"][part]
        assert where["description"].endswith(f"({kind})"), name
        assert "default" in where, name


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid(validator: jsonschema.Draft7Validator, name: str) -> None:
    path = preset_file(name)
    for text in (path.read_text(encoding="utf-8"), template((), path)):
        assert [error.message for error in validator.iter_errors(read(text))] == []


GOOD = [
    "",
    "model: Qwen/Qwen3-0.6B",
    "model: {path: a, revision: 1234567}",
    "train:",
    "judge: {stages: 'factuality, correctness', model: other, engine: {kind: vllm}}",
    "judge: {stages: [simple], model: null}",
    "seeds: {path: '*.jsonl', limit: null}",
    "evaluation: {benchmarks: [aime26, 'mmlu:anatomy'], ttc: true}",
    "engine: {actor_resources: {a100: 0.5}}",
    "train: {learning_rate: 1, epochs: 2}",
]
BAD = [
    "judg: {votes: 3}",
    "judge: {vots: 3}",
    "judge: {votes: 0}",
    "judge: {votes: 2.5}",
    "judge: {votes: many}",
    "judge: {votes: null}",
    "judge: {stages: []}",
    "judge: {stages: [truth]}",
    "judge: {stages: 'factuality, truth'}",
    "judge: {model: {pth: a}}",
    "judge: {engine: {kind: tgi}}",
    "judge: 3",
    "build: {order: random}",
    "build: {audit_share: 1.5}",
    "train: {clip: 0}",
    "train: [1]",
    "evaluation: {ttc: maybe}",
    "engine: {actor_resources: {a100: much}}",
    "[judge]",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_valid_loads(validator: jsonschema.Draft7Validator, tmp_path: Path, text: str) -> None:
    assert [error.message for error in validator.iter_errors(read(text) or {})] == []
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    load(file)


@pytest.mark.parametrize("text", BAD)
def test_what_is_invalid_does_not_load(
    validator: jsonschema.Draft7Validator, tmp_path: Path, text: str
) -> None:
    assert not validator.is_valid(read(text))
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load(file)
