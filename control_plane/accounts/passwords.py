"""Hashing and checking passwords (argon2id)."""

from __future__ import annotations

import argon2

from control_plane.errors import RequestRefused

SHORTEST = 10
LONGEST = 256


class Passwords:
    """Hashes with the cost it was given; checks whatever cost a hash was made with."""

    def __init__(self, *, memory_kib: int, passes: int) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1
        )
        # Compared with when there is no such user, so that the answer takes as long.
        self._nobody = self._hasher.hash("nobody")

    def hash(self, password: str) -> str:
        """A hash to store. Raises RequestRefused for a password that is too short or too long."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise RequestRefused(
                field="password",
                reason=f"Choose a password of {SHORTEST} to {LONGEST} characters.",
            )
        return self._hasher.hash(password)

    def matches(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; as slow for None as for any other."""
        try:
            self._hasher.verify(stored or self._nobody, password)
        except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with another cost than today's."""
        return self._hasher.check_needs_rehash(stored)
