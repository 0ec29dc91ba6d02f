"""The progress of a run for Prometheus (`--metrics PORT`): text exposition format 0.0.4, served on 127.0.0.1 alone.

`exposition` is pure and reads the record that `progress.json` has; the server answers GET /metrics and nothing else.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

from veridistill.errors import ConfigError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HOST = "127.0.0.1"


class _Family(NamedTuple):
    """A metric: where its values stand in a step's record, and which label each gets."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    label: str
    values: dict[str, tuple[str, ...]]


_STEP = (
    _Family("share_ratio", "gauge", "How far the step is, from 0 to 1.", "", {"": ("share",)}),
    _Family("seconds", "gauge", "Seconds since the step began.", "", {"": ("seconds",)}),
    _Family(
        "seconds_left", "gauge", "Seconds that are left, at least and at most.", "bound",
        {"low": ("seconds_left", "low"), "high": ("seconds_left", "high")},
    ),
    _Family("units_total", "counter", "Questions, attempts or optimizer steps done.", "", {"": ("done",)}),
    _Family("units_expected", "gauge", "Questions, attempts or optimizer steps in all.", "", {"": ("total",)}),
    _Family(
        "calls_total", "counter", "Model calls: answered by the engine, by the journal, or cancelled.", "outcome",
        {name: ("calls", name) for name in ("asked", "replayed", "cancelled")},
    ),
    _Family(
        "calls_expected", "gauge", "Model calls in all, at least and at most.", "bound",
        {"low": ("calls", "expected_low"), "high": ("calls", "expected_high")},
    ),
    _Family("calls_in_flight", "gauge", "Model calls in the engine now.", "", {"": ("calls", "in_flight")}),
    _Family("slots", "gauge", "Calls that may be in the engine at once.", "", {"": ("calls", "slots")}),
    _Family(
        "occupancy_ratio", "gauge", "Share of the slots in use over the last minute.", "", {"": ("calls", "occupancy")}
    ),
    _Family("votes_reasked_total", "counter", "Votes that were asked again.", "", {"": ("calls", "reasks")}),
    _Family(
        "retries_total", "counter", "Attempts of the engine after a call's first one.", "", {"": ("calls", "retries")}
    ),
    _Family(
        "candidates_total", "counter", "Candidates that were judged, and accepted ones among them.", "outcome",
        {"judged": ("candidates", "judged"), "accepted": ("candidates", "accepted")},
    ),
    _Family(
        "tokens_total", "counter", "Tokens: decoded, counted while they are; prompts of answered calls.", "kind",
        {"decoded": ("tokens", "decoded"), "prompt": ("tokens", "prompt")},
    ),
    _Family("cost", "gauge", "Money spent by the step, in the currency of cost.currency.", "", {"": ("cost", "spent")}),
)  # fmt: skip


def exposition(record: dict[str, Any]) -> str:
    """The record as metrics; steps are told apart by name and by their number in the process."""
    steps = [*record.get("steps", []), *([record] if record.get("state") == "running" else [])]
    named = [({"step": str(step["step"]), "number": str(n)}, step) for n, step in enumerate(steps, 1)]
    parts = [
        _family(f"veridistill_{one.name}", one.kind, one.help, list(_values(one, named))) for one in _STEP
    ]
    facts = [
        (labels | {"name": name}, value)
        for labels, step in named
        for name, value in step["facts"].items()
        if _is_number(value)
    ]
    parts.append(_family("veridistill_fact", "gauge", "What else a step says, such as kept or loss.", facts))
    parts += _process(record)
    return "".join(parts)


def _values(
    family: _Family, named: list[tuple[dict[str, str], dict[str, Any]]]
) -> Iterator[tuple[dict[str, str], Any]]:
    for labels, step in named:
        for value, path in family.values.items():
            yield labels | ({family.label: value} if value else {}), _at(step, path)


def _process(record: dict[str, Any]) -> Iterator[str]:
    memory = record.get("memory") or {"gpus": []}
    sizes = [({"of": name}, memory.get(name)) for name in ("process", "children")]
    yield _family("veridistill_memory_bytes", "gauge", "Memory of the process and of those under it.", sizes)
    gpus = [
        ({"gpu": str(n), "of": name}, gpu[name])
        for n, gpu in enumerate(memory["gpus"])
        for name in ("used", "total")
    ]
    yield _family("veridistill_gpu_memory_bytes", "gauge", "Memory of each GPU in use.", gpus)
    yield _family(
        "veridistill_updated_seconds",
        "gauge",
        "When these figures were taken, in seconds since the epoch.",
        [({}, record.get("updated_at"))],
    )


def _at(step: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = step
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _family(name: str, kind: str, said: str, values: list[tuple[dict[str, str], Any]]) -> str:
    lines = [
        f"{name}{_labels(labels)} {float(value)!r}".removesuffix(".0")
        for labels, value in values
        if _is_number(value)
    ]
    return "\n".join([f"# HELP {name} {said}", f"# TYPE {name} {kind}", *lines]) + "\n" if lines else ""


def _labels(labels: dict[str, str]) -> str:
    return (
        "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"
        if labels
        else ""
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def served(record: Callable[[], dict[str, Any]], port: int) -> Iterator[int]:
    """Serve the metrics while the block runs; `port` 0 takes a free one, which is returned.

    Raises `ConfigError` when the port cannot be used.
    """
    try:
        server = _Server((_HOST, port), _Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--metrics {port}: the port cannot be used ({error}); name another one") from None
    server.record = record
    thread = threading.Thread(target=server.serve_forever, name="veridistill-metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    record: Callable[[], dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        # A page on another site that resolves its name to this address must not read it.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (_HOST, "localhost") or self.path != "/metrics":
            self.send_error(404)
            return
        body = exposition(self.server.record()).encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: stderr is the run's own progress."""
