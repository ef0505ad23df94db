"""CyberSource's REST API: payments, reversals, captures and refunds of sealed cards."""

from __future__ import annotations
