"""Devices, their readers and certificates: who may speak, what they have, whether they are there.

The ways in are ``service.py`` (enrolment and its end), ``presence.py`` (what devices say of themselves) and
``queries.py``.
"""

from __future__ import annotations
