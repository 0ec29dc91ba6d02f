"""`veridistill doctor`: how a server behaves, found out by sending it requests.

Documentation says what servers should do; this says what one does. It finds the server's model, runs the `checks` and
renders their report. A run uses none of it: the engine finds out for itself what it has to know.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from veridistill.engines.endpoint.aimd import Width
from veridistill.engines.endpoint.checks import Check, Examination
from veridistill.engines.endpoint.open import context_length, listing
from veridistill.engines.endpoint.pool import Server
from veridistill.engines.endpoint.wire import Key, base_url, open_session

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one server, in the order in which they were made."""

    url: str
    model: str
    checks: tuple[Check, ...]


def render(report: Report) -> str:
    """The report for a terminal: one line a check, the advice under it."""
    width = max(len(check.name) for check in report.checks)
    lines = [f"{report.url}  model {report.model or 'unknown'}"]
    for check in report.checks:
        lines.append(f"{check.status:<8}{check.name:<{width + 2}}{check.found}")
        if check.advice:
            lines.append(" " * (width + 10) + f"-> {check.advice}")
    return "\n".join(lines)


async def examine(url: str, model: str | None = None, api_key_env: str = "VERIDISTILL_API_KEY") -> Report:
    """Send a server about forty small requests, one after another. Raises `ConfigError` for an invalid address.

    `model` may be left out where the server lists one model alone.
    """
    key = Key.of(api_key_env)
    server = Server(base_url(url), Width(1))
    async with open_session(key) as session:
        first, name = await _model(session, server, model, key)
        if not name:
            return Report(server.url, model or "", (first,))
        found = [first, *await Examination(session, server, name, key).run()]
    return Report(server.url, name, tuple(found))


async def _model(
    session: "aiohttp.ClientSession", server: Server, model: str | None, key: Key
) -> tuple[Check, str]:
    """The first check, and the name to go on with; none where nothing can be asked."""
    models = await listing(session, server, key)
    if isinstance(models, str):
        return Check("model", "fail", models), ""
    names = [str(entry.get("id")) for entry in models or ()]
    name = model or (names[0] if len(names) == 1 else "")
    if not name or (names and name not in names):
        shown = ", ".join(names) or "no model"
        return Check("model", "fail", f"it lists {shown}", _NAMELESS if names else _LISTLESS), ""
    for entry in models or ():
        if entry.get("id") == name:
            server.owner, server.context = str(entry.get("owned_by", "")), context_length(entry)
    by = f", served by {server.owner}" if server.owner else ""
    return Check("model", "ok", f"{name}{by}", f"engine.served_name={name}"), name


_NAMELESS = "name the one that is meant with --model"
_LISTLESS = (
    "is this an OpenAI-compatible server's base URL (mostly .../v1)? If it lists none, name one with --model"
)
