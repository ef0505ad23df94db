"""Objects as the SDK's classes declare them: every field is there, null where nothing is known.

A hash that depends on a type (``payment_method.card``, ``payment_method_details.sepa_debit``, ``next_action.…``) carries
the branch of its type only, as Stripe's does: code that reads another branch must fail here as it would there.
"""

from __future__ import annotations

import types
import typing
from copy import deepcopy
from functools import lru_cache
from typing import Any, Union

import msgspec
import typing_extensions
from stripe import StripeObject
from stripe._object_classes import get_object_class

from control_plane.sandbox.errors import Json

_LITERALS = (typing.Literal, typing_extensions.Literal)
#: Sent only on what was deleted.
_LEFT_OUT = frozenset({"OBJECT_NAME", "deleted"})


def make(kind: str, **fields: object) -> Json:
    """A new object of Stripe's ``object`` name, e.g. ``charge``, with these fields and blanks for the others."""
    shape: Json = msgspec.json.decode(_template(get_object_class("V1", kind)))
    return _filled(shape, fields)


def part(owner: type[StripeObject], **fields: object) -> Json:
    """A nested hash, e.g. ``part(Charge.Outcome, type="authorized")``."""
    shape: Json = msgspec.json.decode(_template(owner))
    return _filled(shape, fields)


def variant(kind: str, **fields: object) -> Json:
    """A hash with the branch of its type only."""
    return {"type": kind, **deepcopy(fields)}


def accepts_null(annotation: object) -> bool:
    """Whether the SDK's type of a field allows null."""
    return annotation is type(None) or (
        typing.get_origin(annotation) in (Union, types.UnionType)
        and any(accepts_null(one) for one in typing.get_args(annotation))
    )


def _filled(shape: Json, fields: Json) -> Json:
    unknown = fields.keys() - shape.keys()
    known = {name for name in unknown if name.startswith("_")}
    if unknown - known:
        raise KeyError(f"{shape.get('object')} has no {sorted(unknown - known)}")
    shape.update(fields)
    return shape


@lru_cache(maxsize=None)
def _template(owner: type[StripeObject]) -> bytes:
    return msgspec.json.encode(_blank(owner))


def _blank(owner: type[StripeObject]) -> Json:
    return {
        name: _blank_value(annotation)
        for name, annotation in owner.__annotations__.items()
        if name not in _LEFT_OUT
    }


def _blank_value(annotation: Any) -> object:  # a type of the SDK
    if accepts_null(annotation):
        return None
    origin = typing.get_origin(annotation)
    if origin in _LITERALS:
        values = typing.get_args(annotation)
        return values[0] if len(values) == 1 else None
    if origin is list:
        return []
    if origin is dict or (isinstance(origin, type) and issubclass(origin, StripeObject)):
        return {}
    if isinstance(annotation, type) and issubclass(annotation, StripeObject):
        return _blank(annotation)
    return {bool: False, int: 0}.get(annotation)
