"""Customers of a merchant and the ways to pay that they let it keep."""

from __future__ import annotations
