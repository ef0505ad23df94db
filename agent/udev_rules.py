"""The udev rules that let the agent's user open readers without a kernel driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firmware_profiles import ReaderProfile

#: The user's own group: deploy/systemd/sysusers.conf.
GROUP: Final = "omnitill-agent"
_HEAD: Final = """\
# Readers that omnitill-agent opens itself. Printed by `omnitill-agent doctor --udev-rules`; install it as
# /etc/udev/rules.d/70-omnitill.rules, then: udevadm control --reload && udevadm trigger --subsystem-match=usb
"""


def rule_for(vid: int, pid: int | None) -> str:
    """One rule; without `pid` for every product of the vendor."""
    product = "" if pid is None else f', ATTR{{idProduct}}=="{pid:04x}"'
    return (
        f'ACTION!="remove", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vid:04x}"{product}, '
        f'GROUP="{GROUP}", MODE="0660"'
    )


def rules(profiles: Iterable[ReaderProfile]) -> str:
    """A rules file for every USB number that a profile knows, boot loaders included."""
    numbers: dict[tuple[int, int | None], list[str]] = {}
    for profile in profiles:
        known = [(rule.vid, rule.pid) for rule in profile.match.usb if rule.enabled]
        if profile.bootloader is not None:
            known += [(one.vid, one.pid) for one in profile.bootloader.usb]
        for number in dict.fromkeys(known):
            numbers.setdefault(number, []).append(profile.id)
    lines = [
        f"# {', '.join(sorted(ids))}\n{rule_for(*number)}\n"
        for number, ids in sorted(numbers.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    ]
    return _HEAD + "\n" + "\n".join(lines)
