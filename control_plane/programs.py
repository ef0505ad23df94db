"""Programs that are started by this one and must not outlive it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def ending_with_us(command: Sequence[str]) -> list[str]:
    """The command, so that it gets SIGTERM when the thread that starts it is gone, also after kill -9.

    Linux does that, through util-linux's setpriv; elsewhere the command stays as it is.
    """
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []), *command]
