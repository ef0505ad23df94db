"""The last of the agent's log, kept on the box: for a support person who asks for it from afar.

Lines are as they were masked for standard error, one JSON object each. Two files of a bounded size, so that a disk of
a device that runs for years has always the same room for them; nothing here may ever stop the agent.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import TextIOWrapper
    from pathlib import Path

#: The order of levels; a line of one that is not here counts as the least.
LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
#: A file is put aside at this size.
FILE_BYTES: Final = 1024 * 1024
#: A longer line is cut.
LINE_CHARACTERS: Final = 4000
_FILE: Final = "agent.log"
_BEFORE: Final = "agent.log.1"
#: New lines that wait for whoever follows; more are counted, not kept.
_MOST_WAITING: Final = 1000


class LogBook:
    """`write` may be called from any thread. Without a folder nothing is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._file: TextIOWrapper | None = None
        self._size = 0
        self._follower: deque[str] | None = None
        self._dropped = 0

    def open(self, folder: Path) -> None:
        """Keep lines in this folder from now on."""
        with self._lock:
            self._close()
            self._folder = folder
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def shut(self) -> None:
        """Keep nothing more."""
        with self._lock:
            self._close()
            self._folder = None

    def write(self, event: Mapping[str, object]) -> None:
        """Keep one line. A disk that is full costs the line, nothing else."""
        if self._folder is None:
            return
        line = _line(event)
        with self._lock:
            with contextlib.suppress(OSError):
                self._append(line)
            if self._follower is not None:
                if len(self._follower) >= _MOST_WAITING:
                    self._dropped += 1
                else:
                    self._follower.append(line)

    def last(self, count: int, level: str = "debug") -> list[str]:
        """The last lines of at least this level, the oldest first."""
        found: deque[str] = deque(maxlen=count)
        for path in self.files():
            with (
                contextlib.suppress(OSError),
                path.open(encoding="utf-8", errors="replace") as file,
            ):
                found.extend(line for line in map(str.rstrip, file) if reaches(line, level))
        return list(found)

    def files(self) -> list[Path]:
        """What there is, the oldest first."""
        if self._folder is None:
            return []
        return [path for name in (_BEFORE, _FILE) if (path := self._folder / name).is_file()]

    def follow(self) -> None:
        """Begin to keep new lines for `take`, and forget those that waited."""
        with self._lock:
            self._follower = deque()
            self._dropped = 0

    def unfollow(self) -> None:
        """Nobody follows any more."""
        with self._lock:
            self._follower = None

    def take(self) -> tuple[list[str], int]:
        """What came since the last time, and how many lines were too many."""
        with self._lock:
            lines, dropped = list(self._follower or ()), self._dropped
            if self._follower is not None:
                self._follower.clear()
            self._dropped = 0
        return lines, dropped

    def _append(self, line: str) -> None:
        if self._folder is None:
            return
        if self._file is not None and self._size >= FILE_BYTES:
            self._close()
            (self._folder / _FILE).replace(self._folder / _BEFORE)
        if self._file is None:
            self._file = (self._folder / _FILE).open("a", encoding="utf-8")
            self._size = self._file.tell()
        self._file.write(line + "\n")
        self._file.flush()
        self._size += len(line.encode()) + 1

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _line(event: Mapping[str, object]) -> str:
    line = json.dumps(event, ensure_ascii=False, default=str)
    if len(line) <= LINE_CHARACTERS:
        return line
    # Quotes within it may double its length once more.
    kept = {name: str(event.get(name, ""))[:100] for name in ("timestamp", "level", "event")}
    return json.dumps({**kept, "cut": line[: LINE_CHARACTERS // 3]}, ensure_ascii=False)


def reaches(line: str, level: str) -> bool:
    """Whether a line is of at least this level."""
    least = LEVELS.get(level, 0)
    if least == 0:
        return True
    try:
        return LEVELS.get(json.loads(line)["level"], 0) >= least
    except (ValueError, KeyError, TypeError):
        return False


#: structlog is one for the process, and so is this.
BOOK: Final = LogBook()
