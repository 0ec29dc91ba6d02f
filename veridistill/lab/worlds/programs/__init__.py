from veridistill.lab.worlds.equations import EQUATIONS
from dataclasses import replace
PROGRAMS = replace(EQUATIONS, name="programs")
