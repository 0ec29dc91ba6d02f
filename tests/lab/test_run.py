"""The main job end to end on the shipped model, given as a plain directory, with questions of one's own."""

import shutil
from pathlib import Path

import veridistill as package
from tests.commands import veridistill
from veridistill.lab.worlds import EQUATIONS, files

LAB = Path(package.__file__).parent / "lab"


def test_a_run_on_own_files(tmp_path: Path) -> None:
    model, seeds, exam, out = (tmp_path / name for name in ("model", "s.jsonl", "e.jsonl", "run"))
    shutil.copytree(LAB / "model", model)
    files.write_seeds(seeds, EQUATIONS.take(16, 5, "hard", "seeds"))
    files.write_exam(exam, EQUATIONS.take(8, 5, "hard", "exam"))
    fields = [
        f"model={model}",
        "prompts=compact",
        f"seeds.path={seeds}",
        "seeds.id=id",
        "generate.candidates=3",
    ]
    fields += [f"evaluation.problems={exam}", "evaluation.samples=2"]
    fields += ["train.max_steps=2", "train.epochs=null", "train.batch_size=8"]
    options = [part for field in fields for part in ("-o", field)]
    done = veridistill("run", "lab", "--out", out, "--json", "--quiet", *options)
    assert done.code == 0, done.err
    found = done.json
    assert found["status"] == "complete"
    assert 4 <= found["funnel"]["kept"] <= 16
    assert found["funnel"]["candidates"] > found["funnel"]["kept"]
    assert found["rounds"][0]["training"]["steps"] == 2
    assert found["base"]["num_problems"] == found["after"]["num_problems"] == 8
    assert found["gain"]["low"] <= found["gain"]["mean"] <= found["gain"]["high"]
    assert (out / "report.html").stat().st_size > 10_000
    trained = out / "rounds" / "1" / "model"
    assert (trained / "model.safetensors").is_file()
    assert "the first accepted one was kept" in " ".join((trained / "README.md").read_text().split())
    kept = (out / "rounds" / "1" / "dataset" / "train.jsonl").read_text().splitlines()
    assert len(kept) == found["funnel"]["kept"]
    again = veridistill("run", "lab", "--out", out, "--json", "--quiet", *options)
    assert again.code == 0, again.err
    assert again.json["calls"] == found["calls"], "a finished run asks nothing again"
