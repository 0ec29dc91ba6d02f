"""`veridistill --help`: the commands in groups, each with its summary on one line."""

from typing import Any

from typer.core import TyperGroup


class Grouped(TyperGroup):
    """Lists commands under the group that each was added with (`rich_help_panel`), in the order of the groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        widest = max(len(name) for name in commands)
        for name, command in commands.items():
            group = getattr(command, "rich_help_panel", None) or "Commands"
            summary = command.get_short_help_str(formatter.width) if command else ""
            groups.setdefault(group, []).append((name.ljust(widest), summary))
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)
