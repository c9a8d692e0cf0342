"""The asyncio shell around the phone's core: hands it what arrives, and does what it says.

Uses the loop only through `time`, `call_at` and futures, so that the same phone lives in virtual
time. The verbs of a phone's user are in `phone.py`, those of a call in `call.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from jackfield.phone import events, sound
from jackfield.phone.agent import Agent
from jackfield.phone.call import Call
from jackfield.phone.ladder import Ladder
from jackfield.phone.leg import Leg
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


class Shell:
    """Keeps the calls, the core and its timer, the transport and the ladder of one phone."""

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
        self.is_deaf = False
        """hears no SIP at all, as if its cable were pulled; what it says still goes out"""
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

    async def __aenter__(self) -> Self:
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
    def is_registered(self) -> bool:
        return self.agent.registration.granted_s > 0

    # ------------------------------------------------------------ in and out

    def new_call(self, leg: Leg, rtp: Address, *, incoming: bool) -> Call:
        raise NotImplementedError

    def dial(self, target: str, *, offers: bool, codecs: tuple[Codec, ...], fields: events.Fields) -> Call:
        rtp, leg_id = self.transport.open_rtp(), self.agent.new_leg_id()
        wish = events.Dial(leg_id, target, rtp, codecs, offers, fields)
        outputs = self.agent.handle(wish, self.now)
        call = self.new_call(self.agent.legs[leg_id], rtp, incoming=False)
        self.calls.append(call)
        self._perform(outputs)
        return call

    def receive(self, data: bytes, src: Address) -> None:
        """SIP came in from the transport."""
        if self.is_deaf:
            return
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
                call = next((call for call in reversed(self.calls) if call.leg.id == event.leg), None)
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
        call = self.new_call(self.agent.legs[event.leg], rtp, incoming=True)
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
        new = self.dial(target, offers=True, codecs=self.codecs, fields=tuple(fields))
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
