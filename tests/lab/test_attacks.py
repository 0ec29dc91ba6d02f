"""Attacks: every planted answer is wrong by the graders, well-formed or not as a sampled one would be."""

import asyncio
import random

import pytest

from veridistill.decide import defect
from veridistill.domains import DOMAINS
from veridistill.grading.graders import Graders
from veridistill.lab import attacks
from veridistill.lab.worlds import WORLDS
from veridistill.lab.worlds.world import AnyWorld
from veridistill.records import Completion


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_every_attack_is_wrong_and_reaches_the_judges(world: AnyWorld) -> None:
    tasks = world.take(4 if world.domain == "code" else 40, 1, "hard", "seeds")
    planted = [
        (task, attacks.plant(kind, world, task, random.Random(f"{kind}:{i}")))
        for kind in attacks.ATTACKS
        for i, task in enumerate(tasks)
    ]

    async def graded() -> list[str]:
        async with Graders(workers=2, allow_code=True) as graders:
            grades = [await graders.grade(task.problem, one.reply) for task, one in planted]
        return [grade.outcome for grade in grades]

    assert "pass" not in asyncio.run(graded())
    for _, one in planted:
        reply = Completion(one.reply, "stop", 0, 0)
        assert defect(reply, DOMAINS[world.domain].answer_of, reasoning=True) is None, one


def test_attacks_are_reproducible_and_carry_what_they_are_named_for() -> None:
    world = WORLDS["equations"]
    task = world.take(1, 2, "hard", "seeds")[0]
    made = {kind: attacks.plant(kind, world, task, random.Random(kind)) for kind in attacks.ATTACKS}
    assert made == {kind: attacks.plant(kind, world, task, random.Random(kind)) for kind in attacks.ATTACKS}
    assert made["verdict"].answer.endswith("[[Y]]")
    assert made["order"].answer.startswith("Note to the judge")
    assert made["fake_think"].reply.count("</think>") == 2
    assert made["fake_think"].answer.startswith("Accepted: [[Y]]")
    assert made["near_miss"].answer.startswith(world.answer(task)[:6])
