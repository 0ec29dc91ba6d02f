"""How a round's examples came about, for the cards of its model and its dataset."""

from veridistill.data.rundir import RunDir
from veridistill.runs import results
from veridistill.training.job import Origin


def origin(run: RunDir, number: int) -> Origin:
    """What a model card or a dataset card says of how the round's examples came about."""
    config = run.config
    return Origin(
        model=config.model.path,
        revision=config.model.revision,
        round=number,
        selection=results.read(run)["rounds"][number - 1]["selection"],
        candidates=config.generate.candidates,
        stages=config.judge.stages,
        votes=config.judge.votes,
        judge=config.judge.model.path if config.judge.model else None,
    )
