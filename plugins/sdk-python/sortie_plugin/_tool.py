"""Tools, as capabilities: whoever holds a :class:`Tool` may call it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world.imports import tools as world
from wit_world.imports import types as world_types

T = TypeVar("T")


class CallError(Exception):
    """Why a call has no result. A refusal is a value: handle it, or let it fail the mission.

    Each of its cases is a class of its own, such as :class:`Denied`.
    """

    code = "failed"
    """The name of the case, such as ``budget-exhausted``."""

    def __init__(self, text: str, tool: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        """What the node says."""
        self.tool = tool
        """The tool whose call it was, if it was one's."""


class Denied(CallError):
    """The mission may not do this; the text names the rule. Of a question: somebody turned it down."""

    code = "denied"


class BudgetExhausted(CallError):
    """Calls or cost of the budget are spent."""

    code = "budget-exhausted"


class Cancelled(CallError):
    """The call was cancelled, or the mission is ending."""

    code = "cancelled"


class InvalidArguments(CallError):
    """The arguments do not fit the tool's schema; the text says where."""

    code = "invalid-arguments"


class Failed(CallError):
    """The tool tried and failed."""

    code = "failed"


class TimedOut(CallError):
    """The tool took longer than it may."""

    code = "timed-out"


class Uncertain(CallError):
    """After a crash it is not known whether the call happened, and it is not repeated: look before you ask again."""

    code = "uncertain"


_CASES = {
    world_types.CallError_Denied: Denied,
    world_types.CallError_BudgetExhausted: BudgetExhausted,
    world_types.CallError_InvalidArguments: InvalidArguments,
    world_types.CallError_Failed: Failed,
    world_types.CallError_TimedOut: TimedOut,
    world_types.CallError_Uncertain: Uncertain,
}


def _error(of_world: Any, tool: str | None) -> CallError:
    case = _CASES.get(type(of_world))
    return case(of_world.value, tool) if case else Cancelled("the call was cancelled", tool)


