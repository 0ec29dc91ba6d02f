"""The main job end to end on the shipped model, given as a plain directory, with questions of one's own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import veridistill
from veridistill.lab import world

LAB = Path(veridistill.__file__).parent / "lab"


def test_a_run_on_own_files(tmp_path: Path) -> None:
    model, seeds, exam, out = (tmp_path / name for name in ("model", "s.jsonl", "e.jsonl", "run"))
    shutil.copytree(LAB / "model", model)
    world.write_seeds(seeds, world.take(32, 5, world.HARD, "seeds"))
    world.write_exam(exam, world.take(12, 5, world.HARD, "exam"))
    main = "from veridistill.cli import main; main()"
    command = [
        *(sys.executable, "-c", main, "run", str(LAB / "demo.yaml"), "--out", str(out), "--json", "--quiet"),
        *("-o", f"model={model}", "-o", "prompts=compact", "-o", f"seeds.path={seeds}", "-o", "seeds.id=id"),
        *("-o", f"evaluation.problems={exam}", "-o", "evaluation.samples=2", "-o", "generate.candidates=4"),
        *("-o", "train.max_steps=3", "-o", "train.epochs=null", "-o", "train.batch_size=8"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "complete"
    assert 8 <= found["funnel"]["kept"] <= 32
    assert found["funnel"]["candidates"] > found["funnel"]["kept"]
    assert found["rounds"][0]["training"]["steps"] == 3
    assert found["base"]["num_problems"] == found["after"]["num_problems"] == 12
    assert found["gain"]["low"] <= found["gain"]["mean"] <= found["gain"]["high"]
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "rounds" / "1" / "model" / "model.safetensors").is_file()
    kept = (out / "rounds" / "1" / "dataset" / "train.jsonl").read_text().splitlines()
    assert len(kept) == found["funnel"]["kept"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["calls"] == found["calls"], "a finished run asks nothing again"
