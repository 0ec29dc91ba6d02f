"""What runs inside the sandbox: a server that forks a child for each test, and the child that becomes the program.

Its source is handed to a bare interpreter, so it imports the standard library alone. The server confines itself, reads
frames on its standard input (first the program, then one test after another) and answers each test with what became of
the child and what it printed or returned. It never learns an expected output. The child is one process: it may make
threads, and no other process, file or connection.

A program may come with a driver, source that is run when the program is loaded, and two pipes by which that talks to
the caller. What they say to one another is left to `calling`.

A frame is 8 bytes of length, big-endian, and the data.
"""

import builtins
import contextlib
import ctypes
import errno
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import math
import os
import re
import resource
import select
import signal
import struct
import sys
import threading
import time
import types
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 4, 22, 38
# Landlock: system calls (the same on every machine), and access rights from ABI 1 on. Nothing but reading is granted.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR, _FIRST_RIGHTS = 1 << 2, 1 << 3, (1 << 13) - 1
_RIGHTS_BY_ABI = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP, _SCOPES = 0b11, 0b11
# What programs find imported, as on LiveCodeBench: modules by name, and all of the names of these and of typing.
_NAMED = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_STARRED = (*_NAMED, "typing")
_MAIN = "__main__"
_STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_TAIL = 4096
_TICK = 0.25
"""Seconds at most between two looks at the processor time of a program."""
OUT_OF_MEMORY = 112
"""The exit status of a program that ended because the kernel gave it no more memory."""


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, *arguments: Any) -> None:
    filled = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_LIBC.prctl(option, *filled), f"prctl {option}")


def read_only(paths: list[str], listed: list[str]) -> int:
    """A Landlock ruleset, as a descriptor: these paths may be read, those directories listed, and nothing else."""
    abi = _check(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1), "Landlock is not available")
    handled = _FIRST_RIGHTS
    for since, right in _RIGHTS_BY_ABI.items():
        handled |= right if abi >= since else 0
    # Files; from ABI 4 on TCP; from 6 on signals and abstract sockets to processes outside. The filter refuses all of
    # these too, and an older kernel knows a shorter attribute.
    attribute = struct.pack("=QQQ", handled, _TCP, _SCOPES)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _LIBC.syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint(0))
    _check(ruleset, "landlock_create_ruleset")
    for path in [*paths, *listed]:
        try:
            where = os.open(path, os.O_PATH)
        except FileNotFoundError:
            continue
        rights = _READ_DIR if os.path.isdir(path) else 0
        rights |= _READ_FILE if path in paths else 0
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, where))
        _check(_LIBC.syscall(_ADD_RULE, ruleset, 1, rule, ctypes.c_uint(0)), f"landlock_add_rule {path}")
        os.close(where)
    return int(ruleset)


def confine(settings: dict[str, Any]) -> None:
    """Give up what the server does not need: its user, its files."""
    ruleset = read_only(settings["readable"], settings["listed"]) if settings["readable"] else None
    if settings["uid"] is not None:
        os.setgroups([])
        os.setresgid(settings["uid"], settings["uid"], settings["uid"])
        os.setresuid(settings["uid"], settings["uid"], settings["uid"])
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)  # a change of user clears it
    _prctl(_SET_DUMPABLE, 0)  # a child of the same user can neither trace the server nor read its memory
    _prctl(_SET_NO_NEW_PRIVS, 1)
    if ruleset is not None:
        _check(_LIBC.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint(0)), "landlock_restrict_self")
        os.close(ruleset)


class Packages:
    """Finds packages in some directories, and there the named ones alone; None: all."""

    def __init__(self, folders: list[str], only: list[str] | None) -> None:
        self._folders = folders
        self._only = only

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is not None or not (self._only is None or name in self._only):
            return None
        return importlib.machinery.PathFinder.find_spec(name, self._folders)


def prelude() -> dict[str, Any]:
    """The names that a program starts with. Built-in names are never hidden: `pow` is not that of math."""
    names: dict[str, Any] = {}
    for module in map(
        importlib.import_module, _STARRED
    ):  # `sys` as it is now: with the program's own streams
        public = getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]
        names |= {name: getattr(module, name) for name in public}
    names = {name: value for name, value in names.items() if not hasattr(builtins, name)}
    return names | {name: importlib.import_module(name) for name in _NAMED}


