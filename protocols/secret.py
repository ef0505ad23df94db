"""A value that hides itself: in ``repr``, ``str``, format strings and, having no encoder, in JSON."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, final

T = TypeVar("T")

HIDDEN: Final = "•••"


@final
class Secret(Generic[T]):
    """Wraps a password, token or key. Only ``reveal()`` gives it back; two are equal when their values are."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The hidden value, for the one place that must use it."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")
