"""One call in the words of its user: it rings, is answered, is held, hears, presses, ends.

A thin shell around the core's leg: commands go down through the phone, what happened is read from
what the core told. Every wait has an end (`within_s`, on the loop's clock) and then raises `NotAsTold`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jackfield.phone import events, sound
from jackfield.phone.leg import Leg
from jackfield.phone.listening import Digit, Ear, Heard
from jackfield.phone.message import Message
from jackfield.phone.negotiation import Media
from jackfield.phone.speaking import PTIME_S, Mouth
from jackfield.phone.waiting import NotAsTold

if TYPE_CHECKING:
    from jackfield.phone.phone import Phone

T = TypeVar("T")
HOLD_WAYS = {"sendonly": ("sendonly", False), "inactive": ("inactive", False), "0.0.0.0": ("sendonly", True)}  # noqa: S104
TOLERANCE_DB = 3.0
QUIET_DBOV = -50.0


class Call:
    """A call of one phone. `progress`, `received` and `notified` keep what came, in order."""

    def __init__(self, phone: Phone, leg: Leg, rtp: tuple[str, int], *, incoming: bool) -> None:
        self.phone = phone
        self.leg = leg
        self.rtp = rtp
        self.incoming = incoming
        self.invite: Message | None = None
        """the INVITE that came, on the callee's side"""
        self.progress: list[Message] = []
        self.response: Message | None = None
        """the final answer to our INVITE"""
        self.failed_with: int | None = None
        self.ended_because: str | None = None
        self.end_request: Message | None = None
        self.received: list[Message] = []
        self.notified: list[str] = []
        """first lines of the message/sipfrag NOTIFYs after our REFER (RFC 3515)"""
        self.replaces: Call | None = None
        self.confirmed = False
        self.media_changes: list[Media] = []
        self.ear = Ear()
        self.mouth = Mouth(phone.rng, phone.voice)
        self._timer: asyncio.TimerHandle | None = None
        self._next_frame = 0.0

    # ------------------------------------------------------------ states

    @property
    def is_over(self) -> bool:
        return self.ended_because is not None or self.failed_with is not None

    @property
    def is_held(self) -> bool:
        """Does the other side not want to hear us now?"""
        media = self.leg.negotiation.media
        return media is not None and not media.sends

    @property
    def heard(self) -> Heard:
        return self.ear.report()

    async def progresses(self, status: int, within_s: float = 5.0) -> Message:
        """Our call gets this provisional response."""
        return await self._until(
            f"a {status}", lambda: next((r for r in self.progress if r.status == status), None), within_s
        )

    async def talks(self, within_s: float = 5.0) -> Call:
        """The call stands: answered, and acknowledged."""
        await self._until("the call to stand", lambda: self.confirmed or self.is_over, within_s)
        if self.is_over:
            raise NotAsTold(self.phone.tell(f"expected the call to stand, but {self.story}"))
        return self

    async def fails(self, status: int | None = None, within_s: float = 5.0) -> int:
        """Our call is refused; with `status` when one is told."""
        got = await self._until("the call to be refused", lambda: self.failed_with, within_s)
        if status is not None and got != status:
            raise NotAsTold(self.phone.tell(f"expected {status}, got {got}"))
        return got

    async def ends(self, within_s: float = 5.0) -> str:
        """The call is over, whoever did it; gives back why."""
        await self._until("the call to end", lambda: self.is_over, within_s)
        return self.ended_because or f"refused with {self.failed_with}"

    @property
    def story(self) -> str:
        if self.failed_with is not None:
            return f"it was refused with {self.failed_with}"
        if self.ended_because is not None:
            return f"it is over: {self.ended_because}"
        return f"it is at: {self.leg.state.value}"

    # ------------------------------------------------------------ acts

    async def answers(self, within_s: float = 5.0) -> Call:
        """Pick up, and wait for their ACK."""
        self.phone.command(events.Accept(self.leg.id))
        return await self.talks(within_s)

    def progresses_with(self, status: int, *, early_media: bool = False, reliable: bool = False) -> None:
        """Say 180, 183, ... to the caller."""
        self.phone.command(events.Progress(self.leg.id, status, early_media, reliable))

    def rejects(self, status: int = 486, reason: str = "", fields: events.Fields = ()) -> None:
        self.phone.command(events.Refuse(self.leg.id, status, reason, fields))

    def redirects(self, *targets: str) -> None:
        contacts = tuple(("Contact", f"<{self.phone.agent.uri_of(target)}>") for target in targets)
        self.phone.command(events.Refuse(self.leg.id, 302, "", contacts))

    async def hangs_up(self, within_s: float = 5.0) -> None:
        """CANCEL, BYE or 480 as the state asks; back when the call is over on both sides."""
        self.phone.command(events.HangUp(self.leg.id))
        await self._until("the hang-up to be settled", lambda: self.is_over and self._settled(), within_s)

    def _settled(self) -> bool:
        return not self.phone.agent.busy_with(self.leg)

    async def holds(self, how: str = "sendonly", *, method: str = "INVITE", within_s: float = 10.0) -> None:
        """Put the other side on hold, microphone off: "sendonly", "inactive", or "0.0.0.0" the old way."""
        self.mouth.muted = True
        direction, zero = HOLD_WAYS[how]
        await self.changes(direction, zero_address=zero, method=method, within_s=within_s)

    async def resumes(self, *, method: str = "INVITE", within_s: float = 10.0) -> None:
        await self.changes("sendrecv", method=method, within_s=within_s)
        self.mouth.muted = False

    async def changes(
        self,
        direction: str,
        *,
        zero_address: bool = False,
        method: str = "INVITE",
        offers: bool = True,
        within_s: float = 10.0,
    ) -> int:
        """Offer this direction; gives back the status, raises NotAsTold unless it is a 2xx."""
        ask = self.phone.new_ask()
        change = events.Change(self.leg.id, ask, direction, zero_address, method, offers)
        return await self._asks(ask, change, f"the answer to our {method}", within_s)

    async def asks(
        self, method: str, fields: events.Fields = (), body: bytes = b"", within_s: float = 5.0
    ) -> Message:
        """Send any request inside the call; gives back the final response, whatever it is."""
        ask = self.phone.new_ask()
        self.phone.command(events.Ask(self.leg.id, ask, method, fields, body))
        replied = await self._until(
            f"the answer to our {method}", lambda: self.phone.replies.get(ask), within_s
        )
        if replied.response is None:
            raise NotAsTold(self.phone.tell(f"nobody answered our {method}"))
        return replied.response

    async def _asks(self, ask: int, command: events.Command, what: str, within_s: float) -> int:
        self.phone.command(command)
        replied = await self._until(what, lambda: self.phone.replies.get(ask), within_s)
        if not 200 <= replied.status < 300:
            raise NotAsTold(self.phone.tell(f"expected a 2xx as {what}, got {replied.status}"))
        return replied.status

    async def transfers_to(self, target: str | Call, within_s: float = 10.0) -> str:
        """REFER the other side to a number (blind), or to the far end of another call of ours (attended).

        Waits for the outcome in the NOTIFYs and gives its first line back; hangs up when it is a 2xx
        (RFC 5589 6.1), as phones do.
        """
        referred_by = ("Referred-By", f"<{self.phone.uri}>")
        response = await self.asks(
            "REFER", (("Refer-To", self._refer_to(target)), referred_by), within_s=within_s
        )
        if response.status >= 300:
            raise NotAsTold(self.phone.tell(f"the REFER was refused with {response.status}"))
        outcome = await self._until("the outcome of the transfer", self._transfer_outcome, within_s)
        if " 2" in outcome[:10] and not self.is_over:
            await self.hangs_up()
        return outcome

    def _refer_to(self, target: str | Call) -> str:
        if isinstance(target, str):
            return f"<{self.phone.agent.uri_of(target)}>"
        dialog = target.leg.dialog
        replaces = f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"
        uri = dialog.remote[dialog.remote.index("<") + 1 : dialog.remote.index(">")]
        escaped = replaces.replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
        return f"<{uri}?Replaces={escaped}>"

    def _transfer_outcome(self) -> str | None:
        final = [line for line in self.notified if not line.startswith("SIP/2.0 1")]
        return final[-1] if final else (self.ended_because if self.is_over else None)

    # ------------------------------------------------------------ sound

    def speaks(self, voice: sound.Voice) -> None:
        self.mouth.voice = voice

    async def hears(self, wanted: sound.Tone, within_s: float = 5.0, *, for_s: float = 0.1) -> float:
        """This tone is heard now, within 3 dB of its level, `for_s` without a break; gives back its level."""
        began = self.phone.now

        def holds() -> float | None:
            if not self.ear.frames or self.ear.frames[-1].at < began:
                return None  # what was heard may be long ago
            level = self.ear.level_of(wanted.frequency_hz, for_s)
            return level if abs(level - wanted.level_dbov) <= TOLERANCE_DB else None

        return await self._until(f"to hear {wanted}", holds, within_s)

    async def hears_nothing(self, for_s: float = 0.5, *, settles_s: float = 0.3) -> None:
        """After `settles_s` for what is on its way: for `for_s` no packets, or only silence."""
        await self.phone.waits.until(lambda: None, settles_s + for_s)
        samples = self.ear.samples(for_s, self.phone.now)
        level = sound.level(samples) if samples else sound.NOTHING_DBOV
        if level > QUIET_DBOV:
            raise NotAsTold(self.phone.tell(f"expected silence, heard {self.heard}"))

    async def hears_digits(self, digits: str, within_s: float = 5.0) -> list[Digit]:
        """These telephone-events, all that were heard so far in this call, each to its end."""

        def holds() -> bool:
            done = [digit for digit in self.ear.digits if digit.ended]
            return "".join(digit.digit for digit in done) == digits

        await self._until(f"to hear the digits {digits}", holds, within_s)
        return self.ear.digits

    async def presses(self, digits: str, duration_ms: int = 100, *, by: str = "rtp") -> None:
        """Press digits in turn, as telephone-events ("rtp") or INFO ("info"); back when all are sent."""
        if by == "info":
            for digit in digits:
                body = f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode()
                await self.asks("INFO", (("Content-Type", "application/dtmf-relay"),), body)
            return
        for digit in digits:
            self.mouth.press(digit, duration_ms)
        within_s = len(digits) * (duration_ms / 1000 + 0.2) + 1
        await self._until("the digits to be sent", lambda: not self.mouth.pressing, within_s)

    # ------------------------------------------------------------ what the phone tells

    def agree(self, media: Media, now: float) -> None:
        self.media_changes.append(media)
        self.mouth.media = media
        self.ear.agree(media, now)
        if self._timer is None and self.phone.has_sound:
            self._next_frame = now
            self._tick()

    def hear(self, data: bytes, src: tuple[str, int], now: float) -> None:
        if self.ear.media is None and self.leg.negotiation.has_offered:
            self.ear.expect(self.leg.negotiation.codecs)
        self.ear.hear(data, src, now)
        if self.ear.complaints:
            self.phone.agent.complain(*self.ear.complaints)
            self.ear.complaints.clear()

    def stop(self) -> None:
        """No more sound."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """One frame; the next is due 20 ms after this one was, however late this one is."""
        loop = self.phone.loop
        media = self.leg.negotiation.media
        if media is not None:
            for packet in self.mouth.tick(self._next_frame):
                self.phone.transport.send_rtp(self.rtp, packet, media.remote)
        self._next_frame += PTIME_S
        behind = loop.time() - self._next_frame
        if behind > 1.0:
            self._next_frame += behind
        self._timer = loop.call_at(self._next_frame, self._tick)
        self.phone.waits.look()

    async def _until(self, what: str, holds: Callable[[], T | None], within_s: float) -> T:
        return await self.phone.until(what, holds, within_s, lambda: self.story + f"; heard: {self.heard}")
