"""The face of a plugin: what it says of itself, what it finds wrong, how it ends."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import wit_world
from componentize_py_types import Err

from . import report
from ._tool import CallError, Tools


@dataclass(frozen=True)
class Brief:
    """What the mission is: the parts of its envelope that a plugin works from."""

    mission_id: str
    """Globally unique; empty in ``check``, as are the next two."""
    vp_id: str
    """The VP that the mission is done as."""
    vp_session_id: str
    """The session that it belongs to: missions of one session share a workspace."""
    mission_type: str
    """``coding``, ``research``, ``automation`` or ``custom``."""
    objective: str
    """What is to be done, in words."""
    inputs: dict[str, Any]
    """The plugin's own inputs; empty where the envelope has none."""
    success_criteria: list[str] = field(default_factory=list)
    """What must hold at the end; judge them with :func:`sortie_plugin.report.judge`, by index."""
    required_outputs: list[str] = field(default_factory=list)
    """Names or globs of artifacts that must exist at the end."""


class Manifest:
    """What a plugin says of itself.

    :param name: ``a-z0-9-``, at most 64 characters.
    :param version: SemVer.
    :param description: a sentence or two.
    :param inputs_schema: JSON Schema of the brief's inputs; the node holds missions against it before they are accepted.
    :param needs_model: no mission of it can be done without a model.
    :param needs_tools: none can be done without these tools; of a list in the list, without one of them.
    :param uses_tools: tools that it makes use of where it is granted them, and can do without.
    :param needs_memory_mib: memory that a run may take: a node that gives its plugins less does not install it.
    :param needs_run_time: the run time without which none can be done, in seconds.
    :param examples: inputs that missions may have; they fit the schema.
    :param outputs_schema: what missions leave: JSON Schema of an object that has each artifact as a property, by its name.
    """

    def __init__(
        self,
        name: str,
        version: str,
        description: str,
        *,
        inputs_schema: Any = None,
        needs_model: bool = False,
        needs_tools: Iterable[str | list[str]] = (),
        uses_tools: Iterable[str] = (),
        needs_memory_mib: int | None = None,
        needs_run_time: float | None = None,
        examples: Iterable[dict[str, Any]] = (),
        outputs_schema: Any = None,
    ) -> None:
        self.name = name
        self.version = version
        self.description = description
        self.inputs_schema = inputs_schema
        self.needs_model = needs_model
        self.needs_tools = list(needs_tools)
        self.uses_tools = list(uses_tools)
        self.needs_memory_mib = needs_memory_mib
        self.needs_run_time = needs_run_time
        self.examples = list(examples)
        self.outputs_schema = outputs_schema

    def _of_world(self) -> wit_world.Manifest:
        schema = None if self.inputs_schema is None else json.dumps(self.inputs_schema)
        needs: list[wit_world.Need] = [wit_world.Need_Model()] if self.needs_model else []
        for need in self.needs_tools:
            needs.append(wit_world.Need_Tool(need) if isinstance(need, str) else wit_world.Need_OneOf(list(need)))
        return wit_world.Manifest(self.name, self.version, self.description, schema, needs)

    def _particulars(self) -> wit_world.Particulars:
        outputs = None if self.outputs_schema is None else json.dumps(self.outputs_schema)
        memory = None if self.needs_memory_mib is None else self.needs_memory_mib << 20
        runtime = None if self.needs_run_time is None else round(self.needs_run_time * 1000)
        examples = [json.dumps(example) for example in self.examples]
        return wit_world.Particulars(self.uses_tools, memory, runtime, examples, outputs)


@dataclass(frozen=True)
class Mistake:
    """Something wrong with a brief, found before its mission is accepted."""

    pointer: str
    """JSON Pointer (RFC 6901) into the envelope, such as ``/inputs/steps/2/needs/0``."""
    code: str
    """A stable code for programs."""
    detail: str
    """A sentence for people."""


@dataclass(frozen=True)
class Outcome:
    """The mission is done."""

    summary: str
    """One line for people."""
    next_action: str | None = None
    """The one thing that somebody should do next, if there is one."""


class Failure(Exception):
    """The mission could not be done: raise it, anywhere in ``run``.

    :param summary: one line for people.
    :param tool: the tool whose call is to blame, if one is.
    :param next_action: the one thing that somebody should do next, if there is one.
    """

    def __init__(self, summary: str, *, tool: str | None = None, next_action: str | None = None) -> None:
        super().__init__(summary)
        self.summary = summary
        self.tool = tool
        self.next_action = next_action


class Plugin:
    """A mission plugin. :func:`export` makes it a component.

    Every function is called in an instance of its own: nothing is kept from one call to the next.
    """

    def describe(self) -> Manifest:
        """Who the plugin is. Called once, when it is installed."""
        raise NotImplementedError

    def check(self, brief: Brief) -> list[Mistake]:
        """What is wrong with a brief, found before its mission is accepted.

        Tools, artifacts, reports, people and time are not there yet: using them here ends the check.
        """
        return []

    def run(self, brief: Brief, tools: Tools) -> Outcome:
        """Does the mission with the tools that it was granted.

        :raises Failure: it cannot be done. A :class:`CallError` that nobody catches makes one, too.
        """
        raise NotImplementedError


def _brief(of_world: Any) -> Brief:
    return Brief(
        of_world.mission_id,
        of_world.vp_id,
        of_world.vp_session_id,
        of_world.mission_type,
        of_world.objective,
        json.loads(of_world.inputs),
        list(of_world.success_criteria),
        list(of_world.required_outputs),
    )


def _told(error: Exception) -> str:
    """An error that nobody caught, and where it was in the plugin's own files."""
    said = str(error)
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    # The folders that a component is made of are numbered; the project is the first.
    own = [frame for frame in frames if frame.filename.startswith("/0/")] or list(frames)
    if not own:
        return what
    place = re.sub(r"^/\d+/", "", own[-1].filename)
    return f"{what}, at {own[-1].name} ({place}:{own[-1].lineno})"


def export(plugin: type[Plugin]) -> type:
    """Makes a plugin the face of the component: ``WitWorld = export(MyPlugin)``, once, in the module that is built."""

    class WitWorld(wit_world.WitWorld):
        def describe(self) -> wit_world.Manifest:
            return plugin().describe()._of_world()

        def profile(self) -> wit_world.Particulars:
            return plugin().describe()._particulars()

        def check(self, brief: Any) -> list[wit_world.Mistake]:
            found = plugin().check(_brief(brief))
            return [wit_world.Mistake(mistake.pointer, mistake.code, mistake.detail) for mistake in found]

        def run(self, brief: Any, tools: Any) -> wit_world.Outcome:
            try:
                outcome = plugin().run(_brief(brief), Tools(tools))
            except Failure as failure:
                raise Err(wit_world.Failure(failure.summary, failure.tool, failure.next_action)) from None
            except CallError as error:
                summary = f"{error.tool}: {error.text}" if error.tool else error.text
                raise Err(wit_world.Failure(summary, error.tool, None)) from None
            except Exception as error:
                # What is logged last as an error is what the mission's end says; the traceback follows on standard error.
                report.error(_told(error))
                raise
            return wit_world.Outcome(outcome.summary, outcome.next_action)

    return WitWorld
