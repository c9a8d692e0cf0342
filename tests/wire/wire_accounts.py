"""Who the server of these tests knows: three tenants and their extensions."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

from sipp_ladder import Phone
from wire_loopback import next_host
from wire_server import REALM, Account, Server

ORDINARY = [Account(number=str(number), password=f"Ordinary.{number}") for number in range(2000, 2200)]
IMPATIENT = [Account(number=str(number), password=f"Short.{number}", ring_s=5) for number in range(300, 304)]
ONE_CALL = [
    Account(number=str(number), password=f"One.call.{number}", max_calls=1) for number in range(310, 316)
]
TWO_PHONES = [Account(number="320", password="Two.phones.320", max_contacts=2)]
BEST_EFFORT = [
    Account(number=str(number), password=f"If.you.can.{number}", srtp="best-effort")
    for number in range(340, 350)
]
ENCRYPTED = [
    Account(number=str(number), password=f"Encrypted.{number}", srtp="required") for number in range(350, 360)
]
TCP_HOST = next_host()
FIXED_TCP = Account(number="330", password="Fixed.tcp.330", contact=f"sip:330@{TCP_HOST}:5060;transport=tcp")
"""a phone that does not register: its address is in the configuration"""
OTHER_REALM = "other.example"
NEIGHBOURS = [
    Account(number=str(number), password=f"Other.{number}", tenant="other", realm=OTHER_REALM)
    for number in range(2000, 2010)
]
SMALL_REALM = "small.example"
SMALL = [
    Account(number=str(number), password=f"Small.{number}", tenant="small", realm=SMALL_REALM)
    for number in range(2000, 2008)
]

MD5_ONLY = ("security", 'algorithms = ["MD5"]')
"""SIPp 3.6 gives up when the first challenge is not MD5, baresip 1.0 when any of them is not."""


def introduce(server: Server) -> None:
    """Write all of them into its database."""
    server.add_tenant("house", REALM, "--default")
    server.add_tenant("other", OTHER_REALM)
    server.add_tenant("small", SMALL_REALM, "--max-calls", "1")
    lists = {
        "house": [*ORDINARY, *IMPATIENT, *ONE_CALL, *TWO_PHONES, *BEST_EFFORT, *ENCRYPTED, FIXED_TCP],
        "other": NEIGHBOURS,
        "small": SMALL,
    }
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(server.add_accounts, *each) for each in lists.items()]:
            done.result()


_fresh = itertools.cycle(ORDINARY)


def phone_of(account: Account, *, host: str = "", port: int = 5060, transport: str = "UDP") -> Phone:
    """A SIPp at an address of its own that has the account's password."""
    return Phone(
        number=account.number,
        password=account.password,
        realm=account.realm,
        host=host or next_host(),
        port=port,
        transport=transport,
    )


def fresh_phone(*, host: str = "", port: int = 5060, transport: str = "UDP") -> Phone:
    """A phone of the house whose number no other test uses."""
    return phone_of(next(_fresh), host=host, port=port, transport=transport)
