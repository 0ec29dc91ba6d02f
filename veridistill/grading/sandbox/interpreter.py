"""The Python that graded programs run on, and the packages that they may import.

By default the Python that runs veridistill, less its virtual environment, and of its packages those that LiveCodeBench
answers expect. `evaluation.program_python` names another one, whose packages are then all visible.
"""

import asyncio
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from veridistill.errors import ConfigError

__all__ = ["PACKAGES", "Interpreter"]

PACKAGES = ("numpy", "sortedcontainers")
"""Packages that programs may import by default, where they are installed beside veridistill."""
_LIBRARIES = {"numpy": ("numpy", "numpy.libs")}
"""A package's directories, where there is more than one of the package's own name."""
_OLDEST = (3, 11)
_SECONDS = 60.0
_DESCRIBE = """
import json, os, site, sys, sysconfig
executable = getattr(sys, "_base_executable", None) or sys.executable
folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
print(json.dumps({"version": sys.version_info[:3], "executable": executable,
                  "prefixes": [sys.base_prefix, sys.base_exec_prefix], "folders": sorted(folders)}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python by absolute paths, without symbolic links.

    `prefixes` hold the executable (the first of them) and the standard library. `folders` are searched for packages;
    `packages` are the paths in them that can be read. `only` names the packages that may be imported, None: all.
    """

    executable: str
    prefixes: tuple[str, ...]
    folders: tuple[str, ...]
    packages: tuple[str, ...]
    only: tuple[str, ...] | None = None

    @staticmethod
    def own() -> "Interpreter":
        """The Python that runs veridistill. Other packages of its environment stay out of sight."""
        return _own()

    @staticmethod
    async def at(path: str) -> "Interpreter":
        """The Python at `path`, with all of its packages. Raises `ConfigError` when it does not run or is too old."""
        found = await _described(path)
        version = tuple(found["version"])
        if version < _OLDEST:
            raise ConfigError(
                f"evaluation.program_python={path} is Python {_dotted(version)}; programs are run with Python"
                f" {_dotted(_OLDEST)} or later"
            )
        folders = tuple(os.path.realpath(one) for one in found["folders"] if os.path.isdir(one))
        return Interpreter(os.path.realpath(found["executable"]), _real(found["prefixes"]), folders, folders)


@cache
def _own() -> Interpreter:
    found = {
        name: spec.origin for name in PACKAGES if (spec := importlib.util.find_spec(name)) and spec.origin
    }
    packages = []
    for name, origin in found.items():
        folder = Path(origin).resolve().parent.parent
        packages += [str(folder / one) for one in _LIBRARIES.get(name, (name,)) if (folder / one).is_dir()]
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    folders = tuple(sorted({os.path.dirname(package) for package in packages}))
    return Interpreter(
        executable, _real([sys.base_prefix, sys.base_exec_prefix]), folders, tuple(packages), PACKAGES
    )


def _real(paths: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(os.path.realpath, paths)))


async def _described(path: str) -> dict[str, Any]:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *("-I", "-c", _DESCRIBE),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
        found = json.loads(said)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"evaluation.program_python={path} does not run as a Python ({str(error) or type(error).__name__});"
            " give the path of an interpreter, for example .venv/bin/python"
        ) from None
    assert isinstance(found, dict)
    return found


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
