"""A live tail of the log for whoever looks at this box from afar: the last lines, then new ones, for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.log_book import BOOK, reaches
from protocols.cloud.commands import encode
from protocols.cloud.events import LogLines
from protocols.cloud.topics import MAX_PAYLOAD_BYTES, Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.clock import Clock
    from protocols.cloud.commands import TailLog

#: New lines are sent this often.
PACE_S: Final = 1.0
#: Of one second, so that a box that logs like mad does not fill a shop's line.
_MOST_A_TURN: Final = 200
#: What is left of a payload for lines: quotes and backslashes are written as two characters.
_ROOM: Final = MAX_PAYLOAD_BYTES // 2 - 1024


class LogTail:
    """One tail at a time; a later one ends the one before."""

    def __init__(self, publish: Callable[[Channel, bytes], bool], clock: Clock) -> None:
        self._publish = publish
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def begin(self, command_id: str, wanted: TailLog, group: asyncio.TaskGroup) -> int:
        """Send what there is, go on in the background; how many lines there were."""
        if self._task is not None:
            self._task.cancel()
        BOOK.follow()
        lines = BOOK.last(wanted.lines, wanted.level) if wanted.lines else []
        self._task = group.create_task(self._send(command_id, wanted, lines))
        return len(lines)

    async def _send(self, command_id: str, wanted: TailLog, lines: list[str]) -> None:
        ends_at = self._clock.elapsed() + wanted.seconds
        seq = dropped = 0
        is_last = False
        while not is_last:
            is_last = self._clock.elapsed() >= ends_at
            for batch, has_more in _batches(lines) if lines or is_last or not seq else ():
                seq += 1
                message = LogLines(
                    command_id=command_id,
                    seq=seq,
                    lines=batch,
                    dropped=dropped,
                    last=is_last and not has_more,
                )
                self._publish(Channel.LOG, encode(message))
                dropped = 0
            if is_last:
                break
            await asyncio.sleep(PACE_S)
            fresh, dropped = BOOK.take()
            wanted_lines = [line for line in fresh if reaches(line, wanted.level)]
            dropped += max(0, len(wanted_lines) - _MOST_A_TURN)
            lines = wanted_lines[-_MOST_A_TURN:]
        BOOK.unfollow()


def _batches(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Pieces that fit into a message, and whether another one follows. One, be it empty, when there are none."""
    batch: list[str] = []
    size = 0
    for line in lines:
        cut = line
        if len(cut.encode()) > _ROOM:
            cut = cut.encode()[:_ROOM].decode(errors="ignore")
        length = len(cut.encode())
        if batch and size + length > _ROOM:
            yield batch, True
            batch, size = [], 0
        batch.append(cut)
        size += length
    yield batch, False
