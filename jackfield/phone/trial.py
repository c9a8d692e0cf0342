"""The trial: two phones register with a server, call each other, and check what they hear.

Each check says in one sentence what it saw; a failed one also what that means and where to look. It
stops at the first that fails. How the run is shown is in `telling.py`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from jackfield.phone.call import Call
from jackfield.phone.ladder import Ladder
from jackfield.phone.listening import Heard
from jackfield.phone.phone import Phone
from jackfield.phone.sound import Tone, tone
from jackfield.phone.transaction import Timers
from jackfield.phone.transport import StreamTransport, Transport, UdpTransport
from jackfield.phone.waiting import NotAsTold

LONGEST_S = 14.0
CALLER_TONE, CALLEE_TONE = tone(440), tone(660)
DIGITS_OUT, DIGITS_BACK = "159#", "*0"
TICK_WAIT_S = 1.3
"""a little more than the second between two ticks, by which the delay is measured"""
LISTEN = "Is a firewall between, or is another program using the ports of [media] in the settings?"
LOG = "The server's log says what it did with the call."


@dataclass(frozen=True, slots=True)
class Account:
    number: str
    password: str


@dataclass(slots=True)
class Check:
    """One thing that was tried. `ok` None: not tried, because an earlier one failed."""

    name: str
    ok: bool | None = None
    saw: str = ""
    advice: str = ""


@dataclass(slots=True)
class Verdict:
    checks: list[Check] = field(default_factory=list)
    heard: dict[str, Heard] = field(default_factory=dict)
    ladder: Ladder = field(default_factory=Ladder)

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(check.ok for check in self.checks)


class Told(Protocol):
    """Who is told how the run goes on."""

    def begin(self, what: str) -> None: ...
    def check(self, check: Check) -> None: ...


class Failure(Exception):
    """A check failed: what was seen, and what that means."""

    def __init__(self, saw: str, advice: str) -> None:
        super().__init__(saw)
        self.saw = saw
        self.advice = advice


STEPS = (
    "the caller registers",
    "the callee registers",
    "the call rings",
    "the call is answered",
    "the callee hears the caller",
    "the caller hears the callee",
    "digits arrive",
    "hold is silent",
    "resume brings the sound back",
    "sound was whole",
    "hanging up ends both sides",
    "both un-register",
    "the server keeps to the RFCs",
)


class Trial:
    """One run. `verdict` fills up while it goes on; `told` is called after each check."""

    def __init__(
        self,
        server: tuple[str, int],
        caller: Account,
        callee: Account,
        *,
        domain: str = "",
        transport: str = "udp",
        carrier: Callable[[], Transport] | None = None,
    ) -> None:
        self.verdict = Verdict([Check(name) for name in STEPS])
        self._server = server
        self._where = f"{transport} {server[0]}:{server[1]}"
        self._domain = domain
        self._carrier = carrier or _real_sockets(server, transport)
        self._caller, self._callee = caller, callee
        self._step = 0

    async def run(self, told: Told) -> Verdict:
        """Go through the steps until one fails; never raises for what the server does."""
        told.begin(f"Phones {self._caller.number} and {self._callee.number} try {self._where}:")
        try:
            async with asyncio.timeout(LONGEST_S), self._phones() as (caller, callee):
                await self._story(caller, callee, told)
        except Failure as failure:
            self._note(False, failure.saw, failure.advice, told)
        except NotAsTold as fault:
            self._note(False, str(fault).partition("\n")[0], LOG, told)
        except TimeoutError:
            self._note(
                False, f"it took longer than {LONGEST_S:.0f} s", "The server is slow or overloaded.", told
            )
        return self.verdict

    @asynccontextmanager
    async def _phones(self) -> AsyncIterator[tuple[Phone, Phone]]:
        ladder = self.verdict.ladder
        ladder.name(self._server, "server")
        phones = [self._phone(account, ladder) for account in (self._caller, self._callee)]
        try:
            yield phones[0], phones[1]
        finally:
            for phone in phones:
                if phone.calls:
                    self.verdict.heard[phone.number] = phone.calls[-1].heard
                phone.close()

    def _phone(self, account: Account, ladder: Ladder) -> Phone:
        return Phone(
            account.number,
            account.password,
            self._server,
            transport=self._carrier(),
            ladder=ladder,
            domain=self._domain,
            timers=Timers(t1=0.25),
        )

    async def _story(self, caller: Phone, callee: Phone, told: Told) -> None:
        caller.speaks(CALLER_TONE)
        callee.speaks(CALLEE_TONE)
        for phone in (caller, callee):
            self._note(True, await self._registers(phone), "", told)
        out, back = await self._calls(caller, callee, told)
        await self._hears(back, CALLER_TONE, told)
        await self._hears(out, CALLEE_TONE, told)
        await self._presses(out, back, told)
        await self._holds(out, back, told)
        self._sound_was_whole(out, back, told)
        await back.hangs_up()
        self._note(True, f"the caller's phone says: {await out.ends()}", "", told)
        for phone in (caller, callee):
            await phone.unregisters()
        self._note(True, "their bindings are gone", "", told)
        self._complaints(caller, callee, told)

    # ------------------------------------------------------------ the steps

    async def _registers(self, phone: Phone) -> str:
        try:
            status = await phone.tries_to_register(120, within_s=4)
        except NotAsTold:
            status = 408
        number = phone.number
        if status == 200:
            return f"{number} is registered for {phone.agent.registration.granted_s} s"
        if status == 408:
            raise Failure(
                f"nobody answers at {self._where}",
                "Is Jackfield running there (`jackfield run`), is this the address it listens on "
                "([sip] listen in the settings), and does a firewall let it through?",
            )
        if status in (401, 403, 407):
            raise Failure(
                f"{status}: the server refuses {number}'s password",
                "Check the password of this extension (`jackfield extension set-password`), and the domain.",
            )
        if status == 404:
            raise Failure(
                f"404: the server does not know {number}",
                "Does this extension exist (`jackfield extension list`), and is the domain its tenant's?",
            )
        raise Failure(f"{status} to REGISTER", "The server's log says why it refused.")

    async def _calls(self, caller: Phone, callee: Phone, told: Told) -> tuple[Call, Call]:
        out = await caller.dials(callee.number)
        await caller.waits.until(lambda: out.is_over or any(not c.is_over for c in callee.calls), 4)
        if out.failed_with is not None:
            raise Failure(
                f"the server refused the call with {out.failed_with}",
                f"404: it has no route to {callee.number}; 486 or 480: that extension is busy or not "
                "registered; 488: no codec in common; 503: it is overloaded, or the sound process is away.",
            )
        if not callee.calls:
            raise Failure("the callee's phone does not ring", f"The INVITE did not come through. {LOG}")
        back = callee.calls[-1]
        self._note(True, f"{callee.number} rings, called by {_caller_of(back)}", "", told)
        await back.answers()
        await out.talks()
        self._note(
            True, f"{out.leg.negotiation.media.send.name if out.leg.negotiation.media else '?'}", "", told
        )
        return out, back

    async def _hears(self, call: Call, expected: Tone, told: Told) -> None:
        try:
            level = await call.hears(expected, within_s=2)
        except NotAsTold:
            raise Failure(f"expected {expected}, heard {call.heard}", _why_no_sound(call)) from None
        await call.phone.waits.until(lambda: call.ear.delay_ms() is not None, TICK_WAIT_S)
        delay = call.ear.delay_ms()
        late = "delay unknown" if delay is None else f"{delay:.1f} ms after it was said"
        self._note(True, f"{expected.frequency_hz} Hz at {level:.1f} dBov, {late}", "", told)

    async def _presses(self, out: Call, back: Call, told: Told) -> None:
        for presser, hearer, digits in ((out, back, DIGITS_OUT), (back, out, DIGITS_BACK)):
            await presser.presses(digits, 60)
            try:
                await hearer.hears_digits(digits, within_s=1)
            except NotAsTold:
                got = "".join(digit.digit for digit in hearer.ear.digits)
                raise Failure(
                    f"pressed {digits}, arrived: {got or 'nothing'}",
                    "The server must pass telephone-events on (RFC 4733); does the SDP above offer them?",
                ) from None
        self._note(True, f"{DIGITS_OUT} and {DIGITS_BACK}", "", told)

    async def _holds(self, out: Call, back: Call, told: Told) -> None:
        await out.holds()
        try:
            await back.hears_nothing(0.3)
            await out.hears_nothing(0.2, settles_s=0)
        except NotAsTold:
            raise Failure(
                f"while on hold the callee heard {back.heard}",
                "The sound must stop when a call is put on hold.",
            ) from None
        self._note(True, "nobody hears anything", "", told)
        await out.resumes()
        for call, wanted in ((back, CALLER_TONE), (out, CALLEE_TONE)):
            try:
                await call.hears(wanted, within_s=2, for_s=0.2)
            except NotAsTold:
                raise Failure(f"after the hold: {call.heard}", _why_no_sound(call)) from None
        self._note(True, "both hear each other again", "", told)

    def _sound_was_whole(self, out: Call, back: Call, told: Told) -> None:
        lost = out.heard.lost + back.heard.lost
        jitter_ms = max(out.heard.jitter_ms, back.heard.jitter_ms)
        if lost > 2:
            raise Failure(
                f"{lost} packets of sound were lost", f"The machine or the network is overloaded. {LISTEN}"
            )
        self._note(True, f"{lost} packets lost, jitter at most {jitter_ms:.1f} ms", "", told)

    def _complaints(self, caller: Phone, callee: Phone, told: Told) -> None:
        complaints = sorted({*caller.complaints, *callee.complaints})
        advice = "Please report this with the ladder: it is a bug of the server, or of something between."
        self._note(
            not complaints, "; ".join(complaints) or "no complaint", advice if complaints else "", told
        )

    def _note(self, ok: bool, saw: str, advice: str, told: Told) -> None:
        check = self.verdict.checks[self._step]
        check.ok, check.saw, check.advice = ok, saw, advice
        self._step += 1
        told.check(check)


def _real_sockets(server: tuple[str, int], transport: str) -> Callable[[], Transport]:
    def make() -> Transport:
        host = _own_address(server)
        return UdpTransport(host) if transport == "udp" else StreamTransport(host)

    return make


def _own_address(server: tuple[str, int]) -> str:
    """The local address that packets to the server leave from."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(server)
        return str(probe.getsockname()[0])


def _caller_of(call: Call) -> str:
    from_ = call.invite.from_ if call.invite else None
    return (from_.name or from_.uri) if from_ else "?"


def _why_no_sound(call: Call) -> str:
    media = call.leg.negotiation.media
    if call.heard.packets == 0:
        where = f"from {media.remote[0]}:{media.remote[1]}" if media else "from anywhere"
        return f"No packet came {where}: is the server's sound process up? {LISTEN}"
    return f"Packets came, the tone did not: were they another call's, or changed on the way? {LOG}"
