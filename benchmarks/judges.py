"""The lab's judges against the world's answers: precision, recall and false accepts by stage, votes and rule.

    python benchmarks/judges.py --json FILE                 # makes an exhaustive run of the lab, 500 questions
    python benchmarks/judges.py --run runs/cascade-300      # an existing one
    python benchmarks/judges.py --scripted --limit 40       # seconds, without a model

Writes the labels of the run's questions as `veridistill audit --labels` takes them, and audits with them. Nothing of it
goes back into the run.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from veridistill.audit import judges
from veridistill.data.rundir import RunDir, stored_config, write_json
from veridistill.data.tables import SEEDS
from veridistill.engines.scripted import right_answer
from veridistill.grading.graders import Graders
from veridistill.lab.worlds import EQUATIONS


def exhaustive_run(out: Path, limit: int, scripted: bool) -> Path:
    """Build the lab's questions, everything asked; the same command resumes it."""
    options = ["--limit", str(limit), "-o", "build.asks=exhaustive", "-o", "build.extra_stages=[simple]"]
    options += ["-o", "engine.kind=scripted"] if scripted else []
    program = [sys.executable, "-c", "from veridistill.cli import main; main()"]
    subprocess.run([*program, "build", "lab", "--out", str(out), *options], check=True, stdout=sys.stderr)
    return out


def solved(question: str) -> int:
    parsed = EQUATIONS.parse(question)
    assert parsed is not None, f"not a question of the lab: {question}"
    return parsed.x


def written_labels(run: RunDir, path: Path) -> Path:
    """A line for each seed question, by the world's oracle, or by the scripted engine's own idea of what is right."""
    scripted, lines = run.config.engine.kind == "scripted", []
    for seed in SEEDS.read(run.round(1).tables / "seeds.parquet"):
        answer = right_answer(seed.question) if scripted else solved(seed.question)
        lines.append(json.dumps({"id": seed.seed_id, "kind": "integer", "answer": answer}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def audited(run: RunDir, labels: Path) -> dict[str, Any]:
    async with Graders() as graders:
        return await judges.audit(run, labels, graders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, help="an exhaustive run of the lab; default: make one")
    parser.add_argument("--limit", type=int, default=500, help="questions to make it with")
    parser.add_argument("--scripted", action="store_true", help="make it with the scripted engine")
    parser.add_argument("--labels", type=Path, help="where the labels go; default: in the run directory")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    out = options.run or exhaustive_run(Path(f"runs/judges-{options.limit}"), options.limit, options.scripted)
    run = RunDir(out, stored_config(out))
    labels = written_labels(run, options.labels or out / "labels.jsonl")
    found = asyncio.run(audited(run, labels))
    print(judges.table(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, found)


if __name__ == "__main__":
    main()
