"""Ways out of a sandbox that need more than one step: signals by descriptor, forged answers, other system call tables.

One-step attacks are `test_sandbox`'s. Each runs on every way of confinement that works here.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.grading.runs import QUICK, runs
from veridistill.grading import sandbox
from veridistill.grading.programs import Programs
from veridistill.grading.sandbox import Interpreter, Limits, opened
from veridistill.grading.sandbox.backends import BACKENDS, Backend, Command
from veridistill.records import Grade

# A pipe that becomes readable sends the signal of F_SETSIG to the process of F_SETOWN.
SIGNAL = """
import fcntl, os, signal, struct, time
O_ASYNC, F_SETSIG, F_SETOWN_EX, FIOSETOWN = 0o20000, 10, 15, 0x8901
def tried(attack):
    try:
        attack()
    except OSError:
        return "refused"
    return "ALLOWED"
r, w = os.pipe()
who = struct.pack("i", {who})
print(tried(lambda: fcntl.fcntl(r, fcntl.F_SETOWN, {who})),
      tried(lambda: fcntl.fcntl(r, F_SETOWN_EX, struct.pack("ii", 1, {who}))),
      tried(lambda: fcntl.fcntl(r, F_SETSIG, signal.SIGKILL)),
      tried(lambda: fcntl.ioctl(r, FIOSETOWN, who)), flush=True)
fcntl.fcntl(r, fcntl.F_SETFL, os.O_NONBLOCK | O_ASYNC)
os.write(w, b"x")
time.sleep(0.2)
print("end")
"""


def test_no_process_is_signalled_through_a_descriptor(way: Backend) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        for who in ("os.getppid() or 1", str(bystander.pid), "-1"):
            for done in runs(way, SIGNAL.replace("{who}", who), "", ""):
                assert (done.ending, done.output) == ("exited", b"refused refused refused refused\nend\n"), (
                    done
                )
        assert bystander.poll() is None


def test_only_the_programs_own_descriptors_are_open(way: Backend) -> None:
    code = (
        "import os, stat\nfound = []\n"
        "for number in range(1000):\n"
        "  try: mode = os.fstat(number).st_mode\n"
        "  except OSError: continue\n"
        "  if number > 3 and not stat.S_ISDIR(mode): found.append((number, oct(mode)))\n"
        "print(found)"
    )
    assert runs(way, code)[0].output == b"[]\n"


def test_a_forged_answer_reaches_nobody(way: Backend) -> None:
    report = json.dumps({"code": 0, "peak": 0, "cpu": 0, "size": 1, "stderr": ""}).encode()
    frames = b"".join(len(one).to_bytes(8, "big") + one for one in (report, b"forged"))
    code = (
        f"import os\nframes = {frames!r}\n"
        "for number in range(3, 300):\n"
        "  try: os.write(number, frames)\n"
        "  except OSError: pass\n"
        "print(input())"
    )
    found = runs(way, code, "one", "two")
    assert [(one.ending, one.output) for one in found] == [("exited", b"one\n"), ("exited", b"two\n")]


MACHINE_CODE = {
    # mov eax, 20; int 0x80: getpid of the 32-bit table
    "32-bit calls": bytes.fromhex("b814000000cd80c3"),
    # mov eax, 0x40000027; syscall: getpid of x32
    "x32 calls": bytes.fromhex("b8270000400f05c3"),
    # mov eax, 57; syscall: fork of the 64-bit table, without the C library
    "fork without the library": bytes.fromhex("b8390000000f05c3"),
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="machine code of x86-64")
@pytest.mark.parametrize("code", MACHINE_CODE.values(), ids=list(MACHINE_CODE))
def test_machine_code_finds_no_other_table_of_system_calls(way: Backend, code: bytes) -> None:
    program = (
        "import ctypes, mmap\n"
        "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        f"page.write({code!r})\n"
        "where = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "print('achieved' if ctypes.CFUNCTYPE(ctypes.c_int)(where)() >= 0 else 'refused')"
    )
    (done,) = runs(way, program)
    killed = (done.ending, done.error) == ("failed", f"killed by signal {signal.SIGSYS}")
    assert killed or done.output == b"refused\n", done


SEARCH = """
import gc, os, re, sys
def search():
    texts = [repr([sys.argv, sys.orig_argv, dict(os.environ)])]
    for one in gc.get_objects():
        texts += map(repr, gc.get_referents(one))
    frame = sys._getframe()
    while frame:
        texts.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    return next(iter(re.findall("token-[0-9a-f]{32}", "".join(texts))), "nothing")
