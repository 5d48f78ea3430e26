"""People: questions that the mission waits for, for hours if need be."""

from __future__ import annotations

from wit_world.imports import human as world

from ._tool import Pending


def start(question: str) -> Pending:
    """Asks somebody, in at most 4,096 bytes, and goes on. Meanwhile the mission is ``blocked``; its other calls go on."""
    return Pending(world.ask(question))


def ask(question: str) -> str:
    """Asks somebody and waits for the answer.

    :raises Denied: the question was turned down. Where nobody answers in time, the mission ends.
    """
    return start(question).get()
