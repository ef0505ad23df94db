"""What can be wrong with profiles."""

from __future__ import annotations

from typing import Final


class ProfileError(Exception):
    """Something about profiles. ``code`` is stable, ``facts`` name what and where."""

    code = "profile_error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class ProfileUnreadable(ProfileError):
    """A file that is no profile: the file, the key in it, and why."""

    code = "profile_unreadable"

    def __init__(self, file: str, key: str, why: str) -> None:
        super().__init__(": ".join(filter(None, (file, key, why))), file=file, key=key)
        self.why = why


class ProfileUnknown(ProfileError):
    """No profile of this name."""

    code = "profile_unknown"

    def __init__(self, profile_id: str, known: list[str]) -> None:
        super().__init__(
            f"there is no reader profile {profile_id!r}; known are {', '.join(known)}",
            profile_id=profile_id,
        )


class OverlayUntrusted(ProfileError):
    """A folder of profiles that the control plane did not sign."""

    code = "overlay_untrusted"

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(f"{folder} is not used: {why}", folder=folder)


#: What a setting takes, by the name of the rule, with what the rule says.
_FIXES: Final = {
    "known": "{model} has no such setting; it has {names}",
    "switch": "takes true or false",
    "range": "takes a whole number from {least} to {most}",
    "choice": "takes one of {names}",
    "time": "takes a time of day such as 03:30",
    "digits": "takes exactly {length} digits",
    "text": "takes a text of 1 to {length} characters, on one line",
}


class SettingRefused(ProfileError):
    """A value that a setting does not take. ``need`` names the rule, ``facts`` what it says, ``fix`` both."""

    code = "setting_refused"

    def __init__(self, field: str, need: str, **facts: object) -> None:
        self.field = field
        self.need = need
        self.fix = _FIXES[need].format(**facts)
        super().__init__(f"{field}: {self.fix}", field=field, **facts)
