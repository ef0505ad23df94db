"""Which agent this is, and when it was made at the earliest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

#: Written here and not read from the installed metadata, which takes 40 ms.
VERSION: Final = "0.1.0"

#: No true clock can show an earlier time; moved forward with each release.
BUILT_AFTER: Final = datetime(2026, 11, 1, tzinfo=UTC)
