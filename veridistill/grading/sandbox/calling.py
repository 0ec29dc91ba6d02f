"""Calls between two sandboxed processes: a program answers them, and the tests make them by stand-ins.

Its source is handed to both processes, so it imports the standard library alone. What travels is JSON: plain values, by
tags where JSON has no such type. Nothing that comes from the program is executed, and in the tests' process it consists
of built-in types alone: an object that claims to equal everything stays behind. Of a value that cannot travel the tests
get a number, through which they may use it and hand it back, but never compare it.

A frame is 8 bytes of length, big-endian, and the data. The tests' frames begin with C (a call) or V (the verdict).
"""

import builtins
import contextlib
import json
import operator
import os
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

CALL, VERDICT = b"C", b"V"
_WRITE, _READ = 3, 4
_MAX_ERROR = 500

OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *arguments, **named: function(*arguments, **named),
    "getattr": getattr,
    "setattr": setattr,
    "getitem": operator.getitem,
    "iter": iter,
    "next": next,
    "len": len,
    "bool": bool,
}
"""What the tests may do with the program's objects; equality and order are not among them."""


class Refused(TypeError):
    """A value that cannot travel, or a reply that is none."""


class Wire:
    """Values to JSON and back. `outward` and `inward` treat what is not plain: each side has its own."""

    def __init__(self, outward: Callable[[Any], Any], inward: Callable[[str, Any], Any]) -> None:
        self._outward = outward
        self._inward = inward

    def packed(self, value: Any) -> Any:
        """A value as JSON has it. Subclasses of plain types travel as those."""
        if value is None or isinstance(value, bool):
            return value
        for scalar in _SCALARS:
            if isinstance(value, scalar):
                return scalar(value)
        if isinstance(value, list):
            return [self.packed(item) for item in value]
        if isinstance(value, dict):
            return {"dict": [[self.packed(key), self.packed(item)] for key, item in value.items()]}
        if isinstance(value, tuple | set | frozenset):
            return {_tag(value, tuple, set, frozenset): [self.packed(item) for item in value]}
        if isinstance(value, bytes | bytearray):
            return {_tag(value, bytes, bytearray): value.hex()}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, range):
            return {"range": [value.start, value.stop, value.step]}
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            return self.packed(value.item())
        if _is_built_in(value):
            return {"type": value.__name__}
        return self._outward(value)

    def unpacked(self, value: Any) -> Any:
        """The value that `packed` was given, of built-in types. Raises `Refused` for what it never gives."""
        if isinstance(value, list):
            return [self.unpacked(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise Refused(f"the program's process sent {str(value)[:100]}")
        ((tag, content),) = value.items()
        if tag == "dict":
            return {self.unpacked(key): self.unpacked(item) for key, item in content}
        if tag == "type" and isinstance(kind := getattr(builtins, str(content), None), type):
            return kind
        if tag in _MADE:
            return _MADE[tag](self.unpacked(content))
        return self._inward(tag, content)


def _is_built_in(value: Any) -> bool:
    """Whether it is a type that both sides know by its name."""
    return isinstance(value, type) and vars(builtins).get(value.__name__) is value


def _tag(value: Any, *kinds: type) -> str:
    return next(kind.__name__ for kind in kinds if isinstance(value, kind))


_SCALARS: tuple[type, ...] = (int, float, str)
_MADE: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
    "range": lambda parts: range(*parts),
}


_CHANGING = (list, dict, tuple, set, bytearray)
"""What a function may change in its arguments; a tuple by what is in it."""


def send(data: bytes) -> None:
    rest = memoryview(struct.pack(">Q", len(data)) + data)
    while rest:
        rest = rest[os.write(_WRITE, rest) :]


def receive() -> bytes:
    """The next frame. Raises EOFError when there is none."""
    return _exactly(struct.unpack(">Q", _exactly(8))[0])


def _exactly(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(_READ, min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


# --- the program's side -------------------------------------------------------------------------------------


def answer(main: types.ModuleType) -> None:
    """Say that the program is loaded, then answer calls until the process is ended."""
    held: list[Any] = []

    def keep(value: Any) -> Any:
        held.append(value)
        return {"held": len(held) - 1}

    def find(tag: str, content: Any) -> Any:
        if tag == "held":
            return held[content]
        if not hasattr(main, content):
            raise NameError(f"the program does not define {content}")
        return getattr(main, content)

    wire = Wire(keep, find)
    send(b"ready")
    while True:
        operation, arguments, named = json.loads(receive())
        try:
            reply = _answered(wire, operation, arguments, named)
        except MemoryError:
            raise
        except Exception as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            reply = {"raised": names, "text": str(error)[:_MAX_ERROR]}
        send(json.dumps(reply).encode())


def _answered(wire: Wire, operation: str, arguments: list[Any], named: dict[str, Any]) -> dict[str, Any]:
    """The result, and those arguments that the program changed, by their index."""
    given = [wire.unpacked(one) for one in arguments]
    result = OPERATIONS[operation](*given, **{name: wire.unpacked(one) for name, one in named.items()})
    changed = {}
    for index, (before, value) in enumerate(zip(arguments, given, strict=True)):
        if isinstance(value, _CHANGING) and (after := wire.packed(value)) != before:
            changed[index] = after
    return {"value": wire.packed(result), "changed": changed}


# --- the tests' side ----------------------------------------------------------------------------------------


class Distant:
    """An object of the program's, known by its number. It can be used and handed back, and equals nothing."""

    def __init__(self, ask: Callable[..., Any], number: int) -> None:
        self.__dict__.update(_ask=ask, _number=number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("getitem", self, key)

    def __iter__(self) -> Iterator[Any]:
        return self._ask("iter", self)  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._ask("next", self)

    def __len__(self) -> int:
        return int(self._ask("len", self))

    def __bool__(self) -> bool:
        return self._ask("bool", self) is True

    def __eq__(self, other: object) -> bool:
        raise Refused("an object of the program's cannot be compared with anything")

    __hash__ = None  # type: ignore[assignment]


class Caller:
    """Sends the tests' calls to the program. `raised` is what it last raised."""

    def __init__(self) -> None:
        self.raised: BaseException | None = None
        self._wire = Wire(self._outward, self._inward)

    def stand_in(self, name: str) -> Callable[..., Any]:
        """A function in place of a name of the program's."""

        def call(*arguments: Any, **named: Any) -> Any:
            return self._ask("call", call, *arguments, **named)

        call.__name__ = call.__qualname__ = name
        call.__dict__["stands_for"] = name
        return call

    def _ask(self, operation: str, *arguments: Any, **named: Any) -> Any:
        sent = [self._wire.packed(one) for one in arguments]
        call = [operation, sent, {name: self._wire.packed(one) for name, one in named.items()}]
        send(CALL + json.dumps(call).encode())
        reply = json.loads(receive())
        if not isinstance(reply, dict) or not ({"value", "changed"} <= set(reply) or "raised" in reply):
            raise Refused(f"the program's process sent {str(reply)[:100]}")
        if "raised" in reply:
            self.raised = _error(reply["raised"], str(reply.get("text")))
            raise self.raised
        for index, after in dict(reply["changed"]).items():
            _change(arguments[int(index)], self._wire.unpacked(after))
        return self._wire.unpacked(reply["value"])

    def _outward(self, value: Any) -> Any:
        if isinstance(value, Distant):
            return {"held": value.__dict__["_number"]}
        if "stands_for" in getattr(value, "__dict__", {}):
            return {"name": value.stands_for}
        raise Refused(f"the test passes a {type(value).__name__}, which cannot be sent to the program")

    def _inward(self, tag: str, content: Any) -> Any:
        if tag == "held" and type(content) is int:
            return Distant(self._ask, content)
        raise Refused(f"the program's process sent a {tag[:100]}")


def _error(names: Any, text: str) -> Exception:
    """The program's error, of the nearest class that is built in: the tests may expect it."""
    for name in names if isinstance(names, list) else []:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(kind, type) and issubclass(kind, Exception):
            with contextlib.suppress(TypeError):  # UnicodeDecodeError takes five arguments
                return kind(text)
    return RuntimeError(text)


def _change(old: Any, new: Any) -> None:
    """Give an argument of the tests' the content that the program left in it, and the same to what is in it."""
    if type(old) is not type(new):
        return
    if isinstance(old, list | tuple) and len(old) == len(new):
        for index, (mine, item) in enumerate(zip(old, new, strict=True)):
            if isinstance(mine, _CHANGING) and type(mine) is type(item):
                _change(mine, item)
            elif isinstance(old, list):
                old[index] = item
    elif isinstance(old, list | bytearray):
        old[:] = new
    elif isinstance(old, dict):
        kept = {key: old[key] for key in new if key in old}
        for key, mine in kept.items():
            _change(mine, new[key])
        mutable = {key for key, mine in kept.items() if isinstance(mine, list | dict | set | bytearray)}
        old.clear()
        old.update({key: kept[key] if key in mutable else item for key, item in new.items()})
    elif isinstance(old, set):
        old.clear()
        old.update(new)


def examine(given: bytes) -> None:
    """Run tests with stand-ins for the program's names, and send the verdict.

    `given` is JSON: `names`, `before` (texts that run first) and `tests`. The process waits for its end afterwards.
    """
    work = json.loads(given)
    caller = Caller()
    space: dict[str, Any] = {"__name__": "tests"}
    space |= {name: caller.stand_in(name) for name in work["names"]}
    verdict: dict[str, Any] = {"passed": True}
    texts = [(0, text) for text in work["before"]] + list(enumerate(work["tests"], 1))
    for number, text in texts:
        try:
            exec(compile(text, f"test {number}", "exec", dont_inherit=True), space)
        except BaseException as error:
            verdict = {"passed": False, "test": number} | _told(error, caller.raised)
            break
    send(VERDICT + json.dumps(verdict).encode())
    with contextlib.suppress(EOFError):
        receive()


def _told(error: BaseException, raised: BaseException | None) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}"[:_MAX_ERROR] if str(error) else type(error).__name__
    return {"by": "program" if error is raised else "test", "error": text}
