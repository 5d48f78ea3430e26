"""Everything that a mission plugin of Sortie needs in Python, and nothing that it may not have.

A plugin is a class with three functions, and one line that makes it the component's face::

    from sortie_plugin import Brief, Manifest, Outcome, Plugin, Tools, artifacts, export, report

    class Greeter(Plugin):
        def describe(self) -> Manifest:
            return Manifest("greeter", "0.1.0", "Reads a name and greets it.")

        def run(self, brief: Brief, tools: Tools) -> Outcome:
            read = tools.require("Read")
            name = read(path="name.txt")["content"]
            report.milestone("the name is known")
            artifacts.put("greeting.txt", "text/plain", f"Hello, {name}!\\n")
            return Outcome(f"greeted, as {brief.vp_id} asked")

    WitWorld = export(Greeter)

What there is: :class:`Tools` hold what the mission was granted, :mod:`~sortie_plugin.report` speaks to people,
:mod:`~sortie_plugin.human` asks them, :mod:`~sortie_plugin.model` asks models, :mod:`~sortie_plugin.missions` dispatches others,
:mod:`~sortie_plugin.limits` says what is left, :mod:`~sortie_plugin.artifacts` keeps results, :mod:`~sortie_plugin.time` has timers. What is asked for is a :class:`Pending`;
:func:`gather` waits for several, :func:`as_completed` takes them as they come.

Python's own ``print`` writes into the mission's log, ``time.time()`` and ``time.sleep()`` go by the mission's recorded time, and
``random`` draws the same in each run of a mission. There are no files, sockets, threads, processes or environment variables.

The node may run a plugin again from its beginning at any time, and gives it the recorded answers: the same brief and the same answers
must lead to the same calls. A :class:`CallError` is an answer, too. An exception that nobody catches ends the mission as failed.
"""

from . import artifacts, human, limits, missions, model, report, time
from ._face import Brief, Failure, Manifest, Mistake, Outcome, Plugin, export
from ._tool import (
    BudgetExhausted,
    CallError,
    CallInfo,
    Cancelled,
    Denied,
    Failed,
    InvalidArguments,
    Pending,
    TimedOut,
    Tool,
    ToolInfo,
    Tools,
    Uncertain,
    as_completed,
    gather,
    wait_any,
)

__all__ = [
    "Brief",
    "BudgetExhausted",
    "CallError",
    "CallInfo",
    "Cancelled",
    "Denied",
    "Failed",
    "Failure",
    "InvalidArguments",
    "Manifest",
    "Mistake",
    "Outcome",
    "Pending",
    "Plugin",
    "TimedOut",
    "Tool",
    "ToolInfo",
    "Tools",
    "Uncertain",
    "artifacts",
    "as_completed",
    "export",
    "gather",
    "human",
    "limits",
    "missions",
    "model",
    "report",
    "time",
    "wait_any",
]
