"""Help pages: grouped commands with whole summaries, and examples that parse, in 80 columns."""

import shlex
from typing import Any

import pytest
import typer

from tests.commands import veridistill
from veridistill import cli

GROUP: Any = typer.main.get_command(cli.app)
COMMANDS = {name: one for name, one in GROUP.commands.items() if name != "lab"}
COMMANDS |= {f"lab {name}": one for name, one in GROUP.commands["lab"].commands.items()}


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_commands_come_in_groups_with_their_summaries() -> None:
    lines = veridistill("--help").out.splitlines()
    assert [line for line in lines if line in {f"{name}:" for name in cli.COMMANDS}] == [
        f"{name}:" for name in cli.COMMANDS
    ]
    listed = lines[lines.index("Run:") :]
    for name in GROUP.commands:
        (line,) = [line for line in listed if line.startswith(f"  {name} ")]
        assert line.endswith("."), "a summary is one sentence that fits the line"
        assert not line.endswith("...")
        assert len(line) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_examples_that_parse(name: str) -> None:
    shown = veridistill(*name.split(), "--help").out.splitlines()
    assert max(map(len, shown)) <= 80
    examples = shown[shown.index("  Examples:") + 1 :]
    examples = [line.strip() for line in examples[: examples.index("")]]
    assert any(line.startswith(f"veridistill {name}") for line in examples)
    for line in examples:
        program, *words = shlex.split(line.partition(" > ")[0].partition(" < ")[0])
        assert program == "veridistill"
        command = GROUP
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not GROUP
        command.make_context("veridistill", words)
