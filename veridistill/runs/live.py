"""What a step's progress is told of its calls: the counts of gate, meter, engines and forecast, read at one moment.

`report.progress` calls it once a second from a thread of its own, so only numbers are read here.
"""

from collections.abc import Callable, Iterable

from veridistill.calls.ask import Asker, audited
from veridistill.calls.forecast import Forecast, Questions, Work
from veridistill.config import BuildSection, Config
from veridistill.data.seeds import Seeds
from veridistill.engines.base import EngineStats
from veridistill.method import CANDIDATE, Plan
from veridistill.records import Verdict
from veridistill.report.traffic import Traffic
from veridistill.runs import cost

Expected = Callable[[], tuple[int, int] | None]


def traffic(asker: Asker, config: Config, expected: Expected = lambda: None) -> Callable[[], Traffic]:
    """Counts since now; `expected`: calls of the step in all, at least and at most."""
    meter, gate = asker.meter, asker.gate
    hits, answered, cancelled, reasks = meter.hits, meter.answered, meter.cancelled, meter.reasks
    before, forecast = asker.counts, asker.forecast

    def look() -> Traffic:
        engine, judge = (_since(now, then) for now, then in zip(asker.counts, before, strict=True))
        both = engine + judge
        asked, replayed = meter.answered - answered, meter.hits - hits
        range_ = expected()
        return Traffic(
            in_flight=gate.running,
            slots=gate.width,
            asked=asked,
            replayed=replayed,
            cancelled=meter.cancelled - cancelled,
            tokens=max(both.decoded_tokens, both.completion_tokens),
            prompt_tokens=both.prompt_tokens,
            reasks=meter.reasks - reasks,
            retries=both.retries,
            judged=forecast.judged if forecast is not None else 0,
            accepted=forecast.accepted if forecast is not None else 0,
            expected=range_ and (max(range_[0], asked + replayed), max(range_[1], asked + replayed)),
            cost=cost.of_engines(config.cost, engine, judge),
            currency=config.cost.currency,
        )

    return look


def _since(now: EngineStats, then: EngineStats) -> EngineStats:
    return EngineStats(
        prompt_tokens=now.prompt_tokens - then.prompt_tokens,
        completion_tokens=now.completion_tokens - then.completion_tokens,
        decoded_tokens=now.decoded_tokens - then.decoded_tokens,
        retries=now.retries - then.retries,
    )


def forecast(
    asker: Asker, section: BuildSection, plan: Plan, found: Seeds, questions: Questions | None = None
) -> Expected:
    """Begin a forecast of a build's calls. `questions`: how many will be asked, where a target ends it earlier."""
    if plan.selection == "unfiltered":
        return lambda: (len(found.seeds), len(found.seeds))
    exhaustive = section.asks == "exhaustive"
    whole = sum(exhaustive or audited(seed.seed_id, section.audit_share) for seed in found.seeds)
    made = asker.forecast = Forecast(work(plan, len(found.seeds), whole))
    return expected(asker, made, questions)


def expected(asker: Asker, made: Forecast, questions: Questions | None = None) -> Expected:
    def look() -> tuple[int, int]:
        seen = made.range(
            questions() if questions is not None else None, asker.gate.width, asker.gate.speculates
        )
        return seen.low, seen.high

    return look


def work(plan: Plan, questions: int, whole: int = 0) -> Work:
    """The calls that a plan may ask, for a forecast."""
    calls = {"cycle_consistency": 2 if plan.jury.infer_per_vote else 1, "correctness": _turns(plan)}
    most = 1 + plan.votes * sum(calls.get(stage, 1) for stage in plan.stages)
    return Work(CANDIDATE, questions, whole, plan.candidates, most, plan.selection != "all")


def _turns(plan: Plan) -> int:
    """Calls of a correctness vote: a reference solution comes first if there is a prompt for it."""
    return 2 if plan.jury.prompts.reference else 1


def votes(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many votes were cast, and how many of them stayed invalid."""
    cast = [vote.ballot for verdict in verdicts for vote in verdict.votes]
    return {"votes": len(cast), "invalid_votes": cast.count("invalid")}
