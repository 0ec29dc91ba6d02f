"""The parent's side, without a child: the environment that a child gets, and what is said when it fails."""

from pathlib import Path

import pytest

from tests.training.jobs import job
from veridistill.training import launcher
from veridistill.training.job import Progress


@pytest.mark.parametrize(
    ("device", "visible", "child"),
    [
        ("cpu", "0,1", ""),
        ("cpu", None, ""),
        ("auto", None, "0"),
        ("auto", "", ""),
        ("auto", "2,3", "2"),
        ("cuda", "GPU-aa, GPU-bb", "GPU-aa"),
        ("cuda:1", None, "1"),
        ("cuda:1", "2,3", "3"),
        ("cuda:2", "2,3", ""),
        ("mps", "2,3", None),
    ],
)
def test_the_child_sees_one_gpu_at_most(device: str, visible: str | None, child: str | None) -> None:
    assert launcher.visible_gpu(device, visible) == child


def test_the_environment(tmp_path: Path) -> None:
    inherited = {"PATH": "/bin", "PYTHONPATH": "/mine", "CUDA_VISIBLE_DEVICES": "1"}
    made = launcher.environment(job(tmp_path, threads=3), inherited)
    assert made["PYTHONPATH"].endswith(":/mine")
    assert (made["PATH"], made["OMP_NUM_THREADS"], made["CUDA_VISIBLE_DEVICES"]) == ("/bin", "3", "")
    assert "HF_HUB_OFFLINE" not in made
    assert launcher.environment(job(tmp_path, base_model=str(tmp_path)), {})["HF_HUB_OFFLINE"] == "1"
    assert "OMP_NUM_THREADS" not in launcher.environment(job(tmp_path, threads=None), {})


@pytest.mark.parametrize(
    ("status", "last", "log", "said"),
    [
        (1, None, "Traceback", "ended with status 1 before its first step. The same command resumes"),
        (
            -9,
            Progress(3, 8, 0.1),
            "",
            "killed by signal 9 after step 3 of 8; if the system killed it for lack",
        ),
        (1, None, "torch.OutOfMemoryError: CUDA out of memory.", "; memory ran out: lower train.micro_batch"),
    ],
)
def test_a_failure_is_explained(
    tmp_path: Path, status: int, last: Progress | None, log: str, said: str
) -> None:
    (tmp_path / "train.log").write_text("early\n" * 40 + log + "\n", encoding="utf-8")
    found = launcher.failure(status, last, tmp_path / "train.log")
    assert said in found
    assert found.endswith(log)
    assert len(found.split("\n")) == 31
