"""OpenAI-compatible servers that misbehave by script, in a process of their own, and log all they get.

`Process` starts that process for a test, `Served` is one of its servers.

    python fault_server.py [PORT]        prints its port, then serves until it is killed

POST {"script": ..., "log": path} to `/` makes one more server and answers its number N; its base URL ends in `/N/v1`.
The script is a JSON object: `model` (or several), `roots` (of models, by name), `owner`,
`context`, `key`, `listing` (a status instead of it),
`chat_only`, `ids` (sampled ids of every reply), `unknown` (fields that are refused with 400), `playing`
(fields of a `scripted.Script` that answers; without it the reply is `text`), `restricting` (the status for
`structured_outputs`), `slots` (calls beyond it get
429), `every` (seconds between tokens) and `rules`. The first rule whose `match` stands in the prompt and
whose `attempts` (all, if absent) holds the attempt's number says how that attempt goes wrong; its keys are
read in `_misbehave` and `_stream`. `random` {rate, rules} picks a rule by the request's seed.

Each request is one line of the log: {number, path, attempt, running, authorization, body}; its end is another one:
{number, sent, ended}, where `ended` is "whole", "broken" (by script) or "gone" (the client closed the connection).
"""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from veridistill.engines.endpoint.open import TRIAL
from veridistill.engines.scripted import Script, uniform
from veridistill.records import Message, Sampling

Rule = dict[str, Any]


