"""Random stories: a few phones, any weather, anything done at any time, all of it from one seed.

    story = Story(seed)
    await story.plays()            # raises with seed and ladder when something is wrong

At the end everybody hangs up and time runs out. Then nothing may be left over, every INVITE must have
had exactly one final answer, and nobody may have heard whom it should not.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

from jackfield.phone import PCMA, PCMU, Call, Phone, Rejects, Rings, events, g711, sound, tone
from jackfield.phone.message import Message, parse
from tests.house import SERVER, SERVER_SIP, House
from tests.memory_network import CALM, Passage, Weather

NUMBERS = ("101", "102", "103", "104", "102")
VOICES = (400, 600, 900, 1150, 1350)
CODECS = ((PCMU, PCMA), (PCMU, PCMA), (PCMA, PCMU), (PCMU,), (PCMA,))
FAULTS_OF_THE_WEATHER = ["CSeq", "the version went", "the RTP timestamp went on"]
"""a message overtook another on its way, or the packet with the marker was lost"""
ODD_TARGETS = ("*43", "999")
LASTS_S = 16.0
SESSION_S = 90
HEARD_DBOV = -25.0
FRAMES = 4
LONGEST_FLIGHT_S = 0.12
DialogKey = tuple[str, str]
"""Call-ID and the phone's tag"""


