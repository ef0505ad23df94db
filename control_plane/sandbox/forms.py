"""Stripe's form bodies: ``items[0][price]=x&metadata[a]=b&expand[]=c`` as nested values of text."""

from __future__ import annotations

from urllib.parse import parse_qsl

from control_plane.sandbox.errors import MalformedRequest

#: Text, or the named or numbered children of a bracketed name.
Form = str | dict[str, "Form"]

_DEEPEST = 12


def decode(text: str) -> dict[str, Form]:
    """The form as nested dicts; the members of a list have their positions as keys. Raises MalformedRequest."""
    root: dict[str, Form] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(root, name, value)
    return root


def as_list(value: Form) -> list[Form] | None:
    """The members of a bracketed list in order, or None when it is no list."""
    if isinstance(value, str) or not all(key.isdecimal() for key in value):
        return None
    return [value[key] for key in sorted(value, key=int)]


def _put(root: dict[str, Form], name: str, value: str) -> None:
    first, *rest = name.split("[")
    if len(rest) > _DEEPEST or any(not part.endswith("]") for part in rest):
        raise MalformedRequest(f"Invalid parameter name: {name}", param=name)
    here = root
    path = [first, *(part[:-1] for part in rest)]
    for part in path[:-1]:
        child = here.setdefault(part or str(len(here)), {})
        if isinstance(child, str):
            raise MalformedRequest(f"Invalid object: {name}", param=name)
        here = child
    here[path[-1] or str(len(here))] = value
