"""Missions that this one dispatches: children, each by itself, with no more than this mission has.

An order is an object in the words of an envelope (``/schemas/mission-order.json``), a result says how the child ended
(``/schemas/mission-result.json``)::

    child = missions.dispatch(
        {
            "objective": "Leave a greeting behind.",
            "mission_type": "automation",
            "inputs": {"steps": [...]},
            "constraints": {"allowed_tools": ["Write"]},
            "budget": {"max_runtime_minutes": 5},
        }
    )
    ended = child.get()
    if ended["status"] == "completed":
        greeting = missions.artifact(ended["mission_id"], "a.md")
"""

from __future__ import annotations

from typing import Any

from componentize_py_types import Err
from wit_world.imports import missions as world

from ._tool import Pending, _error, to_json


def dispatch(order: dict[str, Any]) -> Pending:
    """Dispatches a child and goes on: its end is the result, however it ended. To cancel the pending is to cancel the child.

    :raises CallError: nothing was dispatched. ``Denied``, where it goes beyond what this mission may; ``BudgetExhausted``, where its
        share is not left; ``InvalidArguments``, where the node would not take such a mission.
    """
    try:
        return Pending(world.dispatch(to_json(order)))
    except Err as error:
        raise _error(error.value, None) from None


def artifact(mission_id: str, name: str) -> bytes:
    """Reads an artifact that a child left which has ended, by the ``mission_id`` of its result.

    :raises KeyError: there is none of that name.
    """
    try:
        return world.artifact(mission_id, name)
    except Err as error:
        raise KeyError(error.value) from None
