"""All tables: importing every ``models.py`` of the control plane makes ``metadata`` complete."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from sqlalchemy import MetaData
from sqlmodel import SQLModel

import control_plane


def complete_metadata() -> MetaData:
    """The metadata with the tables of every feature, and of the outbox."""
    import_module("control_plane.outbox")
    for module in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
        if module.name.endswith(".models"):
            import_module(module.name)
    return SQLModel.metadata
