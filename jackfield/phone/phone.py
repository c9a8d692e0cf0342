"""A phone with an awaitable face: `await bob.registers()`, `await bob.dials("101")`, `await bob.rings()`.

Verbs only; how they reach the core and the sockets is in `shell.py`, what one call can do in `call.py`.
"""

from __future__ import annotations

from jackfield.phone import events, sound
from jackfield.phone.call import Call
from jackfield.phone.leg import Leg
from jackfield.phone.listening import Digit, Heard
from jackfield.phone.message import Message
from jackfield.phone.sdp import Codec
from jackfield.phone.shell import Shell
from jackfield.phone.transport import Address
from jackfield.phone.waiting import NotAsTold


class Phone(Shell):
    """One phone. Make it inside a running loop; `async with` closes it. Its verbs act on its newest call.

    `rng` makes every tag, branch and RTP number: the same seed speaks the same bytes. Without a
    `server` it reaches other phones directly by SIP URI.
    """

    @property
    def heard(self) -> Heard:
        return self.call.heard

    def new_call(self, leg: Leg, rtp: Address, *, incoming: bool) -> Call:
        return Call(self, leg, rtp, incoming=incoming)

    # ------------------------------------------------------------ registering

    async def registers(
        self, expires_s: int = 3600, *, contacts: tuple[str, ...] = (), within_s: float = 5.0
    ) -> int:
        """Register, and stay so; gives back the granted seconds, raises NotAsTold when refused."""
        answer = await self._register(events.Register(expires_s, contacts), within_s)
        if answer.status != 200:
            raise NotAsTold(self.tell(f"registering was refused with {answer.status}"))
        return answer.expires_s

    async def unregisters(self, *, everything: bool = False, within_s: float = 5.0) -> None:
        """Remove the binding, or all that there are."""
        answer = await self._register(events.Register(0, ("*",) if everything else ()), within_s)
        if answer.status != 200:
            raise NotAsTold(self.tell(f"un-registering was refused with {answer.status}"))

    async def tries_to_register(self, expires_s: int = 3600, *, within_s: float = 5.0) -> int:
        """Register, and give back the status of the answer, whatever it is (408: none)."""
        return (await self._register(events.Register(expires_s), within_s)).status

    async def _register(self, wish: events.Register, within_s: float) -> events.Registered:
        self._registered = None
        self.command(wish)
        return await self.until("the answer to REGISTER", lambda: self._registered, within_s)

    # ------------------------------------------------------------ calling

    async def dials(
        self,
        target: str | Phone,
        *,
        offers: bool = True,
        codecs: tuple[Codec, ...] | None = None,
        fields: events.Fields = (),
    ) -> Call:
        """Send an INVITE to a number, a URI or (directly) a phone; does not wait for any answer."""
        aim = target.contact if isinstance(target, Phone) else target
        return self.dial(aim, offers=offers, codecs=codecs or self.codecs, fields=fields)

    async def rings(self, within_s: float = 5.0) -> Call:
        """Somebody calls: the newest call that came and waits for an answer."""

        def ringing() -> Call | None:
            waiting = [c for c in self.calls if c.incoming and not c.confirmed and not c.is_over]
            return waiting[-1] if waiting else None

        return await self.until("the phone to ring", ringing, within_s)

    async def answers(self, within_s: float = 5.0) -> Call:
        """Pick up the call that rings, waiting for it when need be."""
        return await (await self.rings(within_s)).answers(within_s)

    async def rejects(self, status: int = 486, reason: str = "", within_s: float = 5.0) -> Call:
        call = await self.rings(within_s)
        call.rejects(status, reason)
        return call

    async def redirects(self, *targets: str, within_s: float = 5.0) -> Call:
        call = await self.rings(within_s)
        call.redirects(*targets)
        return call

    async def sends(
        self,
        method: str,
        target: str | Phone,
        fields: events.Fields = (),
        body: bytes = b"",
        within_s: float = 5.0,
    ) -> Message:
        """Send a request outside of any call (MESSAGE, OPTIONS) and give back its final response."""
        ask = self.new_ask()
        aim = target.contact if isinstance(target, Phone) else target
        self.command(events.Send(ask, method, aim, fields, body))
        replied = await self.until(f"the answer to our {method}", lambda: self.replies.get(ask), within_s)
        if replied.response is None:
            raise NotAsTold(self.tell(f"nobody answered our {method}"))
        return replied.response

    async def subscribes(
        self, event: str, target: str, expires_s: int = 3600, within_s: float = 5.0
    ) -> Message:
        """SUBSCRIBE to an event package; its NOTIFYs gather in `messages`."""
        fields = (("Event", event), ("Expires", str(expires_s)))
        return await self.sends("SUBSCRIBE", target, fields, within_s=within_s)

    # ------------------------------------------------------------ the newest call

    async def progresses(self, status: int, within_s: float = 5.0) -> Message:
        return await self.call.progresses(status, within_s)

    async def talks(self, within_s: float = 5.0) -> Call:
        return await self.call.talks(within_s)

    async def fails(self, status: int | None = None, within_s: float = 5.0) -> int:
        return await self.call.fails(status, within_s)

    async def ends(self, within_s: float = 5.0) -> str:
        """The newest call is over."""
        return await self.calls[-1].ends(within_s)

    async def hangs_up(self, within_s: float = 5.0) -> None:
        await self.call.hangs_up(within_s)

    async def holds(self, how: str = "sendonly", *, method: str = "INVITE") -> None:
        await self.call.holds(how, method=method)

    async def resumes(self, *, method: str = "INVITE") -> None:
        await self.call.resumes(method=method)

    async def transfers_to(self, target: str | Call, within_s: float = 10.0) -> str:
        """REFER: the newest call to a number; with a call as target, the other one to its far end."""
        if isinstance(target, Call):
            other = next(c for c in reversed(self.calls) if c is not target and not c.is_over)
            return await other.transfers_to(target, within_s)
        return await self.call.transfers_to(target, within_s)

    def speaks(self, voice: sound.Voice) -> None:
        """Say this from now on, in the newest call and in those to come."""
        self.voice = voice
        if self.calls:
            self.call.speaks(voice)

    async def hears(self, wanted: sound.Tone, within_s: float = 5.0, *, for_s: float = 0.1) -> float:
        return await self.call.hears(wanted, within_s, for_s=for_s)

    async def hears_nothing(self, for_s: float = 0.5, *, settles_s: float = 0.3) -> None:
        await self.call.hears_nothing(for_s, settles_s=settles_s)

    async def hears_digits(self, digits: str, within_s: float = 5.0) -> list[Digit]:
        return await self.call.hears_digits(digits, within_s)

    async def presses(self, digits: str, duration_ms: int = 100, *, by: str = "rtp") -> None:
        await self.call.presses(digits, duration_ms, by=by)
