"""Completion as shells ask for it: a real bash with Typer's script, and the scripts of the others."""

import os
import pty
import select
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from veridistill.cli.completion import Words, bash_words
from veridistill.config import presets

ASK = """
eval "$SCRIPT"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_veridistill_completion veridistill
printf '%s\\n' "${COMPREPLY[@]}"
"""

PATIENCE = 120
"""Seconds without output after which a shell counts as hung, also on a busy machine."""


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    package = str(Path(__file__).parents[2])
    return os.environ | {"PATH": path, "PYTHONPATH": package} | more


@cache
def script(shell: str) -> str:
    """What a shell is told to complete by."""
    env = environment(_VERIDISTILL_COMPLETE=f"source_{shell}")
    return subprocess.run(["veridistill"], env=env, capture_output=True, text=True, check=True).stdout


def offered(folder: Path, *words: str) -> list[str]:
    """What bash would offer at Tab behind these words, parted as bash parts them."""
    command = ["bash", "--norc", "-c", ASK, "bash", "veridistill", *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(SCRIPT=script("bash")),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("completion")
    for run in ("runs/demo", "runs/other"):
        (place / run).mkdir(parents=True)
        (place / run / "config.yaml").touch()
    (place / "runs" / "empty").mkdir()
    (place / "mine.yaml").touch()
    return place


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["st"], ["status"]),
        (["run", "qwen3-0.6b-ma"], [name for name in presets() if name.startswith("qwen3-0.6b-ma")]),
        (["build", ""], [*presets(), "mine.yaml"]),
        (["solve", "why", "--config", "la"], ["lab"]),
        (["init", "--preset", "qwen3-8b-c"], ["qwen3-8b-code-8gpu"]),
        (["run", "-o", "build.or"], ["build.order=", "build.order=cheapest", "build.order=paper"]),
        (["run", "-o", "judge.vo"], ["judge.votes=", "judge.votes=5"]),
        (["run", "-o", "build.order", "="], ["cheapest", "paper"]),
        (["run", "-o", "build.order", "=", "p"], ["paper"]),
        (["run", "-o", "build.order", "=", "paper", "-o", "gate.w"], ["gate.width=", "gate.width=null"]),
        (["run", "-o", "model.path", "=", "Qw"], []),
        (["run", "-o", "evaluation.ttc", "=", ""], [*presets(), "mine.yaml"]),
        (["run", "-o", "evaluation.ttc", "="], ["true", "false"]),
        (["run", "-o", "judge.engine.kind", "=", "v"], ["vllm"]),
        (["run", "-o", "judge.stages", "=", "factuality,co"], ["factuality,correctness"]),
        (["evaluate", "--benchmarks", "aime25,aime"], ["aime25,aime24", "aime25,aime26"]),
        (["evaluate", "--benchmarks", "=", "gpqa"], ["gpqa_diamond"]),
        (["build", "-o", "seeds.decontaminate", "=", "gpqa"], ["gpqa_diamond"]),
        (["status", ""], ["runs/demo", "runs/other"]),
        (["diff", "runs/d"], ["runs/demo"]),
        (["diff", "runs/demo", "./runs/o"], ["./runs/other"]),
        (["report", "runs/e"], []),
    ],
    ids=" ".join,
)
def test_bash_offers(folder: Path, words: list[str], found: list[str]) -> None:
    assert offered(folder, *words) == found


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        (["v", "run", "-o", "a", "=", "b"], 5, Words(["v", "run", "-o", "a=b"], 3, "a=")),
        (["v", "run", "-o", "a", "="], 4, Words(["v", "run", "-o", "a="], 3, "a=")),
        (["v", "run", "-o", "a", "=", ""], 5, Words(["v", "run", "-o", "a=", ""], 4, "")),
        (["v", "run", "-o", "a"], 3, Words(["v", "run", "-o", "a"], 3, "")),
        (["v", "-o", "u", "=", "http", ":", "//h"], 6, Words(["v", "-o", "u=http://h"], 2, "u=http:")),
        (["v", "-o", "a", "=", "b", "run"], 5, Words(["v", "-o", "a=b", "run"], 3, "")),
        (["v"], 1, Words(["v"], 1, "")),
    ],
)
def test_words_are_put_together_again(words: list[str], place: int, found: Words) -> None:
    assert bash_words(words, place) == found


def test_tab_in_a_real_terminal(folder: Path) -> None:
    """Bash with its readline: a unique value is written out behind the `=` that was typed, and closed with a space."""
    master, slave = pty.openpty()
    env = environment(TERM="dumb", HISTFILE="", INPUTRC="/dev/null")
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=folder,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as shell:
        os.close(slave)
        try:
            os.write(master, b'eval "$(env _VERIDISTILL_COMPLETE=source_bash veridistill)"; echo rea""dy\n')
            until(master, "ready\r\n")
            os.write(master, b"veridistill build -o build.order=p\t")
            until(master, "build.order=paper ")
            os.write(master, b"-o judge.vo\t")
            until(master, "judge.votes=")
            os.write(master, b"7 # \x01echo \x05\r")  # as a comment's words, said by echo at the line's start
            until(master, "veridistill build -o build.order=paper -o judge.votes=7\r\n")
        finally:
            shell.kill()
            os.close(master)


def until(master: int, end: str) -> str:
    """What a terminal shows up to a text, which it waits for; without its bells."""
    shown = ""
    while end not in shown:
        assert select.select([master], [], [], PATIENCE)[0], f"only {shown!r} was shown"
        shown += os.read(master, 4096).decode().replace("\a", "")
    return shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell: str) -> None:
    assert f"_VERIDISTILL_COMPLETE=complete_{shell}" in script(shell)


@pytest.mark.parametrize(
    ("shell", "line", "found"),
    [
        ("zsh", "veridistill run -o build.order=p", '"build.order=paper"'),
        (
            "zsh",
            "veridistill run qwen3-8b-m",
            '"qwen3-8b-math-8gpu":"Qwen3-8B, math\\\\: the paper\'\'s settings, 8 GPUs"',
        ),
        ("fish", "veridistill run -o build.order=p", "build.order=paper"),
        (
            "fish",
            "veridistill run qwen3-8b-m",
            "qwen3-8b-math-8gpu\tQwen3-8B, math: the paper's settings, 8 GPUs",
        ),
    ],
)
def test_what_zsh_and_fish_are_told(shell: str, line: str, found: str) -> None:
    """The replies of the protocol; neither shell is started."""
    asking = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        ["veridistill"],
        env=environment(_VERIDISTILL_COMPLETE=f"complete_{shell}", **asking),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found in done.stdout


def test_no_library_of_models_is_loaded() -> None:
    code = """
import sys
sys.argv = ["veridistill"]
from veridistill import cli
try:
    cli.main()
except SystemExit:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
    words = {"COMP_WORDS": "veridistill\nevaluate\n--benchmarks\na", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(_VERIDISTILL_COMPLETE="complete_bash", **words),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "aime26" in done.stdout.splitlines()
    loaded = set(done.stderr.split())
    assert "veridistill" in loaded
    assert not loaded & {
        "torch",
        "transformers",
        "vllm",
        "ray",
        "pyarrow",
        "numpy",
        "scipy",
        "datasets",
        "rich",
        "aiohttp",
    }
