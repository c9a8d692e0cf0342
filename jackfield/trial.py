"""`jackfield try`: the newcomer's proof that the house works, and the operator's health check.

Only the command: its arguments, or the demonstration's phones from the settings. What is tried is in
`jackfield/phone/trial.py`, how it is told in `jackfield/phone/telling.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jackfield.phone.telling import JsonTelling, Telling
from jackfield.phone.trial import Account, Trial

OK, FAILED = 0, 1


def run_trial(args: Sequence[str] = (), *, config: Path | None = None) -> int:
    """Run with these command line arguments; prints, and gives back the exit code: 0 all well, 1 not.

    Without `--phone` the demonstration's first two phones are taken, and without `--server` the
    address that the settings file (`config`) listens on. SettingsError is the caller's to show.
    """
    given = _arguments().parse_args(args)
    console = Console(file=sys.stdout, highlight=False)
    telling = JsonTelling(console) if given.json else Telling(console)
    try:
        trial = _trial(given, config)
        verdict = asyncio.run(trial.run(telling))
    except OSError as error:
        console.print(f"Nothing was tried: {error}", soft_wrap=True)
        return FAILED
    telling.end(verdict)
    return OK if verdict.ok else FAILED


def _trial(given: argparse.Namespace, config: Path | None) -> Trial:
    """What the arguments and the settings say. Raises OSError when phones or server are missing."""
    domain = given.domain
    phones = [_account(text) for text in given.phone]
    if not phones:
        demo_domain, phones = _demonstration(config)
        domain = domain or demo_domain
    if len(phones) < 2:
        raise OSError("two phones are needed, --phone number:password --phone number:password")
    server = _address(given.server) if given.server else _listening(config, given.transport)
    return Trial(server, phones[0], phones[1], domain=domain, transport=given.transport)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "jackfield try", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--server", metavar="HOST:PORT", help="where the server's SIP is")
    parser.add_argument(
        "--phone", action="append", default=[], metavar="NUMBER:PASSWORD", help="twice: caller, callee"
    )
    parser.add_argument("--domain", default="", help="the SIP domain of the two phones")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _demonstration(config: Path | None) -> tuple[str, list[Account]]:
    """Domain and phones of the demonstration."""
    from conf.demo import REALM, read_passwords
    from conf.load import load

    file = load(config).settings.demo_passwords_file
    if not file.exists():
        raise OSError(
            f"{file} is not there; name two phones, --phone number:password --phone number:password"
        )
    return REALM, [Account(*pair) for pair in read_passwords(file).items()]


def _listening(config: Path | None, transport: str) -> tuple[str, int]:
    """Where the server of these settings can be reached from this machine."""
    from conf.load import load

    settings = load(config).settings
    listen = next((each for each in settings.sip.listen if each.transport == transport), None)
    if listen is None:
        raise OSError(f"the settings listen on no {transport}; name the server, --server host:port")
    everywhere = listen.host == "*" or ipaddress.ip_address(listen.host).is_unspecified
    return ("127.0.0.1" if everywhere else listen.host), listen.port


def _account(text: str) -> Account:
    number, _, password = text.partition(":")
    return Account(number, password)


def _address(text: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port` or a host alone, as an address. Raises OSError for a name nobody knows."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        host, port = text, "5060"
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    address = found[0][4]
    return str(address[0]), int(address[1])
