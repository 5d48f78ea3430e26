"""What Schemathesis does not know by itself: bodies that are no JSON."""

import schemathesis
from hypothesis import strategies as st


def as_bytes(value):
    """The body as it is sent."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.serializer("application/x-ndjson", "application/wasm")
def raw(_, value):
    return as_bytes(value)


# Lines of what may be JSON, and what is certainly no component.
schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(st.sampled_from(["{}", "[]", "null", "x", '{"mission_id": "a"}', ""]), max_size=4).map("\n".join).map(str.encode),
)
schemathesis.openapi.media_type("application/wasm", st.binary(max_size=64))
