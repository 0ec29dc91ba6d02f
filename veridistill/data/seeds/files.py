"""Where seed questions lie: files, patterns of files, and paths on the Hub.

    questions.jsonl    data/*.parquet    hf://datasets/openai/gsm8k/main/train-*.parquet

What is in the files, `formats` reads.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import IO, Any

from veridistill.errors import ConfigError, missing_extra

HUB = "hf://"


@dataclass(frozen=True, slots=True)
class File:
    """A file by the name that the user knows. `errors`: what `open` and reading raise when it cannot be read."""

    name: str
    open: Callable[[], IO[bytes]]
    errors: tuple[type[Exception], ...] = (OSError,)

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


def find(paths: Iterable[str]) -> list[File]:
    """The files in the order of the paths, those of a pattern by name, each once.

    Raises `ConfigError` with every pattern that no file matches and every path on the Hub that cannot be reached.
    """
    found, faults = dict[str, File](), list[str]()
    for path in paths:
        try:
            for file in _hub(path) if path.startswith(HUB) else _local(path):
                found.setdefault(file.name, file)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return list(found.values())


def short_names(files: Iterable[File]) -> dict[str, str]:
    """By its name, what a file is called in a question's `source`: without its folder, unless two are then alike."""
    names = [file.name for file in files]
    last = [PurePosixPath(name).name for name in names]
    return {name: end if last.count(end) == 1 else name for name, end in zip(names, last, strict=True)}


def _local(pattern: str) -> Iterator[File]:
    path = Path(pattern).expanduser()
    if path.exists() or not has_magic(pattern):
        yield File(str(path), partial(_opened, path))
        return
    matching = [one for one in sorted(glob(str(path), recursive=True)) if Path(one).is_file()]
    if not matching:
        raise ConfigError(f"seeds.path: no file matches {pattern}")
    for name in matching:
        yield File(name, partial(_opened, Path(name)))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _hub(pattern: str) -> Iterator[File]:
    system, errors = hub()
    try:
        matching = sorted(system.glob(pattern.removeprefix(HUB)))
    except errors as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"seeds.path: {pattern} cannot be reached on the Hub ({type(error).__name__}: {reason}); check the name"
            f" ({HUB}datasets/OWNER/NAME/FILE), log in with `hf auth login` or set HF_TOKEN if it is private or gated,"
            " or download the file and name your copy"
        ) from None
    if not matching:
        raise ConfigError(
            f"seeds.path: no file on the Hub matches {pattern}; check the name and the folders on the data set's page,"
            " and log in with `hf auth login` if it is private or gated"
        )
    for name in matching:
        yield File(f"{HUB}{name}", partial(system.open, name, "rb"), errors)


def hub() -> tuple[Any, tuple[type[Exception], ...]]:
    """The Hub as an fsspec file system, and the errors of its client."""
    try:
        from huggingface_hub import HfFileSystem
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise missing_extra("seeds.path on the Hub", "eval") from None
    # Without a connection the client raises errors of the HTTP library that it is built on, whichever that is; for a
    # path that cannot be one, the other two.
    return HfFileSystem(), (OSError, ValueError, NotImplementedError, *HfHubHTTPError.__bases__)
