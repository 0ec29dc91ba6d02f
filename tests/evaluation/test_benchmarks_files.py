"""Where the files are: local copies, a server with the Hub's protocol, and what is said where there is neither."""

import functools
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import huggingface_hub
import pytest

from tests.evaluation import hub
from veridistill.errors import ConfigError, MissingExtra
from veridistill.evaluation.benchmarks import BENCHMARKS, NAMES, files, named
from veridistill.evaluation.benchmarks.benchmark import Preset

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds: files below `folder`, by repository; those of `gated` are refused."""

    folder: Path
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        path = path.partition("?")[0]
        owner, name, *rest = path.removeprefix("/api").removeprefix("/datasets/").split("/")
        repo = f"{owner}/{name}"
        root = self.folder / repo
        if not root.is_dir():
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
        if path.startswith("/api") and rest[:1] == ["tree"]:
            entries = [
                {
                    "type": "file",
                    "path": str(one.relative_to(root)),
                    "size": one.stat().st_size,
                    "oid": "0" * 40,
                }
                for one in sorted(root.rglob("*"))
                if one.is_file()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(entries).encode()
        if path.startswith("/api"):
            found = {"_id": "1", "id": repo, "sha": COMMIT, "siblings": [], "tags": [], "private": False}
            return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        content = (root / "/".join(rest[2:])).read_bytes()
        etag = hashlib.sha1(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT if rest[1] == "main" else rest[1]}, content


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, which the real client asks; its cache is the test's own."""
    state = Hub(tmp_path / "hub")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = state.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    download = functools.partial(
        huggingface_hub.snapshot_download, endpoint=state.url, cache_dir=tmp_path / "cache", token=False
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def test_the_hubs_files_are_read_once_downloaded(server: Hub, tmp_path: Path) -> None:
    repo = hub.write(server.folder, "aime26")
    (repo / "README.md").write_text("not wanted")
    assert len(named("aime26")) == 30
    assert not [path for path in server.asked if "README" in path]
    assert [path for path in server.asked if path.endswith("aime2026.jsonl")]


def test_a_download_is_found_again_without_the_hub(
    server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.write(server.folder, "aime26")
    first = named("aime26")
    server.asked.clear()
    offline = functools.partial(huggingface_hub.snapshot_download, local_files_only=True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert named("aime26") == first
    assert not server.asked


def test_the_pinned_commit_is_asked_for(server: Hub) -> None:
    hub.write(server.folder, "aime25")
    named("aime25")
    revision = BENCHMARKS["aime25"].source.revision
    assert len(revision) == 40
    assert any(f"/resolve/{revision}/test.jsonl" in path for path in server.asked)


def test_gated_data_say_where_to_ask_and_which_copy_would_do(server: Hub) -> None:
    hub.write(server.folder, "gpqa_diamond")
    server.gated.add("Idavidrein/gpqa")
    with pytest.raises(ConfigError) as error:
        named("gpqa_diamond")
    told = str(error.value)
    assert told.startswith("gpqa_diamond: Idavidrein/gpqa is not available from the Hub (GatedRepoError: 403")
    assert "ask for access at https://huggingface.co/datasets/Idavidrein/gpqa" in told
    assert "hf auth login" in told
    assert "evaluation.data=DIR with DIR/Idavidrein/gpqa/gpqa_diamond.csv" in told
    assert "\n" not in told


def test_data_that_are_not_there_name_the_copy_that_would_do(server: Hub) -> None:
    with pytest.raises(
        ConfigError, match=r"RepositoryNotFoundError.*DIR/cais/hle/data/test-\*\.parquet, or DIR/hle_text"
    ):
        named("hle_text")
    with pytest.raises(
        ConfigError, match=r"It is public: .*DIR/livecodebench/.*/test6\.jsonl, or DIR/lcb_v6\.jsonl$"
    ):
        named("lcb_v6")


def test_a_repository_without_the_file_is_told(server: Hub) -> None:
    repo = hub.write(server.folder, "aime26")
    (repo / "aime2026.jsonl").rename(repo / "other.jsonl")
    with pytest.raises(
        ConfigError, match=r"aime26: .* holds no aime2026\.jsonl; https://huggingface\.co/datasets/math"
    ):
        named("aime26")


def test_without_the_hubs_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"benchmarks from the Hub needs .*veridistill\[eval\]"):
        named("aime26")


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_without_the_data_says_what_it_should_hold(tmp_path: Path, name: str) -> None:
    source = BENCHMARKS[name].source
    with pytest.raises(ConfigError) as error:
        named(name, data=str(tmp_path))
    told = str(error.value)
    assert told.startswith(f"{name}: {tmp_path} does not hold it; set evaluation.data=DIR with ")
    assert all(f"DIR/{source.hub_id}/{pattern}" in told for pattern in source.files)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_one_file_may_stand_under_the_benchmarks_name(tmp_path: Path, suffix: str) -> None:
    path = hub.write_file(tmp_path / f"aime26{suffix}", [hub.aime26_record(i) for i in range(30)])
    assert files.find(BENCHMARKS["aime26"], str(tmp_path)) == [path]


def test_shards_are_read_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "MathArena/hmmt_feb_2026/data"
    for shard in (3, 0, 9, 5, 1, 8, 10, 2, 7, 4, 6):
        records = [hub.hmmt_record(3 * shard + i) for i in range(3)]
        hub.write_file(folder / f"train-{shard:05d}-of-00011.parquet", records)
    assert [p.problem_id for p in named("hmmt_feb26", data=str(tmp_path))] == [str(i) for i in range(1, 34)]


def test_the_home_directory_may_be_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    hub.write(tmp_path / "copies", "aime26")
    assert len(named("aime26", data="~/copies")) == 30


def test_every_revision_is_a_commit() -> None:
    for benchmark in BENCHMARKS.values():
        for preset in get_args(Preset):
            revision = benchmark.under(preset).source.revision
            assert len(revision) == 40
            assert int(revision, 16)
