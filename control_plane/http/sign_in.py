"""Signing in, for the API and for the page: three short transactions (see ``accounts.sign_in``)."""

from __future__ import annotations

from datetime import timedelta

from control_plane.accounts import sign_in as rules
from control_plane.accounts.errors import SignInBlocked, SignInRefused
from control_plane.config import SignInSettings
from control_plane.parts import Parts
from protocols.secret import Secret


def sign_in(
    parts: Parts, email: str, password: str, *, ip: str, user_agent: str
) -> tuple[str, Secret[str]]:
    """Begin a session; its id and the token for the cookie. Raises SignInRefused or SignInBlocked."""
    email = email.strip().casefold()[:254]
    limits = _limits(parts.settings.sign_in)
    with parts.database.connection() as db:
        wait_s = rules.reserve_attempt(db, email, ip, limits)
    if wait_s is not None:
        raise SignInBlocked(retry_after_s=wait_s)
    try:
        with parts.database.reading_connection() as db:
            checked = rules.check(db, email, password, parts.passwords)
    except SignInRefused:
        with parts.database.connection() as db:
            rules.note_refusal(db, email, ip=ip, user_agent=user_agent)
        raise
    with parts.database.connection() as db:
        return rules.complete(db, checked, email, limits, ip=ip, user_agent=user_agent)


def _limits(settings: SignInSettings) -> rules.Limits:
    return rules.Limits(
        account_attempts=settings.account_attempts,
        address_attempts=settings.address_attempts,
        window=timedelta(minutes=settings.window_minutes),
        idle=timedelta(minutes=settings.idle_minutes),
        absolute=timedelta(hours=settings.absolute_hours),
    )
