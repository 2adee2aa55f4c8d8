"""`POST /v1/completions`: what a client may ask, and the bytes it gets, as vLLM words them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from simulations.box.vllm_server.options import ServerOptions

BYTES_A_TOKEN = 4
"""Of a prompt that comes as text: about what English takes."""
TOKENS_MAX_DEFAULT = 16
"""OpenAI's default of `max_tokens` for completions."""
WORDS = (" the", " of", " and", " to", " in", " a", " is", " that")
DONE = b"data: [DONE]\n\n"
ENGINE_DIED = "EngineCore encountered an issue. See stack trace (above) for the root cause."
SHUT_DOWN = "cannot schedule new futures after shutdown"


class Refused(Exception):  # noqa: N818  an answer, not a fault
    """A request that gets an error instead of tokens."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, kind, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One request, understood."""

    model: str
    tokens: list[int]
    """The prompt."""
    tokens_max: int
    output: int
    """Tokens that will be made: `tokens_max`, or fewer where it may end by itself."""
    stream: bool
    usage: bool
    """A last chunk with the usage."""
    usage_in_each: bool
    """`continuous_usage_stats`."""


def understand(body: bytes, options: ServerOptions, randomness: random.Random) -> CompletionRequest:
    """The request in a body.

    Raises:
        Refused: vLLM would answer with an error.
    """
    asked = _object(body)
    model = asked.get("model", options.served_model_names[0])
    if model not in options.served_model_names:
        raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.")
    tokens = _prompt(asked.get("prompt"))
    tokens_max = _whole(asked, "max_tokens", TOKENS_MAX_DEFAULT, least=1)
    if _whole(asked, "n", 1, least=1) != 1:
        raise Refused(400, "BadRequestError", "this server makes one completion: n must be 1")
    room = options.model_length_max
    if len(tokens) + tokens_max > room:
        raise Refused(
            400,
            "BadRequestError",
            f"This model's maximum context length is {room} tokens. However, you requested "
            f"{len(tokens) + tokens_max} tokens ({len(tokens)} in the messages, {tokens_max} in "
            "the completion). Please reduce the length of the messages or completion.",
        )
    output = tokens_max
    if not asked.get("ignore_eos", False):
        natural = max(1, round(randomness.expovariate(1 / options.natural_tokens)))
        least = _whole(asked, "min_tokens", 0, least=0)
        output = min(tokens_max, max(natural, least))
    stream_options = asked.get("stream_options") or {}
    return CompletionRequest(
        model=model,
        tokens=tokens,
        tokens_max=tokens_max,
        output=output,
        stream=bool(asked.get("stream", False)),
        usage=bool(stream_options.get("include_usage", False)),
        usage_in_each=bool(stream_options.get("continuous_usage_stats", False)),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        raise Refused(400, "BadRequestError", "the body is no JSON") from None
    if not isinstance(asked, dict):
        raise Refused(400, "BadRequestError", "the body is no JSON object")
    return asked


def _prompt(prompt: object) -> list[int]:
    """Token ids of a prompt: given, or one for every few bytes of its text."""
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        text = prompt.encode()
        parts = range(0, len(text), BYTES_A_TOKEN)
        tokens = [int.from_bytes(text[start : start + BYTES_A_TOKEN], "big") for start in parts]
    elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
        tokens = prompt
    else:
        raise Refused(400, "BadRequestError", "prompt must be a text or a list of token ids")
    if not tokens:
        raise Refused(400, "BadRequestError", "The decoder prompt cannot be empty")
    return tokens


def _whole(asked: dict[str, Any], name: str, default: int, *, least: int) -> int:
    value = asked.get(name)
    if value is None:
        return default
    if type(value) is not int or value < least:
        raise Refused(400, "BadRequestError", f"{name} must be a whole number of at least {least}")
    return value


def error_body(status: int, kind: str, message: str) -> dict[str, Any]:
    """An error as vLLM's JSON has it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def usage(asked: CompletionRequest, made: int) -> dict[str, int]:
    """Tokens in and out."""
    return {
        "prompt_tokens": len(asked.tokens),
        "total_tokens": len(asked.tokens) + made,
        "completion_tokens": made,
    }


class CompletionAnswer:
    """What is written to one client: the events of a stream, or everything at once."""

    def __init__(self, asked: CompletionRequest, *, identity: str, created: int) -> None:
        self._asked = asked
        self._head = {
            "id": identity,
            "object": "text_completion",
            "created": created,
            "model": asked.model,
        }
        # a token's event is the same but for its word, so it is made once; not if it tells the usage
        alike = asked.stream and not asked.usage_in_each
        self._words = [self._token(number, None) for number in range(len(WORDS))] if alike else []

    def tokens(self, first: int, count: int, *, finish_reason: str | None) -> bytes:
        """Events of so many tokens; the last one carries the reason, if there is one."""
        plain = count - 1 if finish_reason else count
        numbers = range(first, first + plain)
        if self._words:
            events = [self._words[number % len(WORDS)] for number in numbers]
        else:
            events = [self._token(number, None) for number in numbers]
        if finish_reason:
            events.append(self._token(first + plain, finish_reason))
        return b"".join(events)

    def end(self, made: int) -> bytes:
        """What follows the last token."""
        if not self._asked.usage:
            return DONE
        return event({**self._head, "choices": [], "usage": usage(self._asked, made)}) + DONE

    def whole(self, *, finish_reason: str) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        made = self._asked.output
        text = "".join(WORDS[number % len(WORDS)] for number in range(made))
        counted = usage(self._asked, made)
        return {**self._head, "choices": [_choice(text, finish_reason)], "usage": counted}

    def _token(self, number: int, finish_reason: str | None) -> bytes:
        """Write the event of one token, counted from 0."""
        choice = _choice(WORDS[number % len(WORDS)], finish_reason)
        counted = usage(self._asked, number + 1) if self._asked.usage_in_each else None
        return event({**self._head, "choices": [choice], "usage": counted})


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {
        "index": 0,
        "text": text,
        "logprobs": None,
        "finish_reason": finish_reason,
        "stop_reason": None,
    }
