"""Linear equations in words: the lab's first world, on which the shipped model was taught."""

from veridistill.lab.worlds.equations import skills, texts
from veridistill.lab.worlds.equations.flaws import FLAWS
from veridistill.lab.worlds.equations.questions import Equation, draw, parse
from veridistill.lab.worlds.world import Judge, World

EQUATIONS: World[Equation] = World(
    name="equations",
    domain="math",
    draw=draw,
    parse=parse,
    answer=texts.answer,
    solution=texts.solution,
    judge=Judge(texts.infer, texts.compare, texts.factuality, texts.correctness),
    skills=skills.SKILLS,
    shares=skills.SHARES,
    flaws=FLAWS,
)
