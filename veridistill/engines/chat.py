"""Messages to ids and ids to text, by a model's tokenizer and chat template; control tokens inside messages.

Messages are data: an added token such as `<|im_end|>` or `<think>` inside a message must not become a control token.
The policy is configured (`ControlTokens`); under every policy but `allow` the prompt's control ids must be the
template's own.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from veridistill.engines.base import ControlTokens
from veridistill.errors import ConfigError, RequestRefused
from veridistill.records import Message, Messages

_SURROGATE = re.compile("[\ud800-\udfff]")
_JOINER = "\u200d"
_REMEMBERED = 1 << 20  # prompt tokens remembered, so that the votes of one prompt are rendered once
_MARKERS = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|</?(?:think|tool_call|tool_response|s|bos|eos|pad|unk)>|\[/?INST\]"
)


class Guard:
    """Keeps markers in messages from becoming control tokens; `num_found` counts those that were found.

    `tokens` are the added tokens of the actual tokenizer. Without a tokenizer (None) only the widely used markers are
    guarded: `<|...|>`, `<think>`, `<tool_call>`, `<s>`, `[INST]` and their closings.
    """

    def __init__(self, tokens: Iterable[str] | None, policy: ControlTokens) -> None:
        self.policy = policy
        self.num_found = 0
        if tokens is None:
            self._markers = _MARKERS
        else:
            longest_first = sorted(tokens, key=lambda token: (-len(token), token))
            self._markers = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def messages(self, messages: Messages) -> Messages:
        """The messages, safe to render. Raises `RequestRefused` under the policy `reject`."""
        return tuple(Message(message.role, self.content(message.content)) for message in messages)

    def content(self, content: str) -> str:
        content = _SURROGATE.sub("\ufffd", content)
        if self.policy == "neutralise":
            return self._neutral(content)
        found = self._markers.findall(content)
        self.num_found += len(found)
        if found and self.policy == "reject":
            raise RequestRefused(
                f"the content holds the control token {found[0]}; model.control_tokens=neutralise would break it"
            )
        return content

    def _neutral(self, content: str) -> str:
        """The content with a zero-width joiner after the first character of every marker in it."""
        while True:
            content, num = self._markers.subn(lambda found: found[0][0] + _JOINER + found[0][1:], content)
            if not num:
                return content
            self.num_found += num


class Prompts:
    """Messages to ids and ids to text, by one tokenizer and its chat template."""

    def __init__(
        self,
        tokenizer: Any,
        enable_thinking: bool | None,
        where: Path,
        control_tokens: ControlTokens = "neutralise",
    ) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"model.path: {where} has no chat template; use a post-trained (instruct) model, or add "
                "chat_template.jinja to the directory"
            )
        self.tokenizer = tokenizer
        self.template = str(tokenizer.chat_template)
        self.reasons = "<think>" in self.template and enable_thinking is not False
        self._arguments = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        added = {
            token: index for token, index in tokenizer.get_added_vocab().items() if len(token.strip()) > 1
        }
        self._control_ids = frozenset(added.values())
        self.guard = Guard(added, control_tokens)
        self._own: dict[tuple[str, ...], int] = {}
        self._cache: dict[Messages, tuple[int, ...]] = {}
        self._cached_tokens = 0

    def ids(self, messages: Messages) -> tuple[int, ...]:
        """The rendered prompt. Raises `RequestRefused` when it has control ids that are not the template's own."""
        if (known := self._cache.get(messages)) is not None:
            return known
        ids = self._render(self.guard.messages(messages))
        roles = tuple(message.role for message in messages)
        if roles not in self._own:
            self._own[roles] = self.num_control_ids(self._render(tuple(Message(role, "x") for role in roles)))
        found = self.num_control_ids(ids)
        if found != self._own[roles] and self.guard.policy != "allow":
            raise RequestRefused(
                f"the prompt has {found} control tokens, its chat template {self._own[roles]}"
            )
        if (size := self._cached_tokens + len(ids)) > _REMEMBERED:
            self._cache.clear()
            size = len(ids)
        self._cache[messages], self._cached_tokens = ids, size
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Markers such as `<think>` stay; lone surrogates become U+FFFD."""
        decoded = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return _SURROGATE.sub("\ufffd", decoded)

    def num_control_ids(self, ids: Iterable[int]) -> int:
        return sum(index in self._control_ids for index in ids)

    def identity(self) -> str:
        policy = "" if self.guard.policy == "neutralise" else self.guard.policy
        return repr((self.template, sorted(self._arguments.items()))) + policy

    def _render(self, messages: Messages) -> tuple[int, ...]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        text = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False, **self._arguments
        )
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))