def to_json(value: Any, tool: str | None = None) -> str:
    """JSON as the node reads it: no infinities, and always the same text for the same value."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as why:
        raise InvalidArguments(f"this cannot be written as JSON: {why}", tool) from why


def _as(form: type[T], value: Any, tool: str | None) -> T:
    if not dataclasses.is_dataclass(form) or not isinstance(value, dict):
        raise Failed(f"a result of another form than {form.__name__}", tool)
    names = [field.name for field in dataclasses.fields(form)]
    try:
        return form(**{name: value[name] for name in names if name in value})
    except TypeError as why:
        raise Failed(f"a result of another form: {why}", tool) from why


@dataclass(frozen=True)
class ToolInfo:
    """What a tool is."""

    name: str
    """Such as ``Read`` or ``mcp__github__create_issue``."""
    description: str
    """A sentence or two."""
    input_schema: Any
    """JSON Schema of the arguments."""
    effects: list[str]
    """Effect classes, such as ``outbound_email``."""
    read_only: bool
    """It changes nothing."""


@dataclass(frozen=True)
class CallInfo:
    """What became of a call beside its result."""

    amended: Any = None
    """What it was made with, where whoever approved it changed the arguments."""


# Calls that nobody has taken the result of. A handle that is let go of cancels its call: that a garbage collector must not do.
_in_flight: set[Pending] = set()


class Pending:
    """A call on its way, a timer, or a question.

    It goes on until its result is taken, or until it is cancelled: as ``with`` does at the end of its block.
    """

    def __init__(self, handle: world.Pending, tool: str | None = None) -> None:
        self._handle: world.Pending | None = handle
        self._tool = tool
        self._result: Any = None
        self._error: CallError | None = None
        self._info = CallInfo()
        _in_flight.add(self)

    def get(self) -> Any:
        """Waits for the result. Every further time the result is the same.

        :raises CallError: a refusal is a value, too.
        """
        if self._handle is not None:
            try:
                self._result = json.loads(self._handle.get())
            except Err as error:
                self._error = _error(error.value, self._tool)
            amended = self._handle.info().amended
            if amended is not None:
                self._info = CallInfo(json.loads(amended))
            self._release()
        if self._error is not None:
            raise self._error
        return self._result

    def get_as(self, form: type[T]) -> T:
        """Waits for the result, as a dataclass: of an object it takes what has the name of a field.

        :raises CallError: also where the result has another form.
        """
        return _as(form, self.get(), self._tool)

    def info(self) -> CallInfo:
        """Waits for the result, and says what became of the call beside it."""
        if self._handle is not None:
            try:
                self.get()
            except CallError:
                pass
        return self._info

    def cancel(self) -> None:
        """Cancels it, unless its result was taken."""
        if self._handle is not None:
            self._error = Cancelled("the call was cancelled", self._tool)
            self._release()

    def _release(self) -> None:
        handle, self._handle = self._handle, None
        _in_flight.discard(self)
        if handle is not None:
            handle.__exit__(None, None, None)

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def wait_any(pending: Sequence[Pending]) -> int:
    """Waits until at least one of these is ready and says which: an index into the list. The choice is recorded.

    :raises ValueError: of an empty list, for nothing would ever be ready.
    """
    if not pending:
        raise ValueError("wait_any needs something to wait for")
    for index, one in enumerate(pending):
        if one._handle is None:
            return index
    return world.wait_any([one._handle for one in pending])


def gather(*pending: Pending, return_errors: bool = False) -> list[Any]:
    """Waits for all of these, which are under way side by side, and gives their results in the order of the list.

    :param return_errors: gives a :class:`CallError` in the place of its result, and does not raise it.
    :raises CallError: the first in the order of the list; all have ended by then.
    """
    results: list[Any] = []
    for one in pending:
        try:
            results.append(one.get())
        except CallError as error:
            results.append(error)
    if not return_errors:
        for result in results:
            if isinstance(result, CallError):
                raise result
    return results


def as_completed(pending: Iterable[Pending]) -> Iterator[Pending]:
    """Gives each of these as soon as it is ready. In which order that was is recorded."""
    left = list(pending)
    while left:
        yield left.pop(wait_any(left))


class Tool:
    """The permission to call one tool. It can be called like a function: ``read(path="a.txt")``."""

    def __init__(self, handle: world.Tool) -> None:
        self._handle = handle
        self.name: str = handle.name()
        """Its name, as the node writes it."""

    def describe(self) -> ToolInfo:
        """What it is for and what it takes."""
        info = self._handle.describe()
        return ToolInfo(info.name, info.description, json.loads(info.input_schema), list(info.effects), info.read_only)

    def call(self, arguments: Any = None, /, **named: Any) -> Any:
        """Calls it and waits for the result. Arguments are an object, or given by their names.

        :raises CallError: a refusal is a value, too.
        """
        text = self._arguments(arguments, named)
        try:
            return json.loads(self._handle.call(text))
        except Err as error:
            raise _error(error.value, self.name) from None

    __call__ = call

    def call_as(self, form: type[T], arguments: Any = None, /, **named: Any) -> T:
        """Calls it and waits for the result, as a dataclass: of an object it takes what has the name of a field.

        :raises CallError: also where the result has another form.
        """
        return _as(form, self.call(arguments, **named), self.name)

    def start(self, arguments: Any = None, /, **named: Any) -> Pending:
        """Calls it and goes on. At most 64 calls of a mission are in flight; one more fails."""
        return Pending(self._handle.start(self._arguments(arguments, named)), self.name)

    def _arguments(self, arguments: Any, named: dict[str, Any]) -> str:
        whole = named if arguments is None else {**arguments, **named} if named else arguments
        return to_json(whole, self.name)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"


class Tools:
    """The tools that the mission was granted."""

    def __init__(self, handles: list[world.Tool]) -> None:
        self._tools = [Tool(handle) for handle in handles]

    def get(self, name: str) -> Tool | None:
        """The tool of that name, without regard to case; ``None`` where the mission was not granted it."""
        return next((tool for tool in self._tools if tool.name.lower() == name.lower()), None)

    def require(self, name: str) -> Tool:
        """The tool of that name, which the plugin cannot do without.

        :raises Failure: it names the tool, and what to do.
        """
        from ._face import Failure

        tool = self.get(name)
        if tool is None:
            raise Failure(
                f"the mission was not granted the tool {name}",
                next_action=f"add {name} to constraints.allowed_tools",
            )
        return tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None
