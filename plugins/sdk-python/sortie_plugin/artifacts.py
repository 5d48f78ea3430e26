"""What a mission leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from componentize_py_types import Err
from wit_world.imports import artifacts as world

from ._face import Failure


@dataclass(frozen=True)
class Artifact:
    """An artifact in the mission's index."""

    name: str
    """Its name."""
    bytes: int
    """Its size in bytes."""
    sha256: str
    """SHA-256 in hex."""


def put(name: str, media_type: str, content: bytes | str) -> Artifact:
    """Stores a text, or bytes, under a name: a relative path of plain segments. The same name again replaces it.

    :raises Failure: what is wrong with the name, the type or the size.
    """
    content = content.encode() if isinstance(content, str) else bytes(content)
    try:
        return _of_world(world.put(name, media_type, content))
    except Err as error:
        raise Failure(error.value) from None


def put_file(name: str, media_type: str, path: str) -> Artifact:
    """Stores a file of the workspace.

    :raises Failure: what is wrong with the name, the type, the path or the size.
    """
    try:
        return _of_world(world.put_file(name, media_type, path))
    except Err as error:
        raise Failure(error.value) from None


def get(name: str) -> bytes:
    """Reads back an artifact of this mission.

    :raises KeyError: there is none of that name.
    """
    try:
        return world.get(name)
    except Err as error:
        raise KeyError(error.value) from None


def _of_world(artifact: world.Artifact) -> Artifact:
    return Artifact(artifact.name, artifact.bytes, artifact.sha256)