def _read(descriptor: int) -> bytes | None:
    """The next frame, or None when the other side is gone."""
    head = _exactly(descriptor, 8)
    return None if head is None else _exactly(descriptor, struct.unpack(">Q", head)[0])


def _exactly(descriptor: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = os.read(descriptor, min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(struct.pack(">Q", len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _memory(data: bytes = b"") -> int:
    """A file in memory; it is the child's standard input, output, error or result. Above what a child inherits."""
    descriptor = os.memfd_create("t")
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _content(descriptor: int, start: int, most: int) -> bytes:
    """Up to `most` bytes of a file from `start` on."""
    pieces = []
    while most > 0 and (piece := os.pread(descriptor, most, start)):
        pieces.append(piece)
        start, most = start + len(piece), most - len(piece)
    return b"".join(pieces)


def _tail(descriptor: int) -> bytes:
    return _content(descriptor, max(0, os.fstat(descriptor).st_size - _TAIL), _TAIL)


def serve(settings: dict[str, Any]) -> None:
    """Answer tests until the other side is gone. In a child this returns when the program has ended."""
    control, answers = os.dup(0), os.dup(1)
    confine(settings)
    sys.meta_path.append(Packages(settings["folders"], settings["only"]))
    prelude()  # imported once, for all children
    program = json.loads(_read(control) or b"null")
    if program is None:
        os._exit(0)
    if re.search(r"\bnumpy\b", "".join(program["code"])):
        importlib.import_module("numpy") if importlib.util.find_spec("numpy") else None
    gc.freeze()
    _write(answers, b"ready")
    while (given := _read(control)) is not None:
        files = [_memory(given), _memory(), _memory(), _memory()]
        given = given if program["entry"] or program["driver"] else b""
        child = os.fork()
        if child == 0:
            become(program, given, files, settings)
            return
        report = watch(child, control, settings["cpu"])
        printed = _content(files[3] if program["entry"] else files[1], 0, settings["output"] + 1)
        size = max(os.fstat(files[1]).st_size, os.fstat(files[3]).st_size)
        report |= {"size": size, "stderr": _tail(files[2]).decode("utf-8", "replace")}
        for descriptor in files:
            os.close(descriptor)
        _write(answers, json.dumps(report).encode())
        _write(answers, printed)
    os._exit(0)


def watch(child: int, control: int, limit: float) -> dict[str, Any]:
    """Wait for the child's end, or go with it when the other side is gone. End it after `limit` processor seconds.

    No wall clock runs here: whether a program sleeps is seen from outside alone.
    """
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(control, 0)
    used = 0.0
    while not (events := dict(poll.poll(1 + 1000 * min(_TICK, max(0.0, limit - used))))):
        used = max(used, _processor_time(child))
        if used >= limit:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    if handle not in events:
        os._exit(0)  # the kernel kills a child whose server is gone
    os.close(handle)
    _, status, usage = os.wait4(child, 0)
    cpu, peak = max(used, usage.ru_utime + usage.ru_stime), usage.ru_maxrss << 10
    return {"code": os.waitstatus_to_exitcode(status), "cpu": cpu, "peak": peak}


def _processor_time(process: int) -> float:
    """Seconds that all threads of a process have run; 0 where its clock cannot be read, and the kernel's limit remains.

    The clock's number is that of clock_getcpuclockid(3): without /proc there is no other way to a live process's time.
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime((~process << 3) | 2)
    return 0.0


def become(program: dict[str, Any], given: bytes, files: list[int], settings: dict[str, Any]) -> None:
    """Turn this fresh child into the program. Standard output is a file, so the program never waits for a reader."""
    files = [*files[:3], *program["pipes"]] if program["driver"] else files
    for number, descriptor in enumerate([os.dup(one) for one in files]):
        os.dup2(descriptor, number)
    # The way to Python (3 where there is none such) stays open; the server's own channels do not.
    os.closerange(len(files), settings["keep"])
    os.closerange(max(len(files), settings["keep"] + 1), 256)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = open(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    limit(settings)
    sys.setrecursionlimit(50_000)
    sys.set_int_max_str_digits(0)
    threading.stack_size(8 << 20)
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    filter_calls(bytes.fromhex(settings["filter"]))
    sys.argv = ["program.py"]
    main = types.ModuleType("program" if program["driver"] else _MAIN)
    main.__dict__.update({} if program["driver"] else prelude(), open=_open)
    sys.modules[main.__name__] = main
    try:
        for text in program["code"]:
            exec(compile(text, "program.py", "exec", dont_inherit=True), main.__dict__)
        if program["driver"]:
            drive(program["driver"], main, given)
        elif program["entry"]:
            answer(main, program["entry"], given)
    except SystemExit:
        raise
    except BaseException as error:
        _show(error)


def limit(settings: dict[str, Any]) -> None:
    """Limits of one process are limits of the program: it has no other."""
    memory, output, cpu = settings["memory"], settings["output"] + 1, kernel_cpu(settings["cpu"])
    # What is above the soft limit is for printing the traceback of a MemoryError.
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory + (64 << 20)))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (output, output))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    threads = settings["threads"] if most == resource.RLIM_INFINITY else min(settings["threads"], most)
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def kernel_cpu(limit: float) -> int:
    """The kernel's limit in processor seconds, for a program that `watch` does not end.

    The kernel compares time sampled at its ticks, which on a busy machine exceeds the time used, by a fifth or more.
    """
    return math.ceil(2 * limit) + 1


def filter_calls(code: bytes) -> None:
    """Load the seccomp filter; the process keeps it for good."""
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    _prctl(_SET_SECCOMP, 2, program)


def _open(file: Any, *arguments: Any, **options: Any) -> Any:
    """`open`, for which the names of standard input are it though there is no /proc."""
    return open(os.dup(0) if file in _STDIN else file, *arguments, **options)


def drive(driver: str, main: types.ModuleType, given: bytes) -> None:
    """Answer calls of the program, or, where a test is given, run that."""
    module = types.ModuleType("driver")
    exec(compile(driver, "driver.py", "exec", dont_inherit=True), module.__dict__)
    if given:
        module.examine(given)
    else:
        module.answer(main)


def answer(main: types.ModuleType, entry: str, given: bytes) -> None:
    """Call the entry with one argument a line and leave the result, as JSON, in descriptor 3.

    The process ends at once: threads that the program left are ignored.
    """
    arguments = [json.loads(line) for line in given.decode("utf-8").split("\n")]
    solution = getattr(main, "Solution", None)
    call = getattr(main, entry) if solution is None else getattr(solution(), entry)
    result = call(*arguments)
    # As on LiveCodeBench a tuple is a list, but not within a result: no JSON is equal to one there.
    plain = _plain(list(result) if type(result) is tuple else result)
    rest = memoryview(json.dumps(plain).encode())
    while rest:
        rest = rest[os.write(3, rest) :]
    os._exit(0)


def _plain(value: Any) -> Any:
    """The value in JSON's types, by exact type: an object that claims to equal everything is none of them."""
    kind = type(value)
    if kind in (type(None), bool, int, float, str):
        return value
    if kind is list:
        return [_plain(item) for item in value]
    if kind.__module__ == "collections" and issubclass(kind, dict):
        kind, value = dict, dict(value)
    if kind is dict and all(type(key) is str for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if kind.__module__ == "numpy" and kind.__name__ != "ndarray":
        return _plain(value.item())  # a number of NumPy's; an array is equal to no list
    raise TypeError(f"the result is or holds a {kind.__name__}, which JSON cannot express")


def _show(error: BaseException) -> None:
    """Print the traceback without our own frame, and end with status 1, or with that of memory."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    refused = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    trace = error.__traceback__
    own = trace.tb_next if trace else None
    try:
        sys.__excepthook__(type(error), error.with_traceback(own), own)
    except MemoryError:
        refused = True
    sys.exit(OUT_OF_MEMORY if refused else 1)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
