"""``omnitill profiles``: which reader models there are, what is known of them, and whose a device is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from control_plane.app import build
from control_plane.config import Settings
from control_plane.devices.authority import Authority
from firmware_profiles import Catalogue, ProfileError, ReaderProfile
from firmware_profiles import settings as schema
from firmware_profiles.lint import Finding, lint, unverified
from firmware_profiles.matching import BleSeen, Seen, TcpSeen, UsbSeen, candidates, score
from firmware_profiles.overlay import SIGNATURE, read_folder, signed_text

_EXAMPLE = """\
Example:
  omnitill profiles list                                     every model, with its protocol and lines
  omnitill profiles list --kind card_reader                  those that hand out sealed card data
  omnitill profiles show magtek-dynaflex-ii-go               what is known of one, and what nobody has verified
  omnitill profiles match --usb 0801:2020 --product DynaFlex which models a USB device may be, best first
  omnitill profiles match --ble 1820 --name IDTECH-VP3300-07 the same for what is seen on Bluetooth
  omnitill profiles match --tcp 22000                        … and for an open port
  omnitill profiles lint                                     what must be mended; exit code 1 when something must
  omnitill profiles lint --overlay ./ours --unsigned         your own files above the built-in ones, unsigned
"""
_OVERLAY = """\
A folder of *.toml files above the built-in ones: a file of the same name replaces it, another one adds a model. Servers
and boxes use it only with the control plane's signature (overlay.sig, made by `sign`), all of it or nothing; here
--unsigned takes it as it is. The server reads `profiles` in its data folder (OMNITILL_PROFILES_DIR); a box reads
`profiles` in its state folder (profiles_dir in agent.toml). Copy the signed folder to both, then restart them.
"""
_MATCH = """\
Numbers of a USB-serial chip and of a port say little: such a model is only tried, and bound when it answers the
harmless question that its profile names. Vendor and product number give 1 point, the interface class 1, a text that
fits 2; a Bluetooth service 2, its name 1; a serial chip or a port 0.5. Equal points stand in the order of their ids.
"""
_NOT_FOUND = 1


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "profiles",
        help="reader models: what is known of them, and whose a device is",
        description=(
            "Reader profiles are data: one TOML file per model says how it is recognised, which protocol it\n"
            "speaks, what it can do, what may be set on it and how its software is updated."
        ),
        epilog=_EXAMPLE,
        formatter_class=raw,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run_it, text, more in (
        ("list", _list, "every model", ""),
        ("show", _show, "everything about one model", ""),
        ("match", _match, "which models a device may be", _MATCH),
        ("lint", _lint, "look for what is wrong or unverified", ""),
        ("sign", _sign, "sign a folder of profiles for the readers' boxes", ""),
    ):
        action = actions.add_parser(
            name, help=text, description=more or text.capitalize() + ".", epilog=_EXAMPLE,
            formatter_class=raw,
        )  # fmt: skip
        _add_arguments(name, action)
        action.set_defaults(run=_guarded(run_it))


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    if name == "sign":
        parser.add_argument("folder", type=Path, help="the folder with the *.toml files")
        return
    overlay = parser.add_argument_group("your own profiles", _OVERLAY)
    overlay.add_argument("--overlay", type=Path, metavar="DIR", help="above the built-in files")
    overlay.add_argument(
        "--unsigned", action="store_true", help="take the overlay without a signature"
    )
    overlay.add_argument(
        "--certificate", type=Path, metavar="PEM", help="check the overlay against this one"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    match name:
        case "list":
            parser.add_argument(
                "--kind", choices=["card_reader", "payment_terminal", "cloud_reader"]
            )
            parser.add_argument("--protocol", help="only those that speak it, such as zvt")
        case "show":
            parser.add_argument("profile", help="its name, as in the list")
        case "match":
            seen = parser.add_mutually_exclusive_group(required=True)
            seen.add_argument(
                "--usb", metavar="VID:PID", help="in hex, as lsusb prints it: 0801:2020"
            )
            seen.add_argument("--serial", metavar="VID:PID", help="of the USB-serial chip, in hex")
            seen.add_argument(
                "--ble", metavar="UUID", help="a service it advertises: 1820 or the long form"
            )
            seen.add_argument(
                "--tcp", metavar="PORT", type=int, help="a port that accepts connections"
            )
            parser.add_argument("--product", default="", help="the product text of a USB device")
            parser.add_argument(
                "--manufacturer", default="", help="the maker's text of a USB device"
            )
            parser.add_argument("--serial-number", default="", help="of a USB device")
            parser.add_argument(
                "--interface-class", type=_hex, action="append", default=[], metavar="HEX",
                help="03 is HID, 02 CDC; may be given again. Without it HID is assumed for --usb",
            )  # fmt: skip
            parser.add_argument("--name", default="", help="the name a Bluetooth device advertises")
            parser.add_argument("--mac", default="", help="the hardware address behind a port")
        case _:
            parser.add_argument(
                "--notes", action="store_true", help="tell what nobody has verified as well"
            )


def _guarded(run_it: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def run(chosen: argparse.Namespace) -> int:
        try:
            return run_it(chosen)
        except (ProfileError, OSError) as error:
            print(error, file=sys.stderr)
            return _NOT_FOUND

    return run


def _catalogue(chosen: argparse.Namespace) -> Catalogue:
    certificate: Path | None = chosen.certificate
    if chosen.overlay and not chosen.unsigned and certificate is None:
        raise OSError(
            "An overlay is taken with --certificate FILE, the control plane's ca.crt, or with --unsigned."
        )
    if chosen.overlay and not chosen.overlay.is_dir():
        raise OSError(f"{chosen.overlay} is no folder.")
    return Catalogue(
        overlay=chosen.overlay,
        certificate_pem=None
        if chosen.unsigned or certificate is None
        else certificate.read_bytes(),
    )


# --- list ---


def _list(chosen: argparse.Namespace) -> int:
    catalogue = _catalogue(chosen)
    profiles, faults = catalogue.load_all()
    shown = [
        profile
        for profile in profiles.values()
        if chosen.kind in (None, profile.profile.kind)
        and chosen.protocol in (None, profile.protocol.name)
    ]
    if chosen.json:
        _print_json([_summary(catalogue, profile) for profile in shown])
    else:
        rows = [
            (
                profile.id + (" (overlay)" if catalogue.is_overlaid(profile.id) else ""),
                f"{profile.profile.vendor} {profile.profile.model}",
                profile.protocol.name,
                ", ".join(profile.framings) or "its maker's cloud",
                _update_words(profile),
            )
            for profile in shown
        ]
        _print_table(("PROFILE", "MODEL", "PROTOCOL", "LINES", "UPDATES"), rows)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _summary(catalogue: Catalogue, profile: ReaderProfile) -> dict[str, Any]:  # JSON
    about = profile.profile
    return {
        "id": profile.id,
        "revision": about.revision,
        "vendor": about.vendor,
        "model": about.model,
        "kind": about.kind,
        "protocol": profile.protocol.name,
        "lines": list(profile.framings),
        "overlay": catalogue.is_overlaid(profile.id),
        "firmware_update": profile.can("firmware_update"),
        "unverified": unverified(profile),
    }


def _update_words(profile: ReaderProfile) -> str:
    firmware = profile.firmware
    if firmware is None or firmware.method is None:
        return "by its maker" if profile.profile.kind == "cloud_reader" else "-"
    if profile.can("firmware_update"):
        return f"{firmware.method} ({', '.join(firmware.channels)})"
    return {"host_driven": "by its payment host", "vendor_tool": "by its maker's program"}.get(
        firmware.method, "-"
    )


# --- show ---


def _show(chosen: argparse.Namespace) -> int:
    catalogue = _catalogue(chosen)
    profile = catalogue.load(chosen.profile)
    if chosen.json:
        document = {
            **msgspec.to_builtins(profile),
            "settings_schema": schema.json_schema(profile),
            "unverified": unverified(profile),
        }
        _print_json(document)
        return 0
    about, firmware = profile.profile, profile.firmware
    print(f"{about.vendor} {about.model}  ({profile.id}, revision {about.revision})")
    print(f"  {catalogue.path(profile.id)}")
    if about.looks:
        print(f"  {about.looks}")
    _print_part("Speaks", [_speaks(profile)])
    _print_part("Recognised by", _rules(profile))
    _print_part("Can", [name for name in profile.capabilities if profile.can(name)], joined=True)
    _print_part(
        "Cannot", [name for name in profile.capabilities if not profile.can(name)], joined=True
    )
    _print_part("Settings", [_setting(name, profile) for name in profile.settings])
    if firmware is not None:
        limits = f"; downgrade: {firmware.downgrade}" if profile.can("firmware_update") else ""
        _print_part(
            "Software",
            [f"version from {firmware.version_source}, compared by {firmware.compare}{limits}",
             f"updates: {_update_words(profile)}"],
        )  # fmt: skip
    _print_part("Quirks", [f"{one.id}: {one.action}, for {one.applies}" for one in profile.quirks])
    _print_part("Verified", [f"{fact}: {source}" for fact, source in about.verified.items()])
    _print_part("Unverified", unverified(profile))
    return 0


def _speaks(profile: ReaderProfile) -> str:
    lines = ", ".join(profile.framings) or "only with its maker's cloud"
    confirm = profile.match.confirm
    asks = f"; recognised by asking {confirm.probe}" if confirm else ""
    return f"{profile.protocol.name} ({lines}){asks}"


def _rules(profile: ReaderProfile) -> list[str]:
    match = profile.match
    rules = [
        f"USB {one.vid:04x}:{_pid(one.pid)}{_texts(one.product)}{_off(one.enabled)}"
        for one in match.usb
    ]
    rules += [
        f"Bluetooth {one.service or ''}{_texts(one.name)}{_off(one.enabled)}" for one in match.ble
    ]
    rules += [
        f"serial chip {', '.join(f'{usb.vid:04x}:{usb.pid:04x}' for usb in one.usb) or 'any'}{_off(one.enabled)}"
        for one in match.serial
    ]
    rules += [f"port {one.port}{_off(one.enabled)}" for one in match.tcp]
    rules += [f"Stripe's device type {one.device_type}" for one in match.cloud]
    return rules or ["nothing: a person chooses it"]


def _pid(pid: int | None) -> str:
    return "any" if pid is None else f"{pid:04x}"


def _texts(expression: str | None) -> str:
    return f" with a text like {expression}" if expression else ""


def _off(enabled: bool) -> str:
    return "" if enabled else " (off: unverified)"


def _setting(name: str, profile: ReaderProfile) -> str:
    one = profile.settings[name]
    limits = f" {one.min}…{one.max}" if one.min is not None and one.max is not None else ""
    limits += f" of {one.length}" if one.length else ""
    limits += f" {' | '.join(one.values)}" if one.values else ""
    standard = f", {one.default}" if one.default is not None and not one.secret else ""
    kept = "secret" if one.secret else f"kept by the {one.scope}"
    return f"{name}: {one.type}{limits}{standard} ({kept}{'' if one.enabled else '; off'})"


# --- match ---


def _match(chosen: argparse.Namespace) -> int:
    profiles, _ = _catalogue(chosen).load_all()
    seen = _seen(chosen)
    found = candidates(profiles.values(), seen)
    if chosen.json:
        _print_json(
            [{"id": one.id, "score": score(one, seen), "confirm": _confirm(one)} for one in found]
        )
    elif found:
        rows = [(one.id, f"{score(one, seen):g}", _confirm(one) or "no question") for one in found]
        _print_table(("PROFILE", "POINTS", "BOUND WHEN IT ANSWERS"), rows)
    else:
        print(
            "No profile fits. Check the numbers with lsusb, or choose a profile by hand: omnitill profiles list."
        )
    return 0 if found else _NOT_FOUND


def _confirm(profile: ReaderProfile) -> str:
    confirm = profile.match.confirm
    if confirm is None:
        return ""
    expected = confirm.answer or confirm.contains
    return confirm.probe + (f" with {expected}" if expected else "")


def _seen(chosen: argparse.Namespace) -> Seen:
    if chosen.tcp is not None:
        return TcpSeen(chosen.tcp, chosen.mac)
    if chosen.ble is not None:
        return BleSeen(frozenset({_uuid(chosen.ble)}), chosen.name)
    vid, pid = _numbers(chosen.usb or chosen.serial)
    return UsbSeen(
        vid,
        pid,
        chosen.manufacturer,
        chosen.product,
        chosen.serial_number,
        frozenset(chosen.interface_class or [3]),
        is_serial_bridge=chosen.serial is not None,
    )


def _numbers(text: str) -> tuple[int, int]:
    try:
        vid, pid = (int(part, 16) for part in text.split(":"))
    except ValueError:
        raise OSError(f"{text!r} is not VID:PID in hex, such as 0801:2020.") from None
    return vid, pid


def _hex(text: str) -> int:
    return int(text, 16)


def _uuid(text: str) -> str:
    short = text.lower().removeprefix("0x")
    return f"0000{short}-0000-1000-8000-00805f9b34fb" if len(short) == 4 else short


# --- lint ---


def _lint(chosen: argparse.Namespace) -> int:
    catalogue = _catalogue(chosen)
    findings = lint(catalogue)
    bad = [finding for finding in findings if not finding.is_note]
    notes = [finding for finding in findings if finding.is_note]
    if chosen.json:
        _print_json([_finding(one) for one in findings])
        return 1 if bad else 0
    for finding in bad + (notes if chosen.notes else []):
        print(f"{'note' if finding.is_note else 'mend'}  {finding}")
    kept = (
        "" if chosen.notes or not notes else f" {len(notes)} unverified facts: --notes tells them."
    )
    print(f"{len(catalogue.names)} profiles, {len(bad)} to mend.{kept}")
    return 1 if bad else 0


def _finding(one: Finding) -> dict[str, Any]:  # JSON
    return {"file": one.file, "key": one.key, "text": one.text, "is_note": one.is_note}


# --- sign ---


def _sign(chosen: argparse.Namespace) -> int:
    folder: Path = chosen.folder
    bad = [one for one in lint(Catalogue(overlay=folder)) if not one.is_note]
    for finding in bad:
        print(f"mend  {finding}", file=sys.stderr)
    if bad:
        print("Nothing was signed.", file=sys.stderr)
        return 1
    files = read_folder(folder)
    parts = build(Settings())
    try:
        signature = Authority.open(
            parts.settings.data_dir / "ca", parts.keyring, parts.clock
        ).sign_text(signed_text(folder, files))
    finally:
        parts.close()
    (folder / SIGNATURE).write_text(f"{signature}\n", encoding="ascii")
    print(f"{len(files)} profiles are signed in {folder / SIGNATURE}.")
    return 0


# --- printing ---


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print(
            "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _print_part(title: str, lines: Sequence[str], *, joined: bool = False) -> None:
    if not lines:
        return
    print(f"\n{title}")
    for line in [", ".join(lines)] if joined else lines:
        print(f"  {line}")
