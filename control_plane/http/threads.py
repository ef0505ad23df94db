"""Threads for what waits for others: a processor, a mail server. Requests' own threads stay free meanwhile."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Threads of their own: they may wait for SQLite's one writer, who must not wait for a thread in turn.
_WAITING: Final = ThreadPoolExecutor(64, thread_name_prefix="apart")


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``function`` in such a thread, with the context (of logs) of this request."""
    call = partial(copy_context().run, function, *args, **kwargs)
    return await get_running_loop().run_in_executor(_WAITING, call)
