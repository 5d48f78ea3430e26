"""Time, as the journal knows it. Python's own ``time`` goes by it, too."""

from __future__ import annotations

from wit_world.imports import time as world

from ._tool import Pending


def now_ms() -> int:
    """Milliseconds since 1970-01-01T00:00:00Z. A replay gets the recorded answer."""
    return world.now()


def after(seconds: float) -> Pending:
    """A timer that is ready after so many seconds, with the result ``None``: wait for it, or for it and others."""
    return Pending(world.after(max(0, round(seconds * 1000))))


def sleep(seconds: float) -> None:
    """Waits, for days if need be."""
    after(seconds).get()
