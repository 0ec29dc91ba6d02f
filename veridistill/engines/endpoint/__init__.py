"""The engine of OpenAI-compatible servers: one or many, over HTTP.

`engine` is the engine itself; `open` checks the servers before the first call; `pool` hands calls to servers and `aimd`
decides how many each takes; `body` builds requests, `wire` sends them, `reply` reads what comes back, `answers`
classifies errors; `lifeline` ends all calls at once; `model` is the model that the servers should serve; `doctor`
and `checks` examine a server for a user.
"""

from veridistill.engines.endpoint.engine import EndpointEngine

__all__ = ["EndpointEngine"]
