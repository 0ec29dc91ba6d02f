"""The system calls that a program may make, as a classic BPF filter. Standard library only; `inside` loads it.

An allow list: what a contest program needs to compute, to read its input and to print. Not on it: another process
(fork, exec), signals to anyone, the network, other processes' memory, mounts, namespaces, files to be made, kernel
keys, io_uring, and all future calls. A denied call fails with EPERM where a program should learn of it,
else with ENOSYS, on which libraries fall back to an older call.
"""

import errno
import platform
import struct
from collections.abc import Sequence

__all__ = ["architecture", "filter_program"]

# The kernel's numbers: AUDIT_ARCH_*, and in the tables below those of x86-64 and of arm64 (- where it has none).
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_ALLOWED = """
read 0 63, write 1 64, close 3 57, fstat 5 80, lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, pread64 17 67, pwrite64 18 68,
readv 19 65, writev 20 66, access 21 -, pipe 22 -, select 23 -, sched_yield 24 124, mremap 25 216, mincore 27 232,
madvise 28 233, dup 32 23, dup2 33 -, nanosleep 35 101, getitimer 36 102, alarm 37 -, setitimer 38 103,
getpid 39 172, exit 60 93, uname 63 160, ftruncate 77 46, getdents64 217 61, getcwd 79 17, chdir 80 49,
readlink 89 -, gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174,
getgid 104 176, geteuid 107 175, getegid 108 177, getppid 110 173, sigaltstack 131 132, gettid 186 178, futex 202 98,
sched_getaffinity 204 123, set_tid_address 218 96, clock_gettime 228 113, clock_getres 229 114,
clock_nanosleep 230 115, exit_group 231 94, openat 257 56, newfstatat 262 79, readlinkat 267 78, faccessat 269 48,
faccessat2 439 439, pselect6 270 72, ppoll 271 73, poll 7 -, set_robust_list 273 99, epoll_create1 291 20,
epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, pipe2 293 59, dup3 292 24, eventfd2 290 19, getrandom 318 278,
statx 332 291, rseq 334 293, open 2 -, stat 4 -, lstat 6 -, sendto 44 206, recvfrom 45 207, membarrier 324 283,
restart_syscall 219 128
"""
_REFUSED = """
fork 57 -, vfork 58 -, execve 59 221, execveat 322 281, kill 62 129, tkill 200 130, tgkill 234 131, socket 41 198,
connect 42 203, ptrace 101 117, mount 165 40, unshare 272 97, setns 308 268
"""
_CLONE, _PRLIMIT, _SOCKETPAIR, _FCNTL, _IOCTL = (56, 220), (302, 261), (53, 199), (72, 25), (16, 29)
_CLONE_THREAD, _SOCK_TYPE, _SOCK_STREAM, _WHOLE = 0x0001_0000, 0xF, 1, 0xFFFF_FFFF
# Duplicates and flags of descriptors, the size of a pipe. Not F_SETOWN and F_SETSIG: with them a pipe that becomes
# readable sends any signal, SIGKILL too, to any process of the user.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030, 1032)
# TCGETS and TIOCGWINSZ (is it a terminal?), FIONREAD, FIONBIO, FIOCLEX, FIONCLEX. Not FIOSETOWN, nor typing for a user.
_IOCTL_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_X32 = 0x4000_0000


def architecture() -> str:
    """The machine's name if there is a filter for it, else ""."""
    return platform.machine() if platform.machine() in _ARCHITECTURES else ""


def filter_program(machine: str) -> bytes:
    """The filter as an array of `struct sock_filter`, for PR_SET_SECCOMP."""
    audit, column = _ARCHITECTURES[machine]
    refused = _RETURN, 0, 0, _ERRNO | errno.EPERM
    allowed = _RETURN, 0, 0, _ALLOW
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in _numbers(_ALLOWED, column):
        code += [(_EQUAL, 0, 1, number), allowed]
    for number in _numbers(_REFUSED, column):
        code += [(_EQUAL, 0, 1, number), refused]
    # Allowed for some uses: threads, a limit of one's own (pid 0), a pipe to oneself (a stream: a datagram could be
    # sent to any named socket), and of the last two what stands above.
    code += _where(_CLONE[column], 0, _CLONE_THREAD, (_CLONE_THREAD,))
    code += _where(_PRLIMIT[column], 0, _WHOLE, (0,))
    code += _where(_SOCKETPAIR[column], 1, _SOCK_TYPE, (_SOCK_STREAM,))
    code += _where(_FCNTL[column], 1, _WHOLE, _FCNTL_COMMANDS)
    code += _where(_IOCTL[column], 1, _WHOLE, _IOCTL_COMMANDS)
    code.append((_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _numbers(table: str, column: int) -> Sequence[int]:
    cells = (entry.split()[1 + column] for entry in table.split(","))
    return [int(cell) for cell in cells if cell != "-"]


def _where(number: int, argument: int, mask: int, values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Allow the call where its argument, masked, is one of the values.

    The argument's low 32 bits, that is: both machines are little-endian.
    """
    last = len(values)
    return [
        (_EQUAL, 0, last + 4, number),
        (_LOAD, 0, 0, 16 + 8 * argument),
        (_AND, 0, 0, mask),
        *((_EQUAL, last - index, 0, value) for index, value in enumerate(values)),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
