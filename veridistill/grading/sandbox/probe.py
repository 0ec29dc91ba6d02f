"""Finding a confinement that works on this machine: each is attacked once, by a job that must be contained."""

import json
import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from veridistill.errors import ConfigError
from veridistill.grading.sandbox.backends import BACKENDS, Backend, Limits
from veridistill.grading.sandbox.interpreter import Interpreter
from veridistill.grading.sandbox.process import Run, opened

__all__ = ["Confinement", "confinement", "probe"]

_JOB = """
import json, os, socket, sys, threading
def tried(attack):
    try:
        return bool(attack())
    except (OSError, RuntimeError):
        return False
def thread():
    one = threading.Thread(target=list); one.start(); one.join(); return True
def connect():
    with socket.socket() as s: s.settimeout(1); s.connect(("127.0.0.1", PORT)); return True
def numpy():
    try:
        import numpy
    except ImportError:
        return ""
    return numpy.__version__
ways = dict(network=connect, file=lambda: open(CANARY).read(), processes=lambda: os.kill(PID, 0) or True,
            writing=lambda: open("/tmp/veridistill-probe", "w"), fork=lambda: os.fork() >= 0,
            root=lambda: os.geteuid() == 0, secrets=lambda: "VERIDISTILL_PROBE" in os.environ,
            environment=lambda: open("/proc/%d/environ" % PID, "rb").read())
print(json.dumps({"thread": tried(thread), "escaped": [n for n, w in ways.items() if tried(w)],
                  "version": sys.version.split()[0], "numpy": numpy()}))
"""


@dataclass(frozen=True)
class Confinement:
    """A way that was tried and holds, and the versions of Python and NumPy that programs found there.

    `numpy` is empty where there is none.
    """

    name: str
    way: Backend
    python: Interpreter
    version: str
    numpy: str


async def confinement(python: Interpreter, names: Sequence[str] = tuple(BACKENDS)) -> Confinement:
    """The first way that runs a job and contains it. Raises `ConfigError` that says what each lacks."""
    faults = []
    for name in names:
        found = await probe(name, python)
        if isinstance(found, Confinement):
            return found
        faults.append(f"{name}: {found}")
    raise ConfigError(
        "programs cannot be run safely here ("
        + "; ".join(faults)
        + "); install bubblewrap (apt install bubblewrap, or pip install 'veridistill[eval]') on a Linux that lets"
        " this user make namespaces, or use a kernel with Landlock"
    )


async def probe(name: str, python: Interpreter) -> Confinement | str:
    """Attack a sandbox of a backend once: what it holds when it runs a job and contains it, else what is wrong."""
    way = BACKENDS[name]
    try:
        done = await _attacked(way, python)
    except (OSError, EOFError) as error:
        return str(error) or type(error).__name__
    if done.ending != "exited":
        return f"the job ended as {done.ending}: {done.error[-200:]}"
    found: dict[str, Any] = json.loads(done.output)
    if found["escaped"]:
        return f"not contained: {', '.join(found['escaped'])}"
    if not found["thread"]:
        return "programs cannot start threads"
    return Confinement(name, way, python, found["version"], found["numpy"])


async def _attacked(way: Backend, python: Interpreter) -> Run:
    with tempfile.NamedTemporaryFile() as canary, socket.create_server(("127.0.0.1", 0)) as server:
        canary.write(b"canary")
        canary.flush()
        os.chmod(canary.name, 0o644)
        known = f"PORT, CANARY, PID = {server.getsockname()[1]}, {canary.name!r}, {os.getpid()}\n"
        async with opened(way, Limits(), python=python) as sandbox:
            await sandbox.load(known + _JOB, None)
            return await sandbox.run(b"")
