"""A phone with an awaitable face: `await bob.registers()`, `await bob.dials("101")`, `await bob.rings()`.

The asyncio shell around the core (`agent.py`): hands it what arrives and the deadlines, sends what it
says, and turns what it tells into answers for those who wait. It uses the loop only through `time`,
`call_at` and futures, so that the same phone lives in virtual time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jackfield.phone import events, sound
from jackfield.phone.agent import Agent
from jackfield.phone.call import Call
from jackfield.phone.ladder import Ladder
from jackfield.phone.listening import Digit, Heard
from jackfield.phone.message import Message, read_addr, read_uri
from jackfield.phone.sdp import EVENTS, PCMA, PCMU, Codec
from jackfield.phone.transaction import Timers
from jackfield.phone.transport import Address, Transport, UdpTransport
from jackfield.phone.waiting import NotAsTold, Waits

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rings:
    """When called: say `status` (180, 183, ...), perhaps with early media, then wait for the user.

    `status` 0 says nothing beyond the 100.
    """

    status: int = 180
    early_media: bool = False
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class Rejects:
    status: int = 486
    reason: str = ""
    fields: events.Fields = ()


@dataclass(frozen=True, slots=True)
class Redirects:
    target: str


@dataclass(frozen=True, slots=True)
class Answers:
    """Picks up by itself, `after_s` seconds after it began to ring."""

    after_s: float = 0.0


Reaction = Rings | Rejects | Redirects | Answers


class Phone:
    """One phone. Make it inside a running loop; `async with` closes it. Its verbs act on its newest call.

    `rng` makes every tag, branch and RTP number: the same seed speaks the same bytes. Without a
    `server` it reaches other phones directly by SIP URI.
    """

    def __init__(
        self,
        number: str,
        password: str = "",
        server: Address | None = None,
        *,
        transport: Transport | None = None,
        rng: random.Random | None = None,
        ladder: Ladder | None = None,
        voice: sound.Voice = sound.SILENCE,
        codecs: tuple[Codec, ...] = (PCMU, PCMA, EVENTS),
        sound: bool = True,
        timers: Timers | None = None,
        **account: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.rng = rng or random.SystemRandom()
        self.transport = transport or UdpTransport()
        self.ladder = ladder if ladder is not None else Ladder()
        self.voice = voice
        self.codecs = codecs
        self.has_sound = sound
        self.when_called: Reaction = Rings()
        self.calls: list[Call] = []
        self.messages: list[Message] = []
        """requests outside of calls that came: MESSAGE, OPTIONS, NOTIFY"""
        self.replies: dict[int, events.Replied] = {}
        self.waits = Waits()
        self._asks = 0
        self._registered: events.Registered | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reports: set[asyncio.Task[None]] = set()
        who = events.Account(number, password, server, **account)
        self.agent = Agent(who, self.transport.local, self.rng, self.transport.kind, timers)
        self.ladder.name(self.transport.local, who.name or number, ours=True)
        if server is not None:
            self.ladder.names.setdefault(server, "server")
        self.transport.open(self.receive, self.receive_rtp, self._broken)

    async def __aenter__(self) -> Phone:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fall silent: no BYE, no un-REGISTER, sockets closed."""
        for call in self.calls:
            call.stop()
        for report in self._reports:
            report.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self.transport.close()

    # ------------------------------------------------------------ what it is

    @property
    def number(self) -> str:
        return self.agent.account.number

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def uri(self) -> str:
        return f"sip:{self.number}@{self.agent.domain}"

    @property
    def contact(self) -> str:
        """Where it can be called directly."""
        return self.agent.contact_uri

    @property
    def complaints(self) -> list[str]:
        """What the other side did against the RFCs, one sentence each."""
        return self.agent.complaints

    @property
    def call(self) -> Call:
        """The newest call that is not over, else the newest."""
        if not self.calls:
            raise NotAsTold(self.tell("there is no call"))
        return next((call for call in reversed(self.calls) if not call.is_over), self.calls[-1])

    @property
    def heard(self) -> Heard:
        return self.call.heard

    @property
    def is_registered(self) -> bool:
        return self.agent.registration.granted_s > 0

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
        return self._dial(aim, offers=offers, codecs=codecs or self.codecs, fields=fields)

    def _dial(self, target: str, *, offers: bool, codecs: tuple[Codec, ...], fields: events.Fields) -> Call:
        rtp, leg_id = self.transport.open_rtp(), self.agent.new_leg_id()
        wish = events.Dial(leg_id, target, rtp, codecs, offers, fields)
        outputs = self.agent.handle(wish, self.now)
        call = Call(self, self.agent.legs[leg_id], rtp, incoming=False)
        self.calls.append(call)
        self._perform(outputs)
        return call

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

    # ------------------------------------------------------------ the shell

    def receive(self, data: bytes, src: Address) -> None:
        """SIP came in from the transport."""
        self.ladder.arrived(self.now, src, self.transport.local, data)
        self._perform(self.agent.handle(events.Received(data, src), self.now))

    def receive_rtp(self, local: Address, data: bytes, src: Address) -> None:
        """A datagram came to one of the phone's RTP addresses."""
        for call in reversed(self.calls):
            if call.rtp == local:
                call.hear(data, src, self.now)
                self.waits.look()
                return

    def command(self, command: events.Command) -> None:
        """Give the core a command; commands for a leg that is gone are dropped."""
        leg = getattr(command, "leg", None)
        if leg is None or leg in self.agent.legs:
            self._perform(self.agent.handle(command, self.now))

    def new_ask(self) -> int:
        self._asks += 1
        return self._asks

    async def until(
        self, what: str, holds: Callable[[], T | None], within_s: float, but: Callable[[], str] = lambda: ""
    ) -> T:
        """Wait until `holds()` is true; raises NotAsTold with the ladder after `within_s`."""
        found = await self.waits.until(holds, within_s)
        if not found:
            story = but()
            raise NotAsTold(self.tell(f"waited {within_s:g} s for {what}" + (f"; {story}" if story else "")))
        return found

    def tell(self, what: str) -> str:
        """A sentence about this phone, with the ladder and the complaints below."""
        complaints = "".join(f"\n  ! {complaint}" for complaint in self.complaints)
        return f"{self.agent.account.name or self.number}: {what}{complaints}\n{self.ladder}"

    def _broken(self, dst: Address, why: str) -> None:
        self._perform(self.agent.handle(events.Broken(dst, why), self.now))

    def _wake(self) -> None:
        self._timer = None
        self._perform(self.agent.handle(None, self.now))

    def _perform(self, outputs: list[events.Output]) -> None:
        for output in outputs:
            if isinstance(output, events.Transmit):
                self.ladder.sent(self.now, self.transport.local, output.dst, output.data)
                self.transport.send(output.data, output.dst)
            else:
                self._happened(output)
        self._arm()
        self.waits.look()

    def _arm(self) -> None:
        deadline = self.agent.next_deadline()
        if self._timer is not None:
            if self._timer.when() == deadline:
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self.loop.call_at(deadline, self._wake)

    def _happened(self, event: events.Event) -> None:
        match event:
            case events.Registered():
                self._registered = event
            case events.Replied():
                self.replies[event.ask] = event
            case events.Invited():
                self._invited(event)
            case events.Asked(None, request):
                self.messages.append(request)
            case _:
                call = next((call for call in self.calls if call.leg.id == event.leg), None)
                if call is not None:
                    self._happened_in(call, event)

    def _happened_in(self, call: Call, event: events.Event) -> None:
        match event:
            case events.Progressed():
                call.progress.append(event.response)
            case events.Confirmed():
                call.confirmed = True
                call.response = event.response
            case events.Failed():
                call.failed_with, call.response = event.status, event.response
                self._over(call)
            case events.Ended():
                call.ended_because, call.end_request = event.why, event.request
                self._over(call)
            case events.MediaChanged():
                call.agree(event.media, self.now)
            case events.Asked():
                call.received.append(event.request)
                self._asked_in(call, event.request)

    def _over(self, call: Call) -> None:
        call.stop()
        self.transport.close_rtp(call.rtp)

    def _asked_in(self, call: Call, request: Message) -> None:
        if request.method == "NOTIFY" and request.content_type == "message/sipfrag":
            call.notified.append(request.body.decode(errors="replace").splitlines()[0])
        elif request.method == "REFER":
            self._follow_refer(call, request)

    def _invited(self, event: events.Invited) -> None:
        rtp = self.transport.open_rtp()
        call = Call(self, self.agent.legs[event.leg], rtp, incoming=True)
        call.invite = event.request
        call.replaces = next((c for c in self.calls if c.leg.id == event.replaces), None)
        self.calls.append(call)
        self.command(events.UseRtp(event.leg, rtp, self.codecs))
        if call.replaces is not None:
            self.command(events.Accept(event.leg))
            return
        match self.when_called:
            case Rings(status, early, reliable) if status:
                self.command(events.Progress(event.leg, status, early, reliable))
            case Rejects(status, reason, fields):
                self.command(events.Refuse(event.leg, status, reason, fields))
            case Redirects(target):
                call.redirects(target)
            case Answers(after_s):
                self.command(events.Progress(event.leg, 180))
                self.loop.call_later(after_s, self.command, events.Accept(event.leg))

    # ------------------------------------------------------------ being transferred

    def _follow_refer(self, call: Call, request: Message) -> None:
        """Call whom a REFER names, and report to who sent it (RFC 3515 2.4.4)."""
        aim = read_uri(read_addr(request.get("refer-to")).uri)
        fields = [("Replaces", aim.headers["Replaces"])] if "Replaces" in aim.headers else []
        fields += [("Referred-By", request.get("referred-by"))] if request.get("referred-by") else []
        self._notify(call, "SIP/2.0 100 Trying", "active;expires=60")
        target = str(aim._replace(headers={}, params={k: v for k, v in aim.params.items() if k != "method"}))
        new = self._dial(target, offers=True, codecs=self.codecs, fields=tuple(fields))
        reporting = self.loop.create_task(self._report(call, new))
        self._reports.add(reporting)
        reporting.add_done_callback(self._reports.discard)

    async def _report(self, call: Call, new: Call) -> None:
        await self.waits.until(lambda: new.confirmed or new.is_over, 60.0)
        line = f"SIP/2.0 {new.failed_with or 200} {'OK' if new.confirmed else 'Failed'}"
        self._notify(call, line, "terminated;reason=noresource")

    def _notify(self, call: Call, line: str, state: str) -> None:
        if call.is_over:
            return
        fields = (
            ("Event", "refer"),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        )
        self.command(events.Ask(call.leg.id, self.new_ask(), "NOTIFY", fields, f"{line}\r\n".encode()))
