"""Small Python functions: the lab's world of code."""

from veridistill.lab.worlds import teaching
from veridistill.lab.worlds.programs import answers, judging
from veridistill.lab.worlds.programs.flaws import FLAWS
from veridistill.lab.worlds.programs.questions import Program, draw, parse
from veridistill.lab.worlds.world import Judge, World

_JUDGE = Judge(judging.infer, judging.compare, judging.factuality, judging.correctness)

PROGRAMS: World[Program] = World(
    name="programs",
    domain="code",
    draw=draw,
    parse=parse,
    answer=answers.answer,
    solution=answers.solution,
    judge=_JUDGE,
    skills=teaching.skills("code", answers.answer, answers.solution, _JUDGE, FLAWS),
    shares=teaching.SHARES,
    flaws=FLAWS,
)
