"""What a shop may set on a reader: the profile's `[settings]`, checked the same way in the console and in the agent.

A value is what JSON can hold: a whole number, true or false, or a text. Secrets are checked here like any other value;
who keeps them is somebody else's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from firmware_profiles.errors import SettingRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from firmware_profiles.profile import ReaderProfile, Setting

Value = int | bool | str

_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_LONGEST_TEXT: Final = 200
#: Of a whole number that has no limits of its own.
_LEAST: Final = 0
_MOST: Final = 2**31 - 1
#: Below this a setting in seconds becomes milliseconds.
_TIMEOUTS: Final = "timeouts_ms."


def offered(profile: ReaderProfile) -> dict[str, Setting]:
    """What may be set, in the order of the file: settings that are off are not shown at all."""
    return {name: setting for name, setting in profile.settings.items() if setting.enabled}


def check(profile: ReaderProfile, values: Mapping[str, object]) -> dict[str, Value]:
    """The values, each of its own type. Raises SettingRefused, naming the first that its setting does not take."""
    check_names(profile, values)
    settings = offered(profile)
    return {name: check_value(name, settings[name], value) for name, value in values.items()}


def check_names(profile: ReaderProfile, names: Iterable[str]) -> None:
    """Raises SettingRefused for the first that the model does not have."""
    settings = offered(profile)
    for name in names:
        if name not in settings:
            model = f"{profile.profile.vendor} {profile.profile.model}"
            raise SettingRefused(name, "known", model=model, names=_names(settings))


def check_value(name: str, setting: Setting, value: object) -> Value:
    """One value. Raises SettingRefused."""
    match setting.type:
        case "bool":
            if isinstance(value, bool):
                return value
            raise SettingRefused(name, "switch")
        case "int":
            return _whole(name, setting, value)
        case "enum":
            if isinstance(value, str) and value in setting.values:
                return value
            raise SettingRefused(name, "choice", names=", ".join(setting.values))
        case "time":
            if isinstance(value, str) and _TIME.fullmatch(value):
                return value
            raise SettingRefused(name, "time")
        case "digits" | "string":
            return _text(name, setting, value)


def from_text(name: str, setting: Setting, text: str) -> Value:
    """A value that somebody typed. Raises SettingRefused."""
    text = text.strip()
    if setting.type == "int":
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            return check_value(name, setting, text)  # says what it takes
        return check_value(name, setting, int(text))
    if setting.type == "bool":
        return check_value(name, setting, {"true": True, "false": False}.get(text, text))
    return check_value(name, setting, text)


def defaults(profile: ReaderProfile) -> dict[str, Value]:
    """What is in force where nobody set anything; secrets are not told."""
    return {
        name: setting.default
        for name, setting in offered(profile).items()
        if setting.default is not None and not setting.secret
    }


def configured(profile: ReaderProfile, values: Mapping[str, object]) -> ReaderProfile:
    """The profile as a shop has set it: what a setting `sets` stands in its protocol's options and time limits.

    Raises SettingRefused. Settings that set nothing in the protocol are read by who uses them.
    """
    options, timeouts = dict(profile.protocol.options), dict(profile.protocol.timeouts_ms)
    for name, value in check(profile, values).items():
        target = profile.settings[name].sets
        if target is None:
            continue
        if target.startswith(_TIMEOUTS):
            factor = 1000 if name.endswith("_s") else 1
            timeouts[target.removeprefix(_TIMEOUTS)] = int(value) * factor
        else:
            options[target] = value
    protocol = msgspec.structs.replace(profile.protocol, options=options, timeouts_ms=timeouts)
    return msgspec.structs.replace(profile, protocol=protocol)


def unmet(setting: Setting, state: Mapping[str, bool]) -> tuple[str, ...]:
    """What of `requires` does not hold now, such as `idle`; what nobody knows does not hold."""
    return tuple(condition for condition in setting.requires if not state.get(condition, False))


def json_schema(profile: ReaderProfile) -> dict[str, Any]:
    """The same rules as JSON Schema, for programs that fill the form."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema(setting) for name, setting in offered(profile).items()},
    }


def _schema(setting: Setting) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "bool": {"type": "boolean"},
        "int": {"type": "integer"},
        "enum": {"type": "string", "enum": setting.values},
        "time": {"type": "string", "pattern": f"^{_TIME.pattern}$"},
        "digits": {"type": "string", "pattern": _digits(setting)},
        "string": {"type": "string", "maxLength": setting.length or _LONGEST_TEXT},
    }
    schema = dict(kinds[setting.type])
    if setting.type == "int":
        schema["minimum"] = _LEAST if setting.min is None else setting.min
        schema["maximum"] = _MOST if setting.max is None else setting.max
    if setting.secret:
        schema["writeOnly"] = True
    elif setting.default is not None:
        schema["default"] = setting.default
    return schema


def _digits(setting: Setting) -> str:
    return f"^[0-9]{{{setting.length}}}$" if setting.length else f"^[0-9]{{1,{_LONGEST_TEXT}}}$"


def _whole(name: str, setting: Setting, value: object) -> int:
    least = _LEAST if setting.min is None else setting.min
    most = _MOST if setting.max is None else setting.max
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise SettingRefused(name, "range", least=least, most=most)


def _text(name: str, setting: Setting, value: object) -> str:
    longest = setting.length or _LONGEST_TEXT
    if setting.type == "digits":
        if isinstance(value, str) and re.fullmatch(_digits(setting), value):
            return value
        raise SettingRefused(name, "digits", length=setting.length or f"1 to {longest}")
    if isinstance(value, str) and value and value.isprintable() and len(value) <= longest:
        return value
    raise SettingRefused(name, "text", length=longest)


def _names(settings: Mapping[str, Setting]) -> str:
    return ", ".join(settings) or "none"
