"""The engine as a process: sockets, the real clock and the stores around `jackfield.engine`.

Started by `jackfield run` beside media. Reads the configuration, takes up what an engine before it
left with media, listens, and goes on until SIGTERM: then calls get their BYE and all is flushed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
import uvloop

from conf.bindings_store import BindingsStore
from conf.demo import DemoPhone
from conf.faults import SettingsError, Unavailable
from conf.load import load_settings
from conf.settings import Settings
from conf.snapshot import Snapshot, TenantId
from conf.store import ConfigStore
from jackfield.addresses import SOMEWHERE, MediaHosts
from jackfield.calllog import CallLog
from jackfield.engine import Engine
from jackfield.first_start import open_configuration, welcome
from jackfield.litter import Litter
from jackfield.logs import configure_logs
from jackfield.overload import Overload
from jackfield.wiring import build_engine
from media import messages as media
from media.client import MediaClient
from pbx.appcalls import AppCommand, AppDone, LiveCall, drive
from pbx.apps import APPS
from pbx.board import AppNews, MediaRestarted, NewSnapshot, SaveBindings, StartApp
from sipcore import events as sip
from sipcore.aio import (
    EarliestTimer,
    Limits,
    Listen,
    ListenError,
    Resolver,
    TlsClientSettings,
    TlsSettings,
    Transports,
)
from sipcore.flow import Address, Flow, Transport

log = structlog.get_logger("engine")

MEDIA_READY_S = 10.0
"""how long media may take to answer at the start"""
GOODBYE_S = 2.0
"""how long the last BYEs are resent at an ordered end"""
SWEEP_S = 30.0
"""how often expired registrations are forgotten"""
MOST_BACKLOG_BYTES = 512 << 10
"""unread datagrams beyond which the server is behind: some 250 messages, a few tenths of a second of work"""
KEEP_ALIVE = b"\r\n\r\n"
LONG_PAUSE_S = 0.05
"""a pause for the collector of garbage that is worth a line in the log"""
SETTINGS_FAULT = 2
OUT_OF_ORDER = 1


def machine_has_ipv6() -> bool:
    """False where the kernel has no IPv6, or it is switched off: then "every address" means IPv4."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Process:
    """One engine with its surroundings: implements `jackfield.engine.Outside`."""

    def __init__(self, settings: Settings, *, greet: bool) -> None:
        self.settings = settings
        self._greet = greet
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self._apps: dict[int, tuple[LiveCall, asyncio.Task[None]]] = {}
        self._memos: asyncio.Future[media.Memos] = self.loop.create_future()
        self._resolving: set[asyncio.Task[None]] = set()
        self.faults: dict[str, int] = {}
        sip_settings = settings.sip
        client_ca = str(sip_settings.tls_client_ca or "")
        tls = TlsSettings(
            str(settings.tls_certificate_file), str(settings.tls_key_file), client_ca, bool(client_ca)
        )
        listens = [
            Listen(
                Transport(each.transport),
                each.host,
                each.port,
                tls if each.transport in ("TLS", "WSS") else None,
            )
            for each in sip_settings.listeners
            if not (each.optional and not machine_has_ipv6())
        ]
        towards_servers = TlsClientSettings(sip_settings.tls_verify, str(sip_settings.tls_ca or ""))
        limits = Limits(
            connections=sip_settings.tcp_max_connections,
            connections_per_source=sip_settings.tcp_max_connections_per_host,
            idle_s=sip_settings.tcp_idle_s,
            message_size=sip_settings.max_message_bytes,
        )
        self.transports = Transports(
            listens, self._received, self._flow_failed, limits=limits, tls=towards_servers
        )
        self.resolver = Resolver(self.transports)
        self.media = MediaClient(
            str(settings.paths.var / "media.sock"),
            self._media_events,
            self._media_link,
            settings.media.orphan_s,
        )
        self.engine: Engine
        self.timer: EarliestTimer
        self.bindings: BindingsStore
        self._sweeping: asyncio.TimerHandle
        self._looking: asyncio.TimerHandle
        self._collecting: asyncio.TimerHandle
        self._litter = Litter()
        self._pinging: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        self._calls_before = 0
        limits_of_load = settings.limits
        self.overload = Overload(
            limits_of_load.shed_lag_ms / 1000, MOST_BACKLOG_BYTES, limits_of_load.calls_per_s
        )

    # ------------------------------------------------------------ life

    async def run(self) -> None:
        """From the first line of the configuration to the last flush."""
        store, phones = await open_configuration(self.settings)
        try:
            snapshot = await store.load_snapshot()
            self.bindings = BindingsStore(self.settings.registrations_file)
            try:
                await self._serve(store, snapshot, phones)
            finally:
                self.bindings.close()
        finally:
            await store.close()

    async def _serve(self, store: ConfigStore, snapshot: Snapshot, phones: tuple[DemoPhone, ...]) -> None:
        now, source = monotonic(), random.SystemRandom()
        self.engine = build_engine(
            self.settings,
            snapshot,
            self,
            random=source,
            source_for=self._source_for,
            hosts=MediaHosts(
                self._local_for,
                self.settings.media.bind_host,
                self.settings.media.advertised_host,
                self.settings.sip.local_networks,
            ),
            nonce_key=source.randbytes(32),
            now=now,
            wall_offset=time.time() - now,
        )
        if self.settings.log.level in ("debug", "info"):
            self.engine.switchboard.observers.append(CallLog(debug=self.settings.log.level == "debug"))
        self.timer = EarliestTimer(self.loop, self._wake)
        await self._join_media(now)
        for key, payload in self.bindings.load_all().items():
            self.engine.switchboard.registrations.restore((TenantId(key[0]), key[1]), payload, time.time())
        try:
            await self.transports.start()
        except ListenError:
            self.stop.set()
            raise
        self._sweep()
        if self.settings.sip.nat_ping_s:
            self._ping_nats()
        watch = store.watch(self._new_snapshot, self._configuration_away)
        # What lives now lives on: kept out of the collector's sight, which works when `_collect` says.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._looked_at = monotonic()
        self._look_at_load()
        self._collect()
        log.info("ready", listening=[f"{t} {a[0]}:{a[1]}" for t, a in self.transports.local_addresses()])
        if self._greet:
            own = self._local_for(Transport.UDP, SOMEWHERE)
            addresses = () if own is None else (own[0],)
            print(welcome(self.settings, snapshot, phones, addresses), flush=True)  # noqa: T201
        await self.stop.wait()
        await watch.close()
        self._sweeping.cancel()
        self._looking.cancel()
        self._collecting.cancel()
        if self._pinging is not None:
            self._pinging.cancel()
        await self._say_goodbye()
        await self.transports.close()
        await self.resolver.close()
        await self.media.close()

    async def _join_media(self, now: float) -> None:
        """Find media, and with it the calls that an engine before us left there."""
        try:
            async with asyncio.timeout(MEDIA_READY_S):
                await self.media.connect()
                memos = await self._memos
        except TimeoutError:
            raise Unavailable("media", "its process did not answer") from None
        self.engine.restore(memos, now)
        if memos.memos:
            log.info("took up calls from before", calls=len(memos.memos))

    async def _say_goodbye(self) -> None:
        self.engine.shut_down(monotonic())
        deadline = monotonic() + GOODBYE_S
        while self.engine.stack.counts()["dialogs"] and monotonic() < deadline:
            await self._pause(0.05)

    async def _pause(self, for_s: float) -> None:
        done: asyncio.Future[None] = self.loop.create_future()
        self.loop.call_later(for_s, done.set_result, None)
        await done

    # ------------------------------------------------------------ what comes in

    def _received(self, data: bytes, flow: Flow) -> None:
        self._feed(sip.Received(data, flow))

    def _flow_failed(self, flow: Flow, why: str) -> None:
        self.resolver.failed(flow)
        for lost in self.engine.switchboard.registrations.flow_lost(flow):
            self.keep(lost)
        self._feed(sip.FlowFailed(flow, why))

    def _media_events(self, events: Sequence[media.Event]) -> None:
        for event in events:
            if isinstance(event, media.Memos):
                if not self._memos.done():
                    self._memos.set_result(event)
            elif isinstance(event, media.Refused):
                # After a PortFailed the commands that were under way meet a port that is gone.
                log.debug("media refused a command", tag=event.tag, why=event.why)
            else:
                if isinstance(event, media.Played) and event.fault:
                    log.warning("a sound file cannot be played", why=event.fault)
                if isinstance(event, media.SecurityNews):
                    tell = log.info if event.what.endswith("-connected") else log.warning
                    tell("encrypted sound", port=event.port, what=event.what, detail=event.detail)
                self._feed(event)

    def _media_link(self, welcome: media.Welcome | None) -> None:
        if self.stop.is_set():
            return
        if welcome is not None:
            self.engine.switchboard.media_fingerprint = welcome.fingerprint
        if welcome is None:
            log.warning("media is away: calls that are up are silent until it is back")
        elif not self._memos.done():
            self.media.send(media.AskMemos())
        elif welcome.open_ports == 0:
            self._feed(MediaRestarted())

    def _feed(self, what: Any) -> None:
        self.engine.handle(what, monotonic())
        self.timer.arm(self.engine.next_deadline())

    def _wake(self) -> None:
        self.engine.tick(monotonic())
        self.timer.arm(self.engine.next_deadline())

    def _new_snapshot(self, snapshot: Snapshot) -> None:
        self._feed(NewSnapshot(snapshot))
        log.info("configuration is live", version=snapshot.version)

    def _configuration_away(self, trouble: Exception) -> None:
        log.warning("configuration cannot be read; the last one stays in force", why=str(trouble))

    def _sweep(self) -> None:
        for change in self.engine.switchboard.registrations.sweep(time.time()):
            self.keep(change)
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)

    def _ping_nats(self) -> None:
        """Keep the way to phones behind a NAT open: empty lines, which they ignore (RFC 5626 3.5.1)."""
        flows = self.engine.switchboard.registrations.behind_nat(time.time())
        for number, flow in enumerate(flows):
            delay_s = self.settings.sip.nat_ping_s * number / len(flows)
            self.loop.call_later(delay_s, self.transports.send, flow, KEEP_ALIVE)
        self._pinging = self.loop.call_later(self.settings.sip.nat_ping_s, self._ping_nats)

    def _collect(self) -> None:
        """One step of garbage collection. The pause that it makes is no sign of load."""
        began = monotonic()
        gc.collect(self._litter.step())
        pause_s = monotonic() - began
        self._looked_at += pause_s
        if pause_s > LONG_PAUSE_S:
            log.info("garbage was collected", pause_ms=round(1000 * pause_s))
        self._collecting = self.loop.call_later(Litter.STEP_S, self._collect)

    def _look_at_load(self) -> None:
        """Sample the load, and tell the stack how many new calls to refuse for now."""
        now = monotonic()
        since_s = now - self._looked_at
        stack, overload = self.engine.stack, self.overload
        was = stack.shedding
        calls, self._calls_before = (
            self.engine.switchboard.calls_seen - self._calls_before,
            (self.engine.switchboard.calls_seen),
        )
        stack.shedding = overload.sample(
            since_s - overload.SAMPLE_S, self.transports.backlog_bytes(), calls, max(since_s, 0.001)
        )
        if stack.shedding and not was:
            log.warning("overload: new calls are refused with 503", share=round(stack.shedding, 2))
        elif was and not stack.shedding:
            log.info("overload is over")
        self._looked_at = now
        self._looking = self.loop.call_later(overload.SAMPLE_S, self._look_at_load)

    # ------------------------------------------------------------ what goes out (jackfield.engine.Outside)

    def transmit(self, message: sip.Transmit) -> None:
        self.transports.send(message.flow, message.data)

    def resolve(self, question: sip.Resolve) -> None:
        task = self.loop.create_task(self._resolve(question))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    async def _resolve(self, question: sip.Resolve) -> None:
        self._feed(sip.Resolved(question.query, await self.resolver.resolve(question.uri)))

    def to_media(self, commands: list[media.Command]) -> None:
        for command in commands:
            self.media.send(command)
        self.media.flush()

    def keep(self, bindings: SaveBindings) -> None:
        key = (bindings.tenant, bindings.number)
        if bindings.payload:
            self.bindings.save(key, bindings.payload)
        else:
            self.bindings.delete(key)

    def start_app(self, start: StartApp) -> None:
        app = APPS.get(start.app)
        call = LiveCall(start.call, start.dialled, self._wish)
        if app is None:
            log.error("no such application", app=start.app)
            self._wish(AppDone(start.call))
            return
        task = self.loop.create_task(drive(app, call, self._wish))
        self._apps[start.call] = (call, task)
        task.add_done_callback(lambda done: self._app_over(start, done))

    def _app_over(self, start: StartApp, task: asyncio.Task[None]) -> None:
        self._apps.pop(start.call, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("application broke", app=start.app, call=start.call, exc_info=task.exception())

    def _wish(self, command: AppCommand) -> None:
        self.loop.call_soon(self._feed, command)

    def tell_app(self, news: AppNews) -> None:
        running = self._apps.get(news.call)
        if running is not None:
            running[0].tell(news)

    def alias(self, alias: sip.Aliased) -> None:
        self.transports.alias(alias.flow, alias.port)

    def target_failed(self, target: sip.TargetFailed) -> None:
        self.resolver.failed(target.flow, target.for_s)

    def peer_broke(self, fault: sip.PeerBroke) -> None:
        self.faults[fault.rule] = self.faults.get(fault.rule, 0) + 1
        log.debug("refused", remote=fault.flow.remote, status=fault.status, rule=fault.rule)

    def crashed(self, crash: sip.Crashed) -> None:
        log.error("a fault of ours ended one dialog", dialog=crash.dialog, why=crash.why)

    # ------------------------------------------------------------ addresses

    def _local_for(self, transport: Transport, host: str) -> Address | None:
        return self.transports.local_for(transport, host)

    def _source_for(self, transport: Transport, remote: Address) -> Address:
        local = self.transports.local_for(transport, remote[0])
        return ("::" if ":" in remote[0] else "0.0.0.0", 0) if local is None else local  # noqa: S104


async def _run(settings: Settings, *, greet: bool) -> int:
    process = Process(settings, greet=greet)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, process.stop.set)
    await process.run()
    return 0


def run(settings: Settings, *, greet: bool = False) -> int:
    """Run the engine; the exit code: 0 after an ordered end, 2 when the operator must mend something."""
    configure_logs(settings.log.level, settings.log.format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            return loop.run(_run(settings, greet=greet))
    except (SettingsError, ListenError) as problem:
        print(f"jackfield: {problem}", file=sys.stderr)  # noqa: T201  one clear line for a person
        return SETTINGS_FAULT
    except Unavailable as away:
        print(f"jackfield: {away}", file=sys.stderr)  # noqa: T201
        return OUT_OF_ORDER


def main() -> int:
    parser = argparse.ArgumentParser(description="Jackfield's call engine; `jackfield run` starts it")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--greet", action="store_true", help="print what to dial once calls can be made")
    arguments = parser.parse_args()
    try:
        settings = load_settings(arguments.config)
    except SettingsError as problem:
        print(f"jackfield: {problem}", file=sys.stderr)  # noqa: T201
        return SETTINGS_FAULT
    return run(settings, greet=arguments.greet)


if __name__ == "__main__":
    sys.exit(main())
