"""Mail: what is owed to somebody's address, and the ways it gets there."""

from __future__ import annotations