"""


def test_an_expected_output_is_nowhere_in_the_sandbox() -> None:
    token = f"token-{secrets.token_hex(16)}"

    def tests(given: str, entry: str | None) -> str:
        wanted = json.dumps(token) if entry else token
        kind = "functional" if entry else "stdin"
        return json.dumps({"kind": kind, "entry": entry, "cases": [{"input": given, "output": wanted}]})

    async def graded() -> list[Grade]:
        async with Programs(1, QUICK) as programs:
            return [
                await programs.grade(SEARCH + "print(search())", tests("given", None)),
                await programs.grade(SEARCH + "def f(given): return search()", tests('"given"', "f")),
                await programs.grade(SEARCH + "def f(given): return search()", tests(json.dumps(token), "f")),
            ]

    printed, returned, told = asyncio.run(graded())
    assert (printed.outcome, printed.error) == ("wrong", "test 1 of 1: the output differs")
    assert (returned.outcome, returned.error) == ("wrong", "test 1 of 1: the output differs")
    assert told.outcome == "pass", "the search finds what is there"


def test_memory_that_outlives_its_mapping_is_refused(way: Backend) -> None:
    """Shared segments and files in memory would not count as the program's address space."""
    code = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "try: print(os.memfd_create('x') < 0)\n"
        "except OSError: print('refused')\n"
        "print(libc.shmget(0, 1 << 20, 0o1600), libc.shm_open(b'/x', 66, 0o600))"
    )
    assert runs(way, code)[0].output == b"refused\n-1 -1\n"


def test_a_sandbox_leaves_no_file_behind(way: Backend) -> None:
    places = [Path(place) for place in ("/tmp", "/dev/shm", "/var/tmp") if Path(place).is_dir()]
    name = f"veridistill-left-{os.getpid()}"
    attempts = "\n".join(f"try: open({str(place / name)!r}, 'w')\nexcept OSError: pass" for place in places)
    assert runs(way, attempts)[0].ending == "exited"
    assert not [place for place in places if (place / name).exists()]


def test_the_terminals_signals_do_not_reach_a_sandbox(way: Backend) -> None:
    async def sessions() -> set[int]:
        async with opened(way, QUICK) as box:
            await box.load("input()", None)
            return {os.getsid(child.pid) for child in psutil.Process().children(recursive=True)}

    found = asyncio.run(sessions())
    assert found
    assert os.getsid(0) not in found


def test_a_way_that_does_not_start_is_reported_without_noise(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(python: Interpreter, limits: Limits, worker: int) -> Command:
        return Command(("/bin/sh", "-c", "echo no permissions >&2; exit 1"), {})

    monkeypatch.setitem(BACKENDS, "dead", dead)
    told = [asyncio.run(sandbox.probe("dead", Interpreter.own())) for _ in range(20)]
    assert told == ["no permissions"] * 20
    assert not caplog.records


def test_a_server_that_hangs_is_ended_too(way: Backend) -> None:
    async def stopped() -> list[psutil.Process]:
        async with opened(way, QUICK) as box:
            await box.load("while True: pass", None)
            below = psutil.Process().children(recursive=True)
            for one in below:
                one.send_signal(signal.SIGSTOP)
        return below

    async def in_time() -> list[psutil.Process]:
        async with asyncio.timeout(20):
            return await stopped()

    below = asyncio.run(in_time())
    assert below
    _, alive = psutil.wait_procs(below, timeout=10)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
