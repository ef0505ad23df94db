"""A form as it was filled in, for pages whose fields depend on settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile

from protocols.errors import MoneyMismatch
from protocols.money import Money

_LONGEST: Final = 2_000


class Filled:
    """What was sent. A field that is not there is empty."""

    def __init__(self, form: FormData) -> None:
        self._form = form

    def text(self, name: str, most: int = 200) -> str:
        """One value, trimmed; of more than ``most`` characters, the first."""
        value = self._form.get(name)
        return value.strip()[:most] if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Every value of a name, such as of checked boxes."""
        return [one.strip() for one in self._form.getlist(name) if isinstance(one, str)]

    def lines(self, name: str) -> list[str]:
        """The lines of a text that are not empty."""
        return [line.strip() for line in self.text(name, _LONGEST).splitlines() if line.strip()]

    def is_on(self, name: str) -> bool:
        """Whether a box was checked."""
        return name in self._form

    def number(self, name: str) -> int | None:
        """A whole number; None for nothing or something else."""
        text = self.text(name, 9)
        return int(text) if text.isascii() and text.isdecimal() else None

    def amounts(self, name: str, currencies: list[str] | tuple[str, ...]) -> Mapping[str, int]:
        """Amounts in fields ``name:EUR``. Raises MoneyMismatch."""
        found = {}
        for currency in currencies:
            if text := self.text(f"{name}:{currency}", 20):
                amount = Money.parse(text, currency)
                if amount.minor <= 0:
                    raise MoneyMismatch("write an amount above zero", text=text)
                found[currency] = amount.minor
        return found

    def file(self, name: str) -> tuple[str, bytes] | None:
        """Name and content of a file that was chosen."""
        value = self._form.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            return None
        return value.filename, value.file.read()


async def _filled(request: Request) -> AsyncIterator[Filled]:
    form = await request.form()
    try:
        yield Filled(form)
    finally:
        # A file that was sent is kept on disk until then.
        await form.close()


Form = Annotated[Filled, Depends(_filled, scope="function")]
