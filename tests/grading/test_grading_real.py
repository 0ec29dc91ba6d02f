"""The benchmark of real programs runs without data on problems of ours, and grades all of them as it should."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grading_real.py"


def test_problems_in_humanevals_format_are_graded_as_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), "--limit", "5", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text(encoding="utf-8"))["humaneval_format"]
    assert found["as_it_should_be"] == {"as it is": 5, "result changed": 5, "endless": 5, "renamed": 5}
    assert found["outcomes"]["endless"] == {"timeout": 5}
    assert found["not_as_it_should_be"] == []
