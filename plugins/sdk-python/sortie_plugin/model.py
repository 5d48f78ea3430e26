"""Models: questions that the mission pays for.

A request and its answer are objects of ``/schemas/model-request.json`` and ``/schemas/model-answer.json``::

    answer = model.ask("Which of these files is a test?", max_tokens=500)

    request = {"messages": [{"role": "user", "content": "Find the test."}], "max_tokens": 500}
    answer = model.complete(request, tools)
    for block in answer["content"]:
        if block["type"] == "tool_use":
            ...  # A wish: whether it is granted is the plugin's to say, by a call of the tool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wit_world.imports import model as world

from ._tool import Pending, Tool, to_json


@dataclass(frozen=True)
class ModelInfo:
    """A model that the node has."""

    name: str
    """What a request names it by."""
    context_tokens: int | None
    """How much of a conversation it takes, in tokens, where that is known."""
    takes_tools: bool
    """It can ask for tools."""
    takes_images: bool
    """It can be shown images."""
    takes_schemas: bool
    """It answers by a JSON Schema of itself; of one that does not, the node asks it and checks the answer."""
    is_default: bool
    """It is meant where a request names none."""


def describe() -> list[ModelInfo]:
    """The node's models; none, where it has none."""
    return [
        ModelInfo(
            info.name,
            info.context_tokens,
            info.takes_tools,
            info.takes_images,
            info.takes_schemas,
            info.is_default,
        )
        for info in world.describe()
    ]


def start(request: dict[str, Any], tools: Iterable[Tool] = ()) -> Pending:
    """Asks a model and goes on. It may ask for these tools, and is told of no others."""
    return Pending(world.complete(to_json(request), [tool._handle for tool in tools]))


def complete(request: dict[str, Any], tools: Iterable[Tool] = ()) -> dict[str, Any]:
    """Asks a model and waits for its answer.

    :raises CallError: a refusal is a value, too.
    """
    return start(request, tools).get()


def ask(prompt: str, **request: Any) -> str:
    """Asks a model one thing and waits for the text of its answer; what else a request has is given by its names.

    :raises CallError: a refusal is a value, too.
    """
    answer = complete({"messages": [{"role": "user", "content": prompt}], **request})
    return text(answer)


def text(answer: dict[str, Any]) -> str:
    """The text of an answer."""
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")
