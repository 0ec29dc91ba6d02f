"""The public names, and what importing the package costs, in modules loaded."""

import subprocess
import sys
from importlib import import_module

import pytest

import veridistill

PUBLIC = [
    "Candidate",
    "Completion",
    "Config",
    "Engine",
    "Message",
    "Plan",
    "Result",
    "Sampling",
    "Script",
    "ScriptedEngine",
    "Seed",
    "Verdict",
    "VeridistillError",
    "Vote",
    "build",
    "distil",
    "evaluate",
    "load_config",
    "open_engine",
    "run",
]
NOT_OURS = (
    "torch",
    "transformers",
    "trl",
    "pydantic",
    "yaml",
    "pyarrow",
    "numpy",
    "rich",
    "typer",
    "jinja2",
    "zstandard",
)


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_public_names_are_listed() -> None:
    assert sorted(veridistill.__all__) == PUBLIC
    assert len(PUBLIC) <= 20
    assert dir(veridistill) == sorted([*PUBLIC, "__version__"])


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_what_it_says(name: str) -> None:
    found = getattr(veridistill, name)
    assert found.__module__.startswith("veridistill.")
    assert found.__name__ == ("load" if name == "load_config" else name)
    assert getattr(import_module(found.__module__), found.__name__) is found


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Teacher'"):
        veridistill.Teacher  # noqa: B018


def test_importing_the_package_loads_the_standard_library_alone() -> None:
    assert not loaded_by("import veridistill") & set(NOT_OURS)
    assert not loaded_by("import veridistill.method, veridistill.records") & set(NOT_OURS)


def test_the_command_line_loads_no_model_library() -> None:
    loaded = loaded_by("import veridistill.cli, veridistill.runs.pipeline, veridistill.engines.scripted")
    assert not loaded & {
        "torch",
        "transformers",
        "trl",
        "datasets",
        "numpy",
        "pyarrow",
        "matplotlib",
        "scipy",
    }