class Story:
    """One seed. `house` is there once it plays."""

    def __init__(self, seed: int, *, restarts: bool = False) -> None:
        """`restarts`: the engine dies now and then; what was under way then need not end by the book."""
        self.seed = seed
        self.restarts = restarts
        self.rng = random.Random(seed)
        self.weather = self._any_weather()
        self.house: House
        self.asked: dict[Call, int] = {}
        """the re-INVITE, REFER or INFO of a call that was last sent: one at a time"""
        self.passages: list[Passage] = []
        self.everyone: list[Phone] = []
        """the living and the dead"""
        self.times_heard = 0
        self.log: list[str] = []

    def _any_weather(self) -> Weather:
        rng = self.rng
        if rng.random() < 0.3:
            return CALM
        return Weather(
            delay_s=rng.choice((0.001, 0.005, 0.02)),
            jitter_s=rng.choice((0.0, 0.01, 0.03)),
            loss=rng.choice((0.0, 0.02, 0.1)),
            duplication=rng.choice((0.0, 0.1)),
            reorder=rng.choice((0.0, 0.1)),
        )

    # ------------------------------------------------------------ the story

    async def plays(self) -> None:
        """From the first REGISTER to the last timer."""
        rng = self.rng
        hold = rng.choice(("local", "pass"))
        calls = {"hold": hold, "session_expires_s": SESSION_S}
        media = {"silence_s": 86_400.0}
        async with House(self.seed, calls=calls, media=media) as self.house:
            try:
                self.house.network.taps.append(self._sees)
                for number, hertz in zip(NUMBERS[: rng.randint(3, 5)], VOICES, strict=False):
                    voice, codecs = tone(hertz, ticks=False), rng.choice(CODECS)
                    phone = await self.house.phone(number, sound=False, voice=voice, codecs=codecs)
                    phone.when_called = rng.choice(
                        (Rings(180), Rings(180), Rings(183, reliable=True), Rejects(486))
                    )
                self.everyone = list(self.phones)
                self.house.forgiven.append("no audio codec in common")
                self.house.network.weather = self.weather
                if self.weather != CALM:
                    self.house.forgiven += FAULTS_OF_THE_WEATHER
                end = self.house.loop.time() + LASTS_S
                while self.house.loop.time() < end:
                    await self.house.rest(
                        rng.choice((0.0, 0.002, rng.expovariate(3.0), rng.expovariate(3.0)))
                    )
                    await rng.choice(self._acts())()
                await self._everybody_hangs_up()
                self._judge()
            except AssertionError as fault:
                raise AssertionError(self.told(str(fault))) from fault

    def told(self, what: str) -> str:
        acts = "\n".join(self.log)
        return f"seed {self.seed}: {what}\n{self.weather}\n{acts}\n{self.house.ladder}"

    @property
    def phones(self) -> list[Phone]:
        return self.house.phones

    def _calls(self, suits: Callable[[Call], bool]) -> list[Call]:
        return [call for phone in self.phones for call in phone.calls if not call.is_over and suits(call)]

    def _note(self, call: Call | Phone, what: str) -> None:
        phone = call.phone if isinstance(call, Call) else call
        at = self.house.loop.time() - self.house.ladder.rows[0].at
        self.log.append(f"{at:8.3f}  {phone.number} at {phone.transport.local[0]} {what}")

    # ------------------------------------------------------------ what people do

    def _acts(self) -> list[Callable[[], object]]:
        often = [self._answers, self._answers, self._dials, self._changes, self._transfers, self._attends]
        at_times = [self._hangs_up, self._listens, self._listens]
        rare = [self._rejects, self._sends_info, self._registers, self._dies]
        return often * 4 + at_times * 3 + rare + [self._restarts] * self.restarts

    async def _dials(self) -> None:
        phone = self.rng.choice(self.phones)
        if len([call for call in phone.calls if not call.is_over]) < 3:
            target = self.rng.choice((*NUMBERS[:4], *NUMBERS[:4], *ODD_TARGETS))
            offers = self.rng.random() < 0.8
            self._note(phone, f"dials {target}")
            await phone.dials(target, offers=offers)

    async def _answers(self) -> None:
        for call in self._one(lambda call: call.incoming and not call.confirmed):
            self._note(call, "answers")
            call.phone.command(events.Accept(call.leg.id))

    async def _rejects(self) -> None:
        for call in self._one(lambda call: call.incoming and not call.confirmed):
            self._note(call, "rejects")
            call.rejects(self.rng.choice((486, 603, 480)))

    async def _hangs_up(self) -> None:
        for call in self._one(lambda call: True):
            self._note(call, "hangs up")
            call.phone.command(events.HangUp(call.leg.id))

    async def _changes(self) -> None:
        for call in self._one(self._is_idle):
            direction = self.rng.choice(("sendrecv", "sendonly", "inactive"))
            method = self.rng.choice(("INVITE", "INVITE", "UPDATE"))
            offers = method == "UPDATE" or self.rng.random() < 0.8
            self._note(call, f"{method} {direction}{'' if offers else ', no offer'}")
            self.asked[call] = ask = call.phone.new_ask()
            change = events.Change(call.leg.id, ask, direction, False, method, offers)
            call.phone.command(change)

    async def _transfers(self) -> None:
        for call in self._one(self._is_idle):
            target = self.rng.choice((*NUMBERS[:4], *ODD_TARGETS))
            self._refers(call, f"<sip:{target}@{SERVER}>", f"refers to {target}")

    async def _attends(self) -> None:
        for call in self._one(self._is_idle):
            others = [each for each in call.phone.calls if each is not call and not each.is_over]
            others = [each for each in others if each.leg.dialog.remote_tag and each.leg.dialog.remote]
            if others:
                self._refers(
                    call, call._refer_to(self.rng.choice(others)), "refers to another call of its own"
                )

    def _refers(self, call: Call, refer_to: str, what: str) -> None:
        self._note(call, what)
        self.asked[call] = ask = call.phone.new_ask()
        call.phone.command(events.Ask(call.leg.id, ask, "REFER", (("Refer-To", refer_to),)))

    async def _sends_info(self) -> None:
        for call in self._one(self._is_idle):
            fields = (("Content-Type", "application/dtmf-relay"),)
            self.asked[call] = ask = call.phone.new_ask()
            call.phone.command(events.Ask(call.leg.id, ask, "INFO", fields, b"Signal=5\r\n"))

    async def _registers(self) -> None:
        phone = self.rng.choice(self.phones)
        expires_s = self.rng.choice((0, 3600, 3600))
        self._note(phone, f"registers for {expires_s} s")
        phone.command(events.Register(expires_s))

    async def _dies(self) -> None:
        if self.rng.random() < 0.2 and len(self.phones) == len(self.everyone):
            phone = self.rng.choice(self.phones)
            self._note(phone, "dies")
            phone.close()
            self.house.phones.remove(phone)

    async def _restarts(self) -> None:
        self.log.append(f"{self.house.loop.time() - self.house.ladder.rows[0].at:8.3f}  the engine dies")
        self.house.restart_engine()
        self.house.forgiven.append("")

    def _one(self, suits: Callable[[Call], bool]) -> list[Call]:
        found = self._calls(suits)
        return [self.rng.choice(found)] if found else []

    def _is_idle(self, call: Call) -> bool:
        """Confirmed, and nothing of its own under way."""
        asked = self.asked.get(call)
        return call.confirmed and (asked is None or asked in call.phone.replies)

    async def _everybody_hangs_up(self) -> None:
        for _ in range(40):
            for call in self._calls(lambda call: True):
                call.phone.command(events.HangUp(call.leg.id))
            await self.house.rest(4.0)
        for phone in self.phones:
            phone.agent.registration.stop()

    # ------------------------------------------------------------ who hears whom

    def _bridges(self) -> dict[DialogKey, DialogKey | None]:
        """Whom each leg should hear at most, as the server's calls stand; an echo hears itself."""
        found: dict[DialogKey, DialogKey | None] = {}
        for call in self.house.engine.switchboard._calls.values():
            keys = {leg: self._key(leg) for leg in call.legs}
            for key in keys.values():
                found[key] = None
            if call.bridge is not None:
                first, second = call.bridge
                found[keys[first]], found[keys[second]] = keys[second], keys[first]
            elif call.app_leg is not None:
                found[keys[call.app_leg]] = keys[call.app_leg]
        return found

    def _unsettled(self) -> set[DialogKey]:
        """Legs that have not answered yet, as far as the server knows: the ACK that says so may be lost."""
        calls = self.house.engine.switchboard._calls.values()
        return {self._key(leg.id) for call in calls for leg in call.legs.values() if leg.sound.awaits_answer}

    def _key(self, leg: int) -> DialogKey:
        facts = self.house.engine.stack.dialog(leg)  # type: ignore[arg-type]
        return ("", str(leg)) if facts is None else (facts.call_id, facts.remote_tag)

    def _state(self) -> object:
        media = [(id(call), call.leg.negotiation.media) for call in self._calls(lambda call: True)]
        return self._bridges(), len(self.house.events), media

    async def _listens(self) -> None:
        """Everybody says a few frames; where nothing else happens, each hears its peer, or nothing."""
        await self.house.rest(LONGEST_FLIGHT_S)
        before, began = self._state(), self.house.loop.time()
        for _ in range(FRAMES):
            for call in self._calls(lambda call: call.confirmed):
                for packet in call.mouth.tick(self.house.loop.time()):
                    call.phone.transport.send_rtp(call.rtp, packet, call.mouth.media.remote)  # type: ignore[union-attr]
            await self.house.rest(0.02)
        await self.house.rest(LONGEST_FLIGHT_S)
        if self._state() == before and not self.restarts:
            self._judge_hearing(began)

    def _judge_hearing(self, began: float) -> None:
        should = self._bridges()
        voices: dict[DialogKey, Call] = {}
        for call in self._calls(lambda call: call.confirmed):
            voices[call.leg.dialog.call_id, call.leg.dialog.local_tag] = call
        for key, call in voices.items():
            peer = should.get(key)
            allowed = {voices[peer].phone.number} if peer in voices and peer is not None else set()
            heard = self._heard_by(call, began)
            self.times_heard += len(heard)
            assert heard <= allowed, f"{call.phone.number} hears {heard}, should hear at most {allowed}"
            media = call.leg.negotiation.media
            holds = media is not None and not media.receives and key not in self._unsettled()
            assert not (holds and heard), f"{call.phone.number} holds and hears {heard}"
            is_due = self.weather == CALM and peer in voices and self._flows(voices[peer], call)  # type: ignore[index]
            assert heard or not is_due, f"{call.phone.number} does not hear {allowed}"

    def _flows(self, speaker: Call, listener: Call) -> bool:
        """True when, as the two ends see it, sound goes from the one to the other."""
        said, heard = speaker.leg.negotiation.media, listener.leg.negotiation.media
        if said is None or heard is None:
            return False
        return said.sends and heard.receives and said.send.name in [codec.name for codec in heard.receive]

    def _heard_by(self, call: Call, since: float) -> set[str]:
        heard = set()
        for frame in call.ear.frames:
            if frame.at >= since:
                samples = g711.decode(frame.payload, frame.payload_type)
                heard |= {
                    phone.number
                    for phone in self.everyone
                    if sound.level_of(samples, phone.voice.frequency_hz) > HEARD_DBOV  # type: ignore[union-attr]
                }
        return heard

    # ------------------------------------------------------------ at the end

    def _sees(self, passage: Passage) -> None:
        if SERVER_SIP in (passage.src, passage.dst):
            self.passages.append(passage)

    def _judge(self) -> None:
        house = self.house
        assert house.left_over() == {}, f"left over: {house.left_over()}"
        assert house.crashes == [], "\n".join(house.crashes)
        assert house.refusals == [], house.refusals
        assert [fault for fault in house.faults if fault.status == 500] == []
        for branch, finals in self._final_answers().items() if not self.restarts else ():
            assert len(finals) == 1, f"INVITE {branch} has {len(finals)} final answers: {finals}"

    def _final_answers(self) -> dict[str, set[str]]:
        """The final answers that the server gave to each INVITE transaction that reached it."""
        answers: dict[str, set[str]] = defaultdict(set)
        for passage in self.passages:
            message: Message = parse(passage.data)
            if passage.dst == SERVER_SIP and passage.fate == "sent" and message.method == "INVITE":
                answers[message.via.branch]
        for passage in self.passages:
            message = parse(passage.data)
            is_final = passage.src == SERVER_SIP and message.status >= 200 and message.cseq.method == "INVITE"
            if is_final:
                answers[message.via.branch].add(message.first_line)
        return answers
