"""What can be refused about settings of readers."""

from __future__ import annotations

from typing import Final

from control_plane.errors import Conflict, RequestRefused
from firmware_profiles.errors import SettingRefused


class ReaderModelUnknown(Conflict):
    """Nothing can be set on a reader whose profile nobody knows."""

    code = "reader_model_unknown"
    message = "Nobody knows what can be set on {reader}: its profile {profile} is not here. Choose another on its box."


class ReaderCannotBeSealedFor(Conflict):
    """A secret needs a device that can open it."""

    code = "reader_cannot_be_sealed_for"
    message = "A secret cannot be sealed for the box of {reader}. Enrol the box again, or set the secret there."


class LayerObjectUnknown(RequestRefused):
    """A layer of something that is not there."""

    code = "layer_object_unknown"
    message = "There is no {kind} {object_id}. Name one that is there, or leave object_id empty for the organisation."


class ProfileNotKnown(RequestRefused):
    """Settings for a model that nobody knows."""

    code = "profile_not_known"
    message = "{field} is no reader model. Use the id of a profile, or * for every model."


class SecretNotInherited(RequestRefused):
    """A secret in a layer above the reader."""

    code = "secret_not_inherited"
    message = "{field} is a secret: set it on each reader, where it is sealed for its box."


class LayerChangedMeanwhile(Conflict):
    """Somebody else changed something since the caller looked."""

    code = "layer_changed_meanwhile"
    message = "The configuration is at revision {revision} now. Look at it, then change it again."


class RevisionUnknown(RequestRefused):
    """A revision that is not there."""

    code = "revision_unknown"
    message = "There is no revision {revision}; the newest is {newest}."


class WholeOrganisationOnly(Conflict):
    """A caller who sees some locations changes something for all of them."""

    code = "whole_organisation_only"
    message = "This layer counts in every location, and you look after some of them. Change the layer of a location."


class TooWideForOnePush(RequestRefused):
    """Many boxes at once."""

    code = "too_wide_for_one_push"
    message = "These are {count} boxes; at most {most} are sent at once. Use a rollout: it goes in waves and can stop."


class SettingNotTaken(RequestRefused):
    """A value that a setting does not take. ``field`` names the setting."""

    code = "setting_not_taken"
    message = "{field} does not take this value."


class SettingNotKnown(SettingNotTaken):
    """There is no such setting on this model."""

    code = "setting_not_known"
    message = "{model} has no setting {field}. It has {names}."


class SettingNotSwitch(SettingNotTaken):
    """On or off."""

    code = "setting_not_switch"
    message = "{field} takes true or false."


class SettingOutOfRange(SettingNotTaken):
    """A number out of its limits."""

    code = "setting_out_of_range"
    message = "{field} takes a whole number from {least} to {most}."


class SettingNotChoice(SettingNotTaken):
    """None of what there is to choose from."""

    code = "setting_not_choice"
    message = "{field} takes one of {names}."


class SettingNotTime(SettingNotTaken):
    """A time of day."""

    code = "setting_not_time"
    message = "{field} takes a time of day, such as 03:30."


class SettingNotDigits(SettingNotTaken):
    """Digits of a fixed length."""

    code = "setting_not_digits"
    message = "{field} takes exactly {length} digits."


class SettingNotText(SettingNotTaken):
    """A text that is too long, empty, or of several lines."""

    code = "setting_not_text"
    message = "{field} takes a text of 1 to {length} characters, on one line."


_KINDS: Final[dict[str, type[SettingNotTaken]]] = {
    "known": SettingNotKnown,
    "switch": SettingNotSwitch,
    "range": SettingOutOfRange,
    "choice": SettingNotChoice,
    "time": SettingNotTime,
    "digits": SettingNotDigits,
    "text": SettingNotText,
}


def told(refused: SettingRefused) -> SettingNotTaken:
    """The same, as it is told to people and programs."""
    return _KINDS[refused.need](**refused.facts)
