"""veridistill: Self-Verified Distillation. A language model improves itself from unlabeled questions.

The command `veridistill` does everything; these names are for programs that build on it. Importing this package loads
only the standard library, and neither torch nor transformers: each name is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veridistill.api import Result as Result
    from veridistill.api import build as build
    from veridistill.api import evaluate as evaluate
    from veridistill.api import run as run
    from veridistill.config import Config as Config
    from veridistill.config import load as load_config  # noqa: F401
    from veridistill.engines import open_engine as open_engine
    from veridistill.engines.base import Engine as Engine
    from veridistill.engines.scripted import Script as Script
    from veridistill.engines.scripted import ScriptedEngine as ScriptedEngine
    from veridistill.errors import VeridistillError as VeridistillError
    from veridistill.method import Plan as Plan
    from veridistill.method import distil as distil
    from veridistill.records import Candidate as Candidate
    from veridistill.records import Completion as Completion
    from veridistill.records import Message as Message
    from veridistill.records import Sampling as Sampling
    from veridistill.records import Seed as Seed
    from veridistill.records import Verdict as Verdict
    from veridistill.records import Vote as Vote

__version__ = "0.1.0"

# The module of each public name, and its name there if that differs.
_HOMES = {
    "Candidate": "records",
    "Completion": "records",
    "Config": "config",
    "Engine": "engines.base",
    "Message": "records",
    "Plan": "method",
    "Result": "api",
    "Sampling": "records",
    "Script": "engines.scripted",
    "ScriptedEngine": "engines.scripted",
    "Seed": "records",
    "Verdict": "records",
    "VeridistillError": "errors",
    "Vote": "records",
    "build": "api",
    "distil": "method",
    "evaluate": "api",
    "load_config": "config",
    "open_engine": "engines",
    "run": "api",
}
_RENAMED = {"load_config": "load"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
