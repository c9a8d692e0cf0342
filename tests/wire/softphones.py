"""baresips that are registered at one server, and what one of them hears of another."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from baresip_phone import PCMU, Baresip, Codec
from wire_accounts import ORDINARY
from wire_server import Account, Server
from wire_waiting import until


class Speaker(Protocol):
    """Whoever speaks a sine: a baresip, a browser."""

    tone_hz: int


THERE_DB, GONE_DB = -30.0, -60.0
_accounts = iter(ORDINARY[100:])


class Softphones:
    """Makes baresips, and ends them."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._made: list[Baresip] = []

    def make(
        self,
        tone_hz: int,
        codec: Codec = PCMU,
        transport: str = "udp",
        account: Account | None = None,
        mediaenc: str = "",
    ) -> tuple[Baresip, Account]:
        """One that speaks `tone_hz`, answers every call, and is registered as an extension of its own.

        `mediaenc` is Baresip's.
        """
        server, account = self._server, account or next(_accounts)
        port = server.tls_port if transport == "tls" else server.port
        line = (
            f"<sip:{account.number}@{account.realm}>;auth_pass={account.password};answermode=auto;regint=600"
            f';outbound="sip:{server.host}:{port};transport={transport}"'
        )
        made = Baresip(
            self._directory / account.number, line, tone_hz=tone_hz, codec=codec, mediaenc=mediaenc
        )
        self._made.append(made)
        return made.is_registered(), account

    def close(self) -> None:
        for each in self._made:
            each.close()
            print(f"---- {each.directory.name}\n{each.log[-8000:]}")


def listen(phone: Baresip, seconds: float) -> None:
    """Let the phone hear for this long."""
    begin = phone.ear.seconds
    until(lambda: phone.ear.seconds >= begin + seconds, seconds + 5, f"{phone.directory.name} plays")


def hears(listener: Baresip, speaker: Speaker, within_s: float = 5.0) -> None:
    """Wait until the listener's last 200 ms have the speaker's tone."""
    until(
        lambda: listener.ear.heard().last(0.2).level_db(speaker.tone_hz) > THERE_DB,
        within_s,
        f"{listener.directory.name} hears {speaker.tone_hz} Hz",
    )


def hears_no_more(listener: Baresip, speaker: Speaker, within_s: float = 5.0) -> None:
    """Wait until the listener's last 300 ms have nothing of the speaker."""
    until(
        lambda: listener.ear.heard().last(0.3).level_db(speaker.tone_hz) < GONE_DB,
        within_s,
        f"{listener.directory.name} no longer hears {speaker.tone_hz} Hz",
    )
