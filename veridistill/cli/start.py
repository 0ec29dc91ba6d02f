"""Commands before a run: the presets, a configuration file to edit, and the schema by which editors check it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from veridistill import config as configuration
from veridistill.cli import common, completion
from veridistill.cli.common import Model, Seeds, Sets
from veridistill.config import SCHEMA_FILE
from veridistill.data.rundir import write_atomically
from veridistill.errors import ConfigError


def init(
    file: Annotated[Path, typer.Argument(help="YAML file to write.")] = Path("veridistill.yaml"),
    preset: Annotated[
        str | None, typer.Option(help="Take its values.", autocompletion=completion.presets)
    ] = None,
    sets: Sets = None,
    model: Model = None,
    seeds: Seeds = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="Also write the JSON Schema here (.json) and let the file refer to it, not to the installed one."
        ),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Only list the presets.")] = False,
) -> None:
    """Write a configuration with every field; list presets.

    \b
    Examples:
      veridistill init --list
      veridistill init run.yaml --model Qwen/Qwen3-0.6B --seeds questions.jsonl
      veridistill init run.yaml --preset qwen3-0.6b-math-24gb --schema schema.json
    """
    if listing:
        for name, summary in configuration.presets().items():
            print(f"{name:31} {summary}")
        return
    if file.exists():
        raise ConfigError(f"{file}: exists already; name another file, or remove it")
    if schema is not None and schema.suffix != ".json":
        raise ConfigError(f"--schema {schema}: must be a .json file")
    source = configuration.preset_file(preset) if preset else None
    text = configuration.template(common.overrides(sets, {"model": model, "seeds": seeds}), source)
    if preset:
        text = text.replace(f"veridistill run {preset} ", f"veridistill run {file} ")
    if schema is not None:
        _write(schema, _schema())
    _write(file, f"# yaml-language-server: $schema={_reference(schema, file)}\n{text}")
    print(file)


def schema() -> None:
    """Print the JSON Schema of a configuration, for editors.

    \b
    Examples:
      veridistill schema > veridistill.schema.json
    """
    print(_schema(), end="")


def _schema() -> str:
    return SCHEMA_FILE.read_text(encoding="utf-8")


def _reference(schema: Path | None, file: Path) -> str:
    """A schema as the language server finds it from a file: a relative path, or a URL where spaces would end a path."""
    relative = os.path.relpath(schema, file.parent) if schema else str(SCHEMA_FILE)
    return (schema or SCHEMA_FILE).absolute().as_uri() if " " in relative else relative


def _write(file: Path, text: str) -> None:
    try:
        write_atomically(file, text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None
