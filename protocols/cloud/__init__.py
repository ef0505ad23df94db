"""What devices and the control plane say to each other."""

from __future__ import annotations
