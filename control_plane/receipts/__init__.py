"""Receipts: one neutral value, written as a page, a mail, a PDF and plain text."""

from __future__ import annotations
