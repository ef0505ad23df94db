"""Provides the desk, sweeps what it left open, and lets sessions of readers decide the attempts that they are."""

from __future__ import annotations

from control_plane.jobs.payments_sweep import PaymentsSweep
from control_plane.parts import Parts, ProcessRole
from control_plane.payments.events import AnswerLost, SessionDecided
from control_plane.virtual_terminal import on_reader
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.processor import Processors


def wire(parts: Parts) -> None:
    """After ``processors``, which the desk asks."""
    parts.provide(Desk, Desk(parts.database, parts.get(Processors), parts.clock))
    parts.add_service(ProcessRole.WORKER, "payments sweep", lambda: PaymentsSweep(parts))
    parts.handlers.on(SessionDecided, on_reader.session_decided)
    parts.handlers.on(AnswerLost, on_reader.answer_lost)
