"""Reader protocols: codecs and conversations, without I/O."""

from __future__ import annotations
