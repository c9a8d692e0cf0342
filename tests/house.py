"""The whole server in memory: real cores, scripted phones, virtual time, a network with weather.

    async with House(seed=7) as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        call = await anna.dials("102")
        ...

Only the edges are imitated: the network, the clock, the disk. On the way out the house checks that
nothing is left over: no call, leg, dialog, transaction, port, timer or task, and no complaint of any
phone about what the server sent.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from functools import partial
from types import MappingProxyType
from typing import Any

from conf.digests import make_secret
from conf.settings import Settings
from conf.snapshot import Extension, Service, Snapshot, Tenant, TenantId
from jackfield.engine import Engine
from jackfield.phone import Ladder, Phone
from jackfield.wiring import build_engine
from media import messages as media
from media._core import Core
from media.client import FrameReader, pack
from pbx.api import CallEvent
from pbx.appcalls import AppCommand, LiveCall, drive
from pbx.apps import APPS
from pbx.board import AppNews, MediaRestarted, NewSnapshot, SaveBindings, StartApp
from sipcore import events as sip
from sipcore.flow import Address, Flow, Transport
from tests.memory_network import CALM, MemoryNetwork, Weather
from tests.memory_phone import MemoryTransport

SERVER = "10.0.0.1"
SERVER_SIP = (SERVER, 5060)
WALL_OFFSET = 1_750_000_000.0
REALM = "jackfield.local"
LONGEST_LINGERING_S = 40.0
"""after the last call, transactions live at most 64*T1 (RFC 3261 17); then all must be gone"""


class Hosts:
    def media_host(self, flow: Flow | None, uri: str) -> str:
        return SERVER

    def bind_host(self, host: str) -> str:
        return host


class House:
    """One server and its phones; implements `jackfield.engine.Outside`."""

    def __init__(
        self, seed: int = 1, weather: Weather = CALM, *, strict: bool = True, **settings: Any
    ) -> None:
        self.strict = strict
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(seed)
        self.network = MemoryNetwork(self.loop, random.Random(seed + 1), weather)
        self.ladder = Ladder()
        self.ladder.names[SERVER_SIP] = "server"
        self.events: list[CallEvent] = []
        self.kept: dict[tuple[int, str], bytes] = {}
        self.faults: list[sip.PeerBroke] = []
        self.refusals: list[media.Refused] = []
        self.phones: list[Phone] = []
        self.negotiated: list[media.Negotiated] = []
        """what media was told about its streams"""
        self.transports: dict[str, Transport] = {}
        """of hosts that say that they use another one than UDP"""
        self.forgiven: list[str] = []
        """words of complaints that a test provokes"""
        self.crashes: list[str] = []
        self.loop.set_exception_handler(self._broke)
        self.settings = Settings(**settings)
        self.snapshot = make_snapshot()
        self.media = Core(silence_s=self.settings.media.silence_s)
        self._frames = FrameReader()
        self._ports: dict[int, tuple[Address, Address]] = {}
        self._apps: dict[int, tuple[LiveCall, asyncio.Task[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")
        self._hosts_used = 1
        self.media.handle_frame(pack([media.Hello(media.VERSION, 60.0)]), self.loop.time())
        [welcome] = self._frames.feed(self.media.take_events())
        assert isinstance(welcome, media.Welcome)
        self.media_fingerprint = welcome.fingerprint
        self.engine = self._build()
        self.network.attach(SERVER_SIP, self._received)

    def _build(self) -> Engine:
        engine = build_engine(
            self.settings,
            self.snapshot,
            self,
            random=self.rng,
            new_secret=self.rng.randbytes,
            source_for=lambda transport, remote: SERVER_SIP,
            hosts=Hosts(),
            nonce_key=b"key of the house",
            now=self.loop.time(),
            wall_offset=WALL_OFFSET,
            strict=self.strict,
        )
        engine.switchboard.observers.append(self)
        engine.switchboard.media_fingerprint = self.media_fingerprint
        return engine

    async def __aenter__(self) -> House:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self._nothing_is_left()
        finally:
            for phone in self.phones:
                phone.close()
            self._stop_timer()
            for _, task in self._apps.values():
                task.cancel()
        assert self.crashes == [], "\n".join(self.crashes)

    def _broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something in a callback raised: asyncio would only log it."""
        why = context.get("exception")
        self.crashes.append("".join(traceback.format_exception(why)) if why else context["message"])

    def _stop_timer(self) -> None:
        self._armed_for = float("inf")
        if self._timer is not None:
            self._timer.cancel()

    async def _nothing_is_left(self) -> None:
        for phone in self.phones:
            for call in phone.calls:
                if not call.is_over:
                    await call.hangs_up(within_s=40.0)
        await asyncio.sleep(LONGEST_LINGERING_S)  # noqa: TID251  virtual time: takes no real time
        assert self.left_over() == {}, f"left over: {self.left_over()}\n{self.ladder}"
        assert self.complaints() == [], "\n".join([*self.complaints(), str(self.ladder)])
        assert self.refusals == []

    def left_over(self) -> dict[str, int]:
        """Whatever is still in use anywhere, by name; empty when the house is tidy."""
        found = {**self.engine.switchboard.counts(), **self.engine.stack.counts()}
        found["media ports"] = len(self._ports)
        found["applications"] = len(self._apps)
        return {name: number for name, number in found.items() if number}

    def complaints(self) -> list[str]:
        """What the phones, which are strict, hold against the server, but for what the test forgives."""
        return [
            f"{phone.number}: {complaint}"
            for phone in self.phones
            for complaint in phone.complaints
            if not any(words in complaint for words in self.forgiven)
        ]

    # ------------------------------------------------------------ who lives here

    async def phone(self, number: str, *, registers: bool = True, password: str = "", **how: Any) -> Phone:
        """A phone with a host of its own, registered unless told otherwise, that knows its password."""
        self._hosts_used += 1
        transport = how.pop("transport", None) or MemoryTransport(self.network, f"10.0.0.{self._hosts_used}")
        phone = Phone(
            number,
            password or f"secret-{number}",
            SERVER_SIP,
            transport=transport,
            rng=random.Random(self.rng.getrandbits(32)),
            ladder=self.ladder,
            **how,
        )
        self.phones.append(phone)
        if registers:
            await phone.registers()
        return phone

    async def rest(self, for_s: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(for_s)  # noqa: TID251

    def reconfigure(self, snapshot: Snapshot) -> None:
        """What a change of the configuration does to a running server."""
        self.snapshot = snapshot
        self._feed(NewSnapshot(snapshot))

    def restart_engine(self) -> None:
        """The engine dies and another one comes: sound and memos are with media, registrations were kept."""
        self._stop_timer()
        for _, task in self._apps.values():
            task.cancel()
        self._apps.clear()
        now = self.loop.time()
        self.engine = self._build()
        for (tenant, number), payload in self.kept.items():
            key = (TenantId(tenant), number)
            self.engine.switchboard.registrations.restore(key, payload, now + WALL_OFFSET)
        self.media.disconnected(now)
        self.media.handle_frame(pack([media.Hello(media.VERSION, 60.0), media.AskMemos()]), now)
        self._media_speaks()

    def restart_media(self) -> None:
        """The media process dies and comes back empty."""
        for addresses in self._ports.values():
            for address in addresses:
                self.network.detach(address)
        self._ports.clear()
        self.media, self._frames = Core(seed=2), FrameReader()
        self.media.handle_frame(pack([media.Hello(media.VERSION, 60.0)]), self.loop.time())
        self._feed(MediaRestarted())

    # ------------------------------------------------------------ the engine's shell

    def _received(self, data: bytes, src: Address, dst: Address) -> None:
        transport = self.transports.get(src[0], Transport.UDP)
        connection = int(src[0].rpartition(".")[2]) if transport.reliable else 0
        self._feed(sip.Received(data, Flow(transport, dst, src, connection)))

    def _feed(self, what: Any) -> None:
        self.engine.handle(what, self.loop.time())
        self._arm()

    def _arm(self) -> None:
        deadlines = [
            each for each in (self.engine.next_deadline(), self.media.next_deadline()) if each is not None
        ]
        if not deadlines or min(deadlines) >= self._armed_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = min(deadlines)
        self._timer = self.loop.call_at(self._armed_for, self._wake)

    def _wake(self) -> None:
        self._armed_for = float("inf")
        self.engine.tick(self.loop.time())
        self.media.tick(self.loop.time())
        self._media_speaks()
        self._arm()

    def on_event(self, event: CallEvent) -> None:
        self.events.append(event)

    # ------------------------------------------------------------ jackfield.engine.Outside

    def transmit(self, message: sip.Transmit) -> None:
        self.network.send(SERVER_SIP, message.flow.remote, message.data)

    def resolve(self, question: sip.Resolve) -> None:
        self.loop.call_soon(self._feed, sip.Resolved(question.query, ()))

    def to_media(self, commands: list[media.Command]) -> None:
        for command in commands:
            match command:
                case media.OpenPort(port=port, local_host=host, rtp_port=number):
                    self._ports[port] = ((host, number), (host, number + 1))
                    for address in self._ports[port]:
                        self.network.attach(address, self._sound)
                case media.ClosePort(port=port):
                    for address in self._ports.pop(port, ()):
                        self.network.detach(address)
                case media.Negotiated():
                    self.negotiated.append(command)
        self.media.handle_frame(pack(commands), self.loop.time())
        self.loop.call_soon(self._media_speaks)

    def keep(self, bindings: SaveBindings) -> None:
        self.kept[bindings.tenant, bindings.number] = bindings.payload

    def start_app(self, start: StartApp) -> None:
        wish = partial(self._wish, self.engine)
        call = LiveCall(start.call, start.dialled, wish)
        task = self.loop.create_task(drive(APPS[start.app], call, wish))
        running = self._apps[start.call] = (call, task)
        task.add_done_callback(lambda _: self._app_over(start.call, running))

    def _app_over(self, call: int, which: tuple[LiveCall, asyncio.Task[None]]) -> None:
        if self._apps.get(call) is which:
            del self._apps[call]

    def _wish(self, engine: Engine, command: AppCommand) -> None:
        if engine is self.engine:  # an application dies with its engine
            self.loop.call_soon(self._feed, command)

    def tell_app(self, news: AppNews) -> None:
        if news.call in self._apps:
            self._apps[news.call][0].tell(news)

    def alias(self, alias: sip.Aliased) -> None:
        raise AssertionError("the house has no connections")

    def target_failed(self, target: sip.TargetFailed) -> None:
        raise AssertionError("no name leads anywhere in the house")

    def peer_broke(self, fault: sip.PeerBroke) -> None:
        self.faults.append(fault)

    def crashed(self, crash: sip.Crashed) -> None:
        raise AssertionError(crash.why)

    # ------------------------------------------------------------ sound

    def _sound(self, data: bytes, src: Address, dst: Address) -> None:
        self._send_sound(self.media.receive(dst, src, data, self.loop.time()))
        self._media_speaks()
        self._arm()

    def _media_speaks(self) -> None:
        self._send_sound(self.media.take_sends())
        events = self._frames.feed(self.media.take_events())
        for event in events:
            if isinstance(event, media.Refused):
                self.refusals.append(event)
            elif isinstance(event, media.Memos):
                self.engine.restore(event, self.loop.time())
            else:
                self._feed(event)
        self._arm()

    def _send_sound(self, sends: list[tuple[int, str, int, bytes]]) -> None:
        for number, host, port, data in sends:
            self.network.send((SERVER, number), (host, port), data)


def make_snapshot(**changes: Any) -> Snapshot:
    """Two tenants with the same extension numbers, and the services that a demonstration has."""
    tenants = {
        TenantId(1): Tenant(TenantId(1), "first", REALM),
        TenantId(2): Tenant(TenantId(2), "second", "other.example"),
    }
    extensions = {
        (tenant.id, number): Extension(
            tenant.id, number, name, make_secret(number, tenant.realm, f"secret-{number}"), ring_s=30
        )
        for tenant in tenants.values()
        for number, name in (("101", "Anna"), ("102", "Boris"), ("103", "Clara"), ("104", "David"))
    }
    services = {
        (TenantId(1), "*43"): Service(TenantId(1), "*43", "echo"),
        (TenantId(1), "*41"): Service(TenantId(1), "*41", "tone"),
    }
    facts: dict[str, Any] = {
        "version": 1,
        "tenants": MappingProxyType(tenants),
        "tenant_by_domain": {tenant.realm: tenant.id for tenant in tenants.values()},
        "default_tenant": TenantId(1),
        "extensions": extensions,
        "services": services,
    }
    return Snapshot(**{**facts, **changes})
