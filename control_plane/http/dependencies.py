"""What routes ask for: the parts of the program, and the transaction of the request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from control_plane.parts import Parts


def parts_of(request: HTTPConnection) -> Parts:
    """The parts that the app was made with."""
    parts: Parts = request.app.state.parts
    return parts


async def app_parts(request: HTTPConnection) -> Parts:
    """The same as a dependency: what is not ``async`` is handed to a thread, which costs more than it does."""
    return parts_of(request)


async def unit_of_work(request: HTTPConnection) -> AsyncIterator[Session]:
    """The one transaction of a request: committed before the answer is sent, rolled back by an exception."""
    async with parts_of(request).database.request_transaction() as db:
        yield db


async def reading(request: HTTPConnection) -> AsyncIterator[Session]:
    """A snapshot to read from."""
    async with parts_of(request).database.request_reading() as db:
        yield db


async def writer_slot(request: HTTPConnection) -> AsyncIterator[None]:
    """The turn to write, for a route that opens ``database.connection()`` itself."""
    async with parts_of(request).database.writer_slot():
        yield


# `scope="function"`: else FastAPI sends the answer before the commit.
Db = Annotated[Session, Depends(unit_of_work, scope="function")]
ReadDb = Annotated[Session, Depends(reading, scope="function")]
WriterSlot = Annotated[None, Depends(writer_slot, scope="function")]
App = Annotated[Parts, Depends(app_parts)]
