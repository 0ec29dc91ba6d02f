"""Finding a benchmark's files: in a local copy, or on the Hub.

No data is bundled. Where the files are not available, the error says where to ask for access and which local paths
would do.
"""

from collections.abc import Sequence
from pathlib import Path

from veridistill.errors import ConfigError, missing_extra
from veridistill.evaluation.benchmarks.benchmark import Benchmark


def find(benchmark: Benchmark, data: str | None) -> list[Path]:
    """The benchmark's files, in the order of its patterns: below the directory `data`, or else from the Hub.

    A directory holds the Hub's own layout (`DIR/math-ai/aime25/test.jsonl`) or, for a benchmark of one file,
    that file under the benchmark's name (`DIR/aime25.jsonl` or `DIR/aime25_test.jsonl`). Raises `ConfigError` when they
    are not there.
    """
    if data is None:
        return _matching(benchmark, _snapshot(benchmark))
    folder = Path(data).expanduser()
    if found := _named(folder, benchmark, (benchmark.name, f"{benchmark.name}_test")):
        return [found]
    copy = folder / benchmark.source.hub_id
    if not copy.is_dir():
        if found := _named(folder, benchmark, benchmark.parts):
            return [found]
        raise ConfigError(f"{benchmark.name}: {folder} does not hold it; {_local(benchmark)}")
    return _matching(benchmark, copy)


def _named(folder: Path, benchmark: Benchmark, names: Sequence[str]) -> Path | None:
    """The first file of one of these names; None for a benchmark of several files."""
    formats = benchmark.formats if _single(benchmark) else ()
    return next(
        filter(Path.is_file, (folder / (name + suffix) for name in names for suffix in formats)), None
    )


def _matching(benchmark: Benchmark, folder: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in benchmark.source.files:
        matching = sorted(folder.glob(pattern))
        if not matching:
            raise ConfigError(f"{benchmark.name}: {folder} holds no {pattern}; {benchmark.source.url} has it")
        found += matching
    return found


def _snapshot(benchmark: Benchmark) -> Path:
    """The repository's files as the Hub's client keeps them: downloaded once, then found offline too."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_extra("benchmarks from the Hub", "eval") from None
    source = benchmark.source
    try:
        folder = snapshot_download(
            source.hub_id,
            repo_type="dataset",
            revision=source.revision,
            allow_patterns=list(source.files),
        )
    except OSError as error:  # the base of the client's errors, offline ones included
        raise ConfigError(_unavailable(benchmark, error)) from None
    return Path(folder)


def _unavailable(benchmark: Benchmark, error: OSError) -> str:
    source = benchmark.source
    access = (
        f"It is gated: ask for access at {source.url}, then log in with `hf auth login` or set HF_TOKEN."
        if source.gated
        else f"It is public: {source.url}; a machine without a network needs a copy."
    )
    reason = str(error).strip().partition("\n")[0]
    return (
        f"{benchmark.name}: {source.hub_id} is not available from the Hub ({type(error).__name__}: {reason}). "
        f"{access} Or: {_local(benchmark)}"
    )


def _local(benchmark: Benchmark) -> str:
    copy = f"DIR/{benchmark.source.hub_id}"
    files = " and ".join(f"{copy}/{pattern}" for pattern in benchmark.source.files)
    known = (benchmark.name, *benchmark.parts) if _single(benchmark) else ()
    names = [f"DIR/{name}{suffix}" for name in known for suffix in benchmark.formats]
    one = "".join(f", or {name}" for name in names)
    return f"set evaluation.data=DIR with {files}{one}"


def _single(benchmark: Benchmark) -> bool:
    return len(benchmark.source.files) == 1
