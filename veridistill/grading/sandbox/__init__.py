"""Running a program that a model wrote in a sandbox: one sandbox per program, one fresh process per test.

    interpreter   the Python, and the packages, that programs see
    backends      the ways to confine a process: bubblewrap, Landlock
    seccomp       the filter of system calls
    inside        what runs in the sandbox: a server, and the process that becomes the program
    process       starting a sandbox, running tests in it, and each test's result
    probe         finding a confinement that works on this machine, by attacking it once

Comparing outputs is left to `grading.programs`: expected outputs never come here.
"""

from veridistill.grading.sandbox.backends import BACKENDS, Backend, Command, Limits
from veridistill.grading.sandbox.interpreter import Interpreter
from veridistill.grading.sandbox.probe import Confinement, confinement, probe
from veridistill.grading.sandbox.process import Ending, Run, Sandbox, opened

__all__ = [
    "BACKENDS",
    "Backend",
    "Command",
    "Confinement",
    "Ending",
    "Interpreter",
    "Limits",
    "Run",
    "Sandbox",
    "confinement",
    "opened",
    "probe",
]
