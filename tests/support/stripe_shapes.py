"""Whether an answer is what the SDK's classes declare: every field there, of its type, null only where allowed."""

from __future__ import annotations

import types
import typing
from typing import Any, ForwardRef, Union

import typing_extensions
from stripe import StripeObject
from stripe._object_classes import get_object_class

from control_plane.sandbox.shapes import accepts_null, is_branch

_LITERALS = (typing.Literal, typing_extensions.Literal)
#: Sent on deleted objects only.
_SOMETIMES = frozenset({"OBJECT_NAME", "deleted"})
#: Hashes that Stripe sends with what is known only.
_SPARSE = (
    "account.capabilities",
    "amount_details",
    "event.data",
    "fraud_details",
    "radar_options",
    "source_types",
    "tip",
)
_LISTS = frozenset({"list", "search_result"})


def complaints(value: Any) -> list[str]:  # Any: a decoded answer
    """What differs from the class of the answer's ``object``; empty when all is as declared."""
    if value.get("deleted"):
        return []
    if value["object"] in _LISTS:
        return [one for member in value["data"] for one in complaints(member)]
    return _of_class(value, get_object_class("V1", value["object"]), value["object"])


def _of_class(value: Any, owner: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no object"]
    found = [
        f"{path}: {name} is not declared" for name in value if name not in owner.__annotations__
    ]
    for name, annotation in owner.__annotations__.items():
        if name in _SOMETIMES or (name not in value and is_branch(owner, name)):
            continue
        if name not in value and path.endswith(_SPARSE):
            continue
        if name not in value:
            found.append(f"{path}: {name} is missing")
        else:
            found += _of_type(value[name], annotation, f"{path}.{name}")
    return found


def _of_type(value: Any, annotation: Any, path: str) -> list[str]:
    if value is None:
        return [] if accepts_null(annotation) else [f"{path}: null"]
    options = [one for one in _options(annotation) if one is not type(None)]
    tried = [_of_option(value, one, path) for one in options]
    if any(not one for one in tried):
        return []
    # An expanded object or a nested class tells more than the alternatives it did not match.
    return max(tried, key=len)


def _of_option(value: Any, annotation: Any, path: str) -> list[str]:
    origin = typing.get_origin(annotation)
    if isinstance(annotation, ForwardRef):
        return complaints(value) if isinstance(value, dict) else [f"{path}: {value!r}"]
    if annotation is Any:
        return []
    if origin in _LITERALS:
        return [] if value in typing.get_args(annotation) else [f"{path}: {value!r}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: no list"]
        (inner,) = typing.get_args(annotation)
        return [
            one
            for at, member in enumerate(value)
            for one in _of_type(member, inner, f"{path}[{at}]")
        ]
    if origin is dict or (isinstance(origin, type) and issubclass(origin, StripeObject)):
        return [] if isinstance(value, dict) else [f"{path}: no map"]
    if isinstance(annotation, type) and issubclass(annotation, StripeObject):
        return _of_class(value, annotation, path) if annotation.__annotations__ else []
    if annotation is float:
        return [] if isinstance(value, int | float) else [f"{path}: {value!r}"]
    if getattr(annotation, "__name__", "") == "Decimal":
        return [] if isinstance(value, str) else [f"{path}: {value!r} is no decimal text"]
    if annotation is int and isinstance(value, bool):
        return [f"{path}: {value!r}"]
    return [] if isinstance(value, annotation) else [f"{path}: {value!r}"]


def _options(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _options(part)]
    return [annotation]
