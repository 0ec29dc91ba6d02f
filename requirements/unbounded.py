"""Prints the requirements of pyproject.toml without their upper bounds: `make test-latest` tries what is newest."""

import re
import tomllib
from pathlib import Path

EXTRAS = ("local", "train", "endpoint", "ray", "eval", "report", "dev")
project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
names = [
    *project["dependencies"],
    *(name for extra in EXTRAS for name in project["optional-dependencies"][extra]),
]
for name in sorted({re.sub(r",?<=?[0-9.]+", "", name) for name in names if not name.startswith("torch")}):
    print(name)
