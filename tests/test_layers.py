"""Who may import whom, read off the package's source: a module imports its own layer and those below it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import veridistill

PACKAGE = Path(veridistill.__file__).parent

# From the bottom. A name stands for a module or for a package with all that is in it, unless a longer name is listed.
# METHOD and MECHANISM are siblings that never import each other: the method is handed an `ask`.
METHOD = {"cascade", "method"}
MECHANISM = {"calls", "data", "engines", "grading"}
LAYERS = [
    {"errors", "records", "lazy", "engines.base"},
    {"decide", "prompts", "domains", "grading.compare"},
    {"config"},
    METHOD | MECHANISM,
    {"training", "evaluation", "audit", "report", "lab"},
    {"runs"},
    {"view"},
    {"api", "cli"},
    {"__main__"},
]
HEAVY = {
    "torch",
    "transformers",
    "vllm",
    "ray",
    "trl",
    "datasets",
    "accelerate",
    "peft",
    "safetensors",
    "tokenizers",
}
HEAVY |= {"pyarrow", "numpy", "rich", "matplotlib", "scipy"}


@dataclass(frozen=True)
class Import:
    """`inside`: in a function."""

    module: str
    line: int
    inside: bool


class _Imports(ast.NodeVisitor):
    """The imports of one file; those for type checkers alone are left out."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self.depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self.found.append(Import(name.name, node.lineno, self.depth > 0))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "imports are absolute"
        for name in node.names:
            inner = f"{node.module}.{name.name}"
            self.found.append(
                Import(inner if is_module(inner) else str(node.module), node.lineno, self.depth > 0)
            )


def is_module(name: str) -> bool:
    path = PACKAGE.parent / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_of(path: Path) -> str:
    """ "engines.local", "engines" for a package, "" for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[Import]:
    visitor = _Imports()
    visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
    yield from visitor.found


def room(module: str) -> str | None:
    """The longest listed name that a module falls under."""
    names = {name for layer in LAYERS for name in layer}
    fitting = [name for name in names if module == name or module.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)


def layer(module: str) -> int:
    found = room(module)
    assert found is not None, f"veridistill.{module} belongs to no layer: add it to LAYERS"
    return next(number for number, names in enumerate(LAYERS) if found in names)


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if module_of(path)]


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_a_module_imports_no_higher_layer(path: Path) -> None:
    own = module_of(path)
    for found in imports(path):
        package, _, inner = found.module.partition(".")
        if package != "veridistill" or not inner:
            continue
        where = f"{path.name}:{found.line}: {own} imports {inner}"
        assert layer(inner) <= layer(own), where
        for one, other in ((METHOD, MECHANISM), (MECHANISM, METHOD)):
            assert not (room(own) in one and room(inner) in other), (
                f"{where}: siblings never import each other"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path) or "the root")
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    outside = {found.module for found in imports(path) if not found.inside}
    assert not {name for name in outside if name.partition(".")[0] in HEAVY}


@pytest.mark.parametrize("path", [p for p in FILES if layer(module_of(p) or "cli") == 0], ids=module_of)
def test_the_lowest_layer_needs_the_standard_library_alone(path: Path) -> None:
    for found in imports(path):
        assert found.module.partition(".")[0] in sys.stdlib_module_names | {"veridistill"}, found


def test_the_root_imports_nothing_of_ours() -> None:
    assert not [found for found in imports(PACKAGE / "__init__.py") if found.module.startswith("veridistill")]


def test_every_listed_room_exists() -> None:
    for name in (name for names in LAYERS for name in names):
        assert is_module(f"veridistill.{name}"), name
