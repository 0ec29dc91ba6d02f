"""The exception tree. Users see these without a traceback; anything else is a bug and is shown with one.

    VeridistillError
    ├── ConfigError          usage, configuration or input data: exit 2
    │   └── MissingExtra     an optional dependency is not installed
    ├── RunLocked            another process holds the run directory: exit 5
    ├── Incomplete           stopped before the end; the same command resumes: exit 3
    │   ├── EngineDown       the engine or every endpoint is gone
    │   └── BudgetReached    a limit of `limits` was reached
    ├── QualityLimit         finished, but the result must not be used as it is: exit 4
    └── RequestRefused       one request was refused (too long, filtered); never ends a run

Each message says what is wrong, the value found and what to do.
"""


class VeridistillError(Exception):
    """Base of every error that is meant for the user; `exit_code` is the process's exit status."""

    exit_code = 1


class ConfigError(VeridistillError):
    exit_code = 2


class MissingExtra(ConfigError, ImportError):
    pass


class RunLocked(VeridistillError):
    exit_code = 5


class Incomplete(VeridistillError):
    exit_code = 3


class EngineDown(Incomplete):
    pass


class BudgetReached(Incomplete):
    pass


class QualityLimit(VeridistillError):
    exit_code = 4


class RequestRefused(VeridistillError):
    """`context`: the context length, in tokens, that the request was too long for, as `Completion.context` has it."""

    context: int | None = None

    @classmethod
    def too_long(cls, message: str, context: int | None) -> "RequestRefused":
        refusal = cls(message)
        refusal.context = context or 0
        return refusal


def missing_extra(needs: str, extra: str) -> MissingExtra:
    """The error for a part whose optional dependency is missing, with the command that installs it."""
    return MissingExtra(f"{needs} needs packages that are not installed: pip install 'veridistill[{extra}]'")
