"""The page of a simulated reader's control port: one button for each thing that can be done to it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: Final = {
    "en": {
        "up": "connected or waiting for its till",
        "down": "not reachable",
        "go": "Do it",
        "books": "Its own books",
        "sum": "{count} payments, {sum} in all",
        "again": "Look again",
    },
    "fr": {
        "up": "connecté, ou attend sa caisse",
        "down": "injoignable",
        "go": "Valider",
        "books": "Ses propres écritures",
        "sum": "{count} paiements, {sum} au total",
        "again": "Actualiser",
    },
}
_LABELS: Final = {
    "en": {
        "tap": "Tap a card",
        "insert": "Insert a card",
        "swipe": "Swipe a card",
        "remove_card": "Take the card out",
        "wrong_pin": "Wrong PIN",
        "decline_next": "Decline the next one",
        "red_key": "Press the red key",
        "battery_low": "Low battery",
        "tamper": "Open its case",
        "hang": "Let it hang",
        "reboot": "Cut its power",
        "unplug": "Pull the cable",
        "plug": "Put the cable back",
        "script": "Next payment",
        "fault": "Let something go wrong",
    },
    "fr": {
        "tap": "Présenter une carte",
        "insert": "Insérer une carte",
        "swipe": "Glisser une carte",
        "remove_card": "Retirer la carte",
        "wrong_pin": "Code faux",
        "decline_next": "Refuser le prochain",
        "red_key": "Touche rouge",
        "battery_low": "Batterie faible",
        "tamper": "Ouvrir le boîtier",
        "hang": "Le bloquer",
        "reboot": "Couper le courant",
        "unplug": "Débrancher le câble",
        "plug": "Rebrancher le câble",
        "script": "Prochain paiement",
        "fault": "Provoquer une panne",
    },
}
_STYLE: Final = """
body{font:16px/1.45 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
form{display:inline-block;margin:.25rem .25rem .25rem 0}button,select{font:inherit;padding:.5rem .8rem;min-height:44px}
p.said{border-left:4px solid;padding:.25rem .75rem}
td,th{text-align:left;padding:.15rem .8rem .15rem 0}
"""


def page(state: Mapping[str, Any], language: str) -> str:
    """HTML of `Control.state`; French when the browser asks for it, else English."""
    language = language if language in _WORDS else "en"
    words = _WORDS[language]
    books = words["sum"].format(count=state["count"], sum=f"{state['sum_minor'] / 100:.2f}")
    said = f"<p class=said role=status>{escape(state['said'])}</p>" if state["said"] else ""
    forms = "".join(_form(name, says, state, language) for name, says in state["actions"].items())
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in one.values()) + "</tr>"
        for one in reversed(state["transactions"][-20:])
    )
    name = escape(str(state["name"]))
    return (
        f"<!doctype html><html lang={language}><meta charset=utf-8><title>{name}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{_STYLE}</style><h1>{name}</h1>"
        f"<p>{escape(state['protocol'])}, <code>{escape(state['address'])}</code>, "
        f"{words['up'] if state['is_up'] else words['down']}. <a href=/>{words['again']}</a></p>{said}"
        f"{forms}<h2>{words['books']}</h2><p>{books}</p><table>{rows}</table>"
    )


def _form(name: str, says: str, state: Mapping[str, Any], language: str) -> str:
    label = _LABELS[language].get(name, name.replace("_", " ").capitalize())
    title = escape(says, quote=True)
    choices = {"script": state["scripts"], "fault": state["faults"]}.get(name)
    if choices is None:
        inner = f"<button title='{title}'>{escape(label)}</button>"
    else:
        options = "".join(
            f"<option value='{escape(one, quote=True)}'>{escape(one)}: {escape(line)}</option>"
            for one, line in choices.items()
        )
        inner = (
            f"<label>{escape(label)} <select name=name>{options}</select></label> "
            f"<button title='{title}'>{_WORDS[language]['go']}</button>"
        )
    return f"<form method=post action='/actions/{escape(name, quote=True)}'>{inner}</form>"
