"""An engine without a model: replies from a function or from a script of rates. The project's only test double."""

from veridistill.engines.scripted.engine import ScriptedEngine
from veridistill.engines.scripted.script import END_ID, Script, right_answer, role_of, uniform

__all__ = ["END_ID", "Script", "ScriptedEngine", "right_answer", "role_of", "uniform"]
