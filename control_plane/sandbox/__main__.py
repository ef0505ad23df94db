"""``python -m control_plane.sandbox``."""

from __future__ import annotations

import sys

from control_plane.sandbox.program import main

sys.exit(main())
