"""Formulas and units: the lab's world of science, with numbers and multiple choice."""

from veridistill.lab.worlds import teaching
from veridistill.lab.worlds.science import answers, judging
from veridistill.lab.worlds.science.flaws import FLAWS
from veridistill.lab.worlds.science.questions import CHOICES, SHARE_OF_CHOICES, Measurement, draw, parse
from veridistill.lab.worlds.world import Judge, World

_JUDGE = Judge(judging.infer, judging.compare, judging.factuality, judging.correctness)

SCIENCE: World[Measurement] = World(
    name="science",
    domain="science",
    draw=draw,
    parse=parse,
    answer=answers.answer,
    solution=answers.solution,
    judge=_JUDGE,
    skills=teaching.skills("science", answers.answer, answers.solution, _JUDGE, FLAWS),
    shares=teaching.SHARES,
    flaws=FLAWS,
    floor=SHARE_OF_CHOICES / CHOICES,
)
