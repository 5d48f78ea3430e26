"""What the mission has left, and how it lands: a mission that is cut at its limit strands its work.

A plugin that works in turns asks for the signal once, and looks at it between two turns::

    closing = limits.closing()
    while turn():
        if closing.is_given():
            limits.land()
            write_what_there_is()
            break

One that waits for what may outlast a limit (a page, a person) waits for the signal beside it, last: of several that are ready the first is told::

    with human.start("Does it stand?") as question:
        if wait_any([question, closing.pending]) == 1:
            limits.land()  # The end of the block withdraws the question.
"""

from __future__ import annotations

from dataclasses import dataclass

from wit_world.imports import limits as world

from ._tool import Pending, wait_any


@dataclass(frozen=True)
class Left:
    """What is left of the budget. What has no limit is ``None``."""

    runtime_ms: int
    """Run time, in milliseconds."""
    llm_calls: int | None
    """Calls of models."""
    micro_usd: int | None
    """Money, in millionths of a US dollar."""
    landing_llm_calls: int
    """So many of these calls are kept for landing."""
    landing_micro_usd: int
    """So much of this money is kept for landing."""


class Closing:
    """The signal that landing should begin: see :func:`closing`."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        """To wait for it and for others."""

    def is_given(self) -> bool:
        """Whether it was given."""
        from .time import after

        # The first of several that are ready is told: a timer that is over says that the signal is not.
        with after(0) as now:
            return wait_any([self.pending, now]) == 0


def closing() -> Closing:
    """Asks for the signal that landing should begin: at 95 % of the window, the run time, the model calls or the money, unless the
    node is configured otherwise. From the first time that this is asked for, what is behind that mark is kept: a call that would
    take of it is :class:`~sortie_plugin.BudgetExhausted` until :func:`land` was called."""
    return Closing(Pending(world.closing()))


def land() -> None:
    """The mission lands: from here on it may use what was kept for that."""
    world.land()


def deadline_ms() -> int | None:
    """Until when there is time, in milliseconds since 1970: the end of the window or of the run time, whichever comes first."""
    return world.deadline()


def left() -> Left:
    """What is left at this moment."""
    left = world.left()
    return Left(left.runtime_ms, left.llm_calls, left.micro_usd, left.landing_llm_calls, left.landing_micro_usd)