class Server:
    def __init__(self, script: dict[str, Any], log: Path) -> None:
        self.script, self.log = script, log.open("a", encoding="utf-8", buffering=1)
        self.playing = Script(**script["playing"]) if "playing" in script else None
        self.attempts: Counter[str] = Counter()
        self.number = self.running = 0

    async def models(self, request: web.Request) -> web.Response:
        script = self.script
        if script.get("key") and request.headers.get("Authorization") != f"Bearer {script['key']}":
            said = f"who are you, {request.headers.get('Authorization')}?"
            return web.json_response({"error": {"message": said}}, status=401)
        if "listing" in script:
            return web.json_response({"error": {"message": "no listing"}}, status=script["listing"])
        names = script.get("model", "m")
        models = [
            {
                "id": name,
                "owned_by": script.get("owner", "us"),
                "root": script.get("roots", {}).get(name, name),
            }
            for name in (names if isinstance(names, list) else [names])
        ]
        if script.get("context"):
            models = [model | {"max_model_len": script["context"]} for model in models]
        return web.json_response({"object": "list", "data": models})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=f'vllm:num_requests_running{{engine="0"}} {float(self.running)}\n')

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = json.dumps(body["prompt"]) if "prompt" in body else body["messages"][-1]["content"]
        self.attempts[identity := f"{prompt}\0{body.get('seed')}"] += 1
        attempt, number = self.attempts[identity], self.number
        self.number += 1
        self.running += 1
        line = {"number": number, "path": request.path, "attempt": attempt, "running": self.running}
        self._write(line | {"authorization": request.headers.get("Authorization"), "body": body})
        state: dict[str, Any] = {"sent": 0, "ended": "gone"}
        try:
            rule = self._rule(prompt, attempt, body.get("seed") or 0)
            return await self._misbehave(request, rule, body, state)
        finally:
            self.running -= 1
            self._write({"number": number, **state})

    def _write(self, line: dict[str, Any]) -> None:
        self.log.write(json.dumps(line) + "\n")

    def _rule(self, prompt: str, attempt: int, seed: int) -> Rule:
        for rule in self.script.get("rules", ()):
            if rule["match"] in prompt and attempt in rule.get("attempts", (attempt,)):
                return dict(rule)
        chance = self.script.get("random")
        if chance and uniform(seed, 100 + attempt) < chance["rate"]:
            return dict(chance["rules"][int(uniform(seed, 200 + attempt) * len(chance["rules"]))])
        return {}

    async def _misbehave(
        self, request: web.Request, rule: Rule, body: dict[str, Any], state: dict[str, Any]
    ) -> web.StreamResponse:
        script = self.script
        if script.get("key") and request.headers.get("Authorization") != f"Bearer {script['key']}":
            rule = {"status": 401, "says": "who are you?"}
        if self.running > script.get("slots", 1 << 30):
            rule = {"status": 429, "says": "too many at once", "headers": {"Retry-After": "0.01"}}
        unknown = [name for name in script.get("unknown", ()) if name in body]
        if unknown:
            rule = {"status": 400, "says": f"Unrecognized request argument supplied: {unknown[0]}"}
        if "restricting" in script and "structured_outputs" in body:
            rule = {"status": script["restricting"], "says": "no tokenizer"}
        state["ended"] = "broken"
        if "hang" in rule:
            await asyncio.sleep(rule["hang"])
        if "status" in rule:
            error = rule.get("body") or json.dumps({"error": {"message": rule.get("says", "because")}})
            return web.Response(
                status=rule["status"],
                headers=rule.get("headers"),
                text=error,
                content_type="application/json",
            )
        if rule.get("reset") == "before":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if "html" in rule:
            return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")
        if "choices" in rule:
            return web.json_response({"choices": rule["choices"]})
        return await self._stream(request, rule, body, state)

    async def _stream(
        self, request: web.Request, rule: Rule, body: dict[str, Any], state: dict[str, Any]
    ) -> web.StreamResponse:
        text, finish, prompt_tokens, count = self._reply(body)
        events = self._events(rule, "messages" in body, text, rule.get("finish", finish))
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": rule.get("count", count)}
        if "whole" in rule:
            message = {"message": {"content": text}, "finish_reason": finish}
            state["ended"] = "whole"
            return web.json_response({"choices": [message], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        state["ended"] = "gone"
        every = rule.get("every", self.script.get("every", 0))
        for event in events:
            if state["sent"] == rule.get("after"):
                return await self._break(request, response, rule, state)
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            state["sent"] += 1
            await asyncio.sleep(every)
        if rule.get("reset") == "late":
            assert request.transport is not None
            request.transport.abort()
            return response
        if "usage" not in rule:
            await response.write(b'data: {"choices": [], "usage": ' + json.dumps(usage).encode() + b"}\n\n")
        if "done" not in rule:
            await response.write(b"data: [DONE]\n\n")
        while "linger" in rule:
            await response.write(b": still here\n\n")
            await asyncio.sleep(rule["linger"])
        state["ended"] = "whole"
        return response

    async def _break(
        self, request: web.Request, response: web.StreamResponse, rule: Rule, state: dict[str, Any]
    ) -> web.StreamResponse:
        """What happens `after` so many tokens: the stream ends, resets, stalls, drips comments, or says something."""
        if "say" in rule:
            await response.write(rule["say"].encode() + b"\n\n")
        if rule.get("reset") == "mid":
            state["ended"] = "broken"
            assert request.transport is not None
            request.transport.abort()
        while "drip" in rule:
            await response.write(b": still here\n\n")
            await asyncio.sleep(rule["drip"])
        if "stall" in rule:
            await asyncio.sleep(rule["stall"])
        state["ended"] = "broken"
        return response

    def _reply(self, body: dict[str, Any]) -> tuple[str, str, int, int]:
        """Text, finish reason, prompt tokens and completion tokens."""
        if self.playing is None or "messages" not in body:
            text = self.script.get("text", "yes it is so")
            count = len(self.script.get("ids", text.split(" ")))
            return text, "stop", len(body.get("prompt") or "four"), count
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        sampling = Sampling(body["temperature"], body["top_p"], max(body["top_k"], 0), body["max_tokens"])
        reply = self.playing.reply(messages, sampling, body["seed"])
        assert not isinstance(reply, str)
        return reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens

    def _events(self, rule: Rule, chat: bool, text: str, finish: str | None) -> list[dict[str, Any]]:
        ids = self.script.get("ids")
        if ids is not None:
            choices: list[dict[str, Any]] = [{"text": "", "token_ids": [token]} for token in ids]
        elif "deltas" in rule:
            choices = [{"delta": delta} for delta in rule["deltas"]]
        else:
            words = [word + " " for word in text.split(" ")]
            words[-1] = words[-1][:-1]
            choices = [{"delta": {"content": word}} if chat else {"text": word} for word in words]
        choices[-1] = choices[-1] | {"finish_reason": finish}
        return [{"choices": [{"index": 0, "finish_reason": None} | choice]} for choice in choices]


class Servers:
    """All servers of this process."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    async def new(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self.servers.append(Server(wanted["script"], Path(wanted["log"])))
        return web.json_response(len(self.servers) - 1)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        server, path = self.servers[int(request.match_info["number"])], request.match_info["path"]
        if path == "v1/models":
            return await server.models(request)
        if path == "metrics":
            return await server.metrics(request)
        if path == "v1/chat/completions" or (path == "v1/completions" and not server.script.get("chat_only")):
            return await server.complete(request)
        return web.json_response({"error": {"message": "Not Found"}}, status=404)


async def serve(port: int) -> None:
    servers = Servers()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/", servers.new)
    app.router.add_route("*", "/{number:[0-9]+}/{path:.*}", servers.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048, reuse_address=True).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


# For tests.


class Process:
    """A process of fault servers."""

    def __init__(self, *arguments: str) -> None:
        program = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def new(self, script: dict[str, Any], log: Path) -> str:
        """The base URL of one more server."""
        wanted = json.dumps({"script": script, "log": str(log)}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.address, wanted)) as answer:
            return f"{self.address}/{json.load(answer)}/v1"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Served:
    """A fault server, its address and what it got."""

    def __init__(self, process: Process, script: dict[str, Any], log: Path) -> None:
        self.process, self.log = process, log
        self.url = process.new(script, log)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def got(self, text: str = "") -> list[dict[str, Any]]:
        """Requests whose prompt holds the text, trial requests aside."""
        requests = [line for line in self.lines() if "body" in line]
        prompts = [str(r["body"].get("messages") or r["body"]["prompt"]) for r in requests]
        trials = {
            str(request["body"].get("prompt"))
            for request in requests
            if request["body"].get("max_tokens") == 16
        }
        return [
            request
            for request, prompt in zip(requests, prompts, strict=True)
            if text in prompt and TRIAL[0].content not in prompt and prompt not in trials
        ]

    def ends(self) -> dict[int, dict[str, Any]]:
        return {line["number"]: line for line in self.lines() if "ended" in line}


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
