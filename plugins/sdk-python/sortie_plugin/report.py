"""What people see of a mission while it runs."""

from __future__ import annotations

from typing import Literal

from wit_world.imports import report as world

_VERDICTS = {"met": world.Verdict.MET, "unmet": world.Verdict.UNMET, "not-judged": world.Verdict.NOT_JUDGED}


def milestone(text: str) -> None:
    """A step worth a person's attention: becomes a progress event where the mission's cadence reports milestones."""
    world.milestone(text)


def debug(text: str) -> None:
    """A line for the mission's log: details."""
    world.log(world.Level.DEBUG, text)


def info(text: str) -> None:
    """A line for the mission's log. ``print`` writes such lines, too."""
    world.log(world.Level.INFO, text)


def warn(text: str) -> None:
    """A line for the mission's log: something is odd."""
    world.log(world.Level.WARN, text)


def error(text: str) -> None:
    """A line for the mission's log: something went wrong."""
    world.log(world.Level.ERROR, text)


def judge(criterion: int, verdict: Literal["met", "unmet", "not-judged"], evidence: str) -> None:
    """Judges a success criterion, by its index in the brief. The last judgement counts; an unmet one fails the mission."""
    world.judge(criterion, _VERDICTS[verdict], evidence)
