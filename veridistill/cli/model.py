"""Commands on a model or a server: answer one question, examine a server, pretrain the lab's model."""

import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from veridistill.cli import common, completion
from veridistill.cli.common import Candidates, Json, Model, Quiet, Sets, Votes
from veridistill.errors import ConfigError, QualityLimit


def solve(
    question: Annotated[str, typer.Argument(help="The question, or - to read it from stdin.")],
    config: Annotated[
        str | None,
        typer.Option(
            help="Preset, or YAML file, with the model and its settings.", autocompletion=completion.configs
        ),
    ] = None,
    sets: Sets = None,
    model: Model = None,
    domain: Annotated[
        str | None, typer.Option(help="Short for -o seeds.domain=math, science or code.")
    ] = None,
    n: Candidates = None,
    votes: Votes = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer one question by the cascade at test time.

    It is UQ-TTC; every verdict is shown.

    \b
    Examples:
      veridistill solve "What is 7 times 8?" --config lab
      veridistill solve - --model Qwen/Qwen3-0.6B < question.txt
    """
    from veridistill.runs import solve as solving

    text = (sys.stdin.read() if question == "-" else question).strip()
    if not text:
        raise ConfigError("the question is empty; give it as an argument, or - and the text on stdin")
    short = {"model": model, "seeds.domain": domain, "n": n, "votes": votes, "build.audit_share": 0}
    with (
        tempfile.TemporaryDirectory() as folder,
        common.session(config, Path(folder), sets, short, None, quiet=True) as session,
    ):
        say = (lambda _: None) if quiet else common.note
        found = common.complete(session, _solved(session, text, say))
    print(json.dumps(solving.summary(found), ensure_ascii=False) if as_json else solving.render(found))


async def _solved(session: Any, question: str, say: Any) -> Any:
    from veridistill.runs import solve as solving
    from veridistill.runs.session import serving

    domain = solving.domain(session.config.seeds)
    async with serving(session, 1) as served:
        return await solving.answer(question, domain, served.plan, served.asker, say)


def doctor(
    url: Annotated[
        str, typer.Argument(help="Base URL of an OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1.")
    ],
    model: Annotated[
        str | None, typer.Option(help="The model's name there; needed when it serves several.")
    ] = None,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the key.")
    ] = "VERIDISTILL_API_KEY",
    as_json: Json = False,
) -> None:
    """Examine a server before a run.

    Its model, context, sampling, seeds, reasoning, control tokens, cancelling.

    \b
    Examples:
      veridistill doctor http://127.0.0.1:8000/v1
      veridistill doctor http://127.0.0.1:8000/v1 --model Qwen/Qwen3-0.6B
    """
    from veridistill.engines.endpoint import doctor

    report = asyncio.run(doctor.examine(url, model, api_key_env))
    print(json.dumps(asdict(report), ensure_ascii=False) if as_json else doctor.render(report))
    if failed := [check.name for check in report.checks if check.status == "fail"]:
        raise QualityLimit(f"{url}: failed: {', '.join(failed)}; see what to do above")


def lab_pretrain(
    out: Annotated[Path, typer.Argument(help="Directory for checkpoints, the log and the model.")],
    world: Annotated[
        str, typer.Option(help="What it is taught: equations, science, programs, or all.")
    ] = "equations",
    tokens: Annotated[
        int | None, typer.Option(help="Training tokens; default: the shipped model's, for each world.")
    ] = None,
) -> None:
    """Make the lab's model from scratch; run it again to resume.

    It takes up to 2 hours a world on two cores.

    \b
    Examples:
      veridistill lab pretrain lab-model
      veridistill lab pretrain science-model --world science
    """
    from veridistill.lab import pretrain, worlds

    pretrain.pretrain(out, worlds.named(world), num_tokens=tokens)
