"""What a name, a number, a password, a limit may look like; each rule says how to mend what breaks it."""

from __future__ import annotations

import re

from conf.faults import SettingsError
from conf.snapshot import Srtp
from conf.values import parse_network

APPS = ("echo", "tone")
"""Applications that a service number can stand for."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
EXTENSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.+-]{0,63}")
SERVICE = re.compile(r"[0-9A-Za-z*#][0-9A-Za-z*#_.+-]{0,63}")
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
CONTACT = re.compile(r"sips?:[^\s<>\"]+", re.IGNORECASE)
PASSWORD_CHARS = (8, 128)


def check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError(
            where, f'"{name}" cannot be a name', "Use up to 64 small letters, digits, - and _, as in acme-2."
        )


def check_host(name: str, where: str) -> str:
    """The host name in lower case."""
    if not HOST.fullmatch(name.lower()):
        raise SettingsError(where, f'"{name}" is not a host name', "Use a name such as sip.example.com.")
    return name.lower()


def check_extension(number: str, where: str) -> None:
    if not EXTENSION.fullmatch(number):
        raise SettingsError(
            where,
            f'"{number}" cannot be an extension',
            "Use up to 64 digits or letters; + - . and _ may follow. Codes with * are services.",
        )


def check_service(number: str, where: str) -> None:
    if not SERVICE.fullmatch(number):
        raise SettingsError(
            where, f'"{number}" cannot be dialled', "Use digits, letters, * and #, as in *43."
        )


def check_password(password: str, where: str) -> None:
    least, most = PASSWORD_CHARS
    if not least <= len(password) <= most or not password.isprintable() or password != password.strip():
        raise SettingsError(
            where,
            f"the password must have {least} to {most} printable characters, without blanks around it",
            "Leave it out to have a strong one made.",
        )


def check_text(text: str, what: str, where: str) -> None:
    if len(text) > 255 or not text.isprintable():
        raise SettingsError(
            where, f"{what} is longer than 255 or has unprintable characters", "Shorten or retype it."
        )


def check_contact(contact: str, where: str) -> None:
    if contact and (len(contact) > 255 or not CONTACT.fullmatch(contact)):
        raise SettingsError(
            where,
            f'"{contact}" is not a SIP URI',
            "Write it as in sip:80032555939@192.0.2.7:5060, or leave it empty.",
        )


def check_app(app: str, where: str) -> None:
    if app not in APPS:
        raise SettingsError(where, f'there is no application "{app}"', f"Choose one of: {', '.join(APPS)}.")


def check_srtp(wish: str, where: str) -> None:
    if wish not in tuple(Srtp):
        raise SettingsError(where, f'srtp cannot be "{wish}"', f"Choose one of: {', '.join(Srtp)}.")


def check_range(value: int, what: str, least: int, most: int, where: str) -> None:
    if not least <= value <= most:
        raise SettingsError(where, f"{what} {value} is out of range", f"Use a number from {least} to {most}.")


def check_networks(networks: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The networks in their canonical spelling, each once."""
    if not networks:
        raise SettingsError(
            where, "a trunk without a network would match nobody", "Name at least one address."
        )
    try:
        return tuple(dict.fromkeys(str(parse_network(text)) for text in networks))
    except ValueError as error:
        raise SettingsError(where, str(error), "Write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32.") from None
