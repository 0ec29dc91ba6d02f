"""The tests of a function written as Python: what they are, what is wrong with them, and what runs in which process.

A test is any Python that raises when the program is wrong, `assert f(2) == 4` or a whole `check(candidate)`. Nothing is
run here. The program runs in one process and the tests in another, where the program's names are stand-ins that send
each call over (`sandbox.calling`); so this decides which names those are. Running both is left to `programs`.
"""

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asserts", "asserts_of", "called", "faults", "record_of"]

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_TEXTS = ("setup", "prompt", "solution")


@dataclass(frozen=True, slots=True)
class Asserts:
    """`entry` is the function that the question asks for. `prompt` is code that a program completes: definitions ahead
    of the entry's, which the tests may use too, and the entry's beginning. `setup` runs before the tests. `solution` is
    a program that is known to be right, if there is one.
    """

    entry: str
    tests: tuple[str, ...] = field(repr=False)
    setup: str = field(default="", repr=False)
    prompt: str = field(default="", repr=False)
    solution: str = field(default="", repr=False)

    @property
    def size(self) -> int:
        """Characters."""
        return sum(map(len, (*self.tests, self.setup, self.prompt, self.solution)))

    def program(self, code: str) -> list[str]:
        """A reply's code as texts to be run one after another in one module.

        Code that does not define the entry may be the rest of the prompt: it is put behind it where that gives Python.
        """
        if not self.prompt:
            return [code]
        if self.entry not in _defined(code):
            for body in (code, _indented(code), "    " + code):
                if not _syntax(whole := f"{self.prompt.rstrip()}\n{body}"):
                    return [whole]
        return [self._preamble(), code]

    def steps(self) -> list[str]:
        """What the tests' own process runs before the tests."""
        lacking = self._used() - self.stand_ins()
        return [self._preamble(), _imports(self.solution, lacking), self.setup]

    def stand_ins(self) -> frozenset[str]:
        """The program's names that the tests use: the entry, and what else the solution defines.

        Without a solution, every name that nothing else defines.
        """
        others = _defined(self.solution, _DEFINITIONS) if self.solution else self._used() - set(dir(builtins))
        return frozenset({self.entry} | (self._used() & others)) - _defined(self._preamble())

    def _preamble(self) -> str:
        """What the prompt has beside the entry: imports and other functions."""
        found = _parsed(self.prompt)
        kept = [node for node in found.body if getattr(node, "name", "") != self.entry] if found else []
        return ast.unparse(ast.Module(kept, []))

    def _used(self) -> frozenset[str]:
        """The names that the setup and the tests take from elsewhere."""
        tables = [symtable.symtable(text, "tests", "exec") for text in (self.setup, *self.tests)]
        symbols = [one for table in tables for one in table.get_symbols()]
        own = {one.get_name() for one in symbols if one.is_assigned() or one.is_imported()}
        taken = {name for table in tables for name in _globals(table)}
        return frozenset(taken - own - _defined(self._preamble()))


def record_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record of tests that are a bare list, with what stands beside them."""
    beside = {name: fields[name] for name in ("entry", "tests", *_TEXTS) if name in fields}
    return {"kind": "asserts"} | beside


def asserts_of(record: dict[str, Any]) -> Asserts:
    """The tests of a record `{kind, entry, tests, setup, prompt, solution}`. Raises `ValueError` as `faults` says."""
    if found := faults(record):
        raise ValueError("; ".join(found))
    texts = {name: record.get(name) or "" for name in _TEXTS}
    return Asserts(record["entry"], tuple(record["tests"]), **texts)


def faults(record: dict[str, Any], names: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with tests, each with its field; empty when they can be run. `names`: other names of the fields."""
    called = {one: (names or {}).get(one, one) for one in ("entry", "tests", *_TEXTS)}
    entry, tests = record.get("entry"), record.get("tests")
    found = []
    if not (isinstance(entry, str) and entry.isidentifier()):
        found.append(f"{called['entry']} must name the function that the tests call; found {entry!r:.200}")
    if not (isinstance(tests, list) and tests and all(isinstance(one, str) and one.strip() for one in tests)):
        found.append(f"{called['tests']} must be a non-empty list of Python texts; found {tests!r:.200}")
        tests = []
    for name in _TEXTS:
        value = record.get(name) or ""
        if not isinstance(value, str):
            found.append(f"{called[name]} must be Python text; found {value!r:.200}")
        elif fault := _syntax(value):
            found.append(f"{called[name]} is not Python: {fault}")
    for number, test in enumerate(tests, 1):
        if fault := _syntax(test):
            found.append(f"{called['tests']}: item {number} is not Python: {fault}; found {test!r:.200}")
    return found or list(_undefined(record, called))


def called(tests: Sequence[str], solution: str) -> str:
    """The function of a solution that the tests call first; empty where they call none."""
    known = _defined(solution)
    for node in (node for test in tests if (tree := _parsed(test)) for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            return node.func.id
    return ""


def _undefined(record: dict[str, Any], called: Mapping[str, str]) -> Iterator[str]:
    """Where a text that must define or use the entry does not."""
    entry = record["entry"]
    for name in ("prompt", "solution"):
        text = record.get(name) or ""
        if text and entry not in _defined(text):
            yield f"{called[name]} does not define {entry}, which {called['entry']} names"
    texts = (record.get("setup") or "", *record["tests"])
    if not any(entry in _globals(symtable.symtable(text, "tests", "exec")) for text in texts):
        yield f"{called['tests']}: none uses {entry}, which {called['entry']} names"


def _syntax(text: str) -> str:
    """Why a text does not compile, or nothing."""
    try:
        compile(text, "tests", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"{getattr(error, 'msg', error)} (line {getattr(error, 'lineno', None) or 1})"
    return ""


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(text: str, kinds: tuple[type[ast.stmt], ...] = ()) -> frozenset[str]:
    """The names that a program's top level defines by statements of these kinds, by default of any.

    Text that is not Python defines none.
    """
    found = _parsed(text)
    body = [node for node in found.body if not kinds or isinstance(node, kinds)] if found else []
    return frozenset(name for node in body for name in _names(node))


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, _DEFINITIONS):
        yield node.name
    elif isinstance(node, _IMPORTS):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    else:
        yield from (
            one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        )


def _imports(text: str, wanted: Iterable[str]) -> str:
    """The import statements of a program that define one of the wanted names."""
    found = _parsed(text)
    body = [node for node in found.body if isinstance(node, _IMPORTS)] if found else []
    return "\n".join(ast.unparse(node) for node in body if set(_names(node)) & set(wanted))


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that code and the functions in it take from the module or from the built-in ones."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _indented(code: str) -> str:
    return "\n".join("    " + line if line.strip() else line for line in code.split("\n"))
