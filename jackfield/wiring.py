"""Builds the house: settings and a snapshot in, an engine that knows every room out.

Only the entry point and the tests import this module.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from conf.settings import Settings
from conf.snapshot import Snapshot
from jackfield.engine import Engine, Outside
from pbx.board import CallSettings
from pbx.doorman import Doorman
from pbx.headers import Passing
from pbx.ports import PortNumbers
from pbx.registrations import Registrations
from pbx.requests import METHODS
from pbx.switchboard import Hosts, Switchboard
from sipcore.digest import DigestServer
from sipcore.faces import SourceFor
from sipcore.flow import Transport
from sipcore.identifiers import RandomSource
from sipcore.registrar import Limits as RegistrarLimits
from sipcore.settings import Local, StackSettings
from sipcore.stack import Stack
from sipcore.timers import Timers


def stack_settings(settings: Settings, *, strict: bool = False) -> StackSettings:
    """What the SIP stack is told of the operator's settings."""
    sip = settings.sip
    return StackSettings(
        locals=tuple(
            Local(Transport(each.transport), each.host, each.port, sip.advertised_host)
            for each in sip.listeners
        ),
        local_networks=sip.local_networks,
        server_name=sip.server_name,
        timers=Timers(sip.t1_ms / 1000, sip.t2_ms / 1000, sip.t4_ms / 1000),
        min_se_s=settings.calls.min_session_expires_s,
        methods=METHODS,
        retry_after_s=settings.limits.retry_after_s,
        strict=strict,
    )


def call_settings(settings: Settings) -> CallSettings:
    """What calls are told of the operator's settings."""
    calls = settings.calls
    return CallSettings(
        passing=Passing(calls.pass_headers),
        session_expires_s=calls.session_expires_s,
        max_calls=settings.limits.max_calls,
        trusted_networks=settings.sip.trusted_networks,
        pass_bodies=calls.pass_bodies,
        longest_s=calls.longest_s,
        silence_s=settings.media.silence_s,
        pass_hold=calls.hold == "pass",
    )


def build_engine(
    settings: Settings,
    snapshot: Snapshot,
    outside: Outside,
    *,
    random: RandomSource,
    new_secret: Callable[[int], bytes] = secrets.token_bytes,
    source_for: SourceFor,
    hosts: Hosts,
    nonce_key: bytes,
    now: float,
    wall_offset: float,
    strict: bool = False,
) -> Engine:
    """An engine that is ready for its first message. `wall_offset`: epoch seconds minus `now`."""
    stack = Stack(stack_settings(settings, strict=strict), random, source_for)
    registrar = settings.registrar
    registrations = Registrations(
        RegistrarLimits(
            min_expires_s=registrar.min_expires_s,
            max_expires_s=registrar.max_expires_s,
            default_expires_s=registrar.default_expires_s,
            max_contacts=registrar.max_contacts,
        ),
        follow_flow=settings.sip.nat,
    )
    security = settings.security
    doorman = Doorman(
        DigestServer(
            nonce_key,
            now=now,
            nonce_ttl_s=security.nonce_ttl_s,
            algorithms=security.algorithms,
        )
    )
    ports = settings.media.ports
    switchboard = Switchboard(
        stack,
        hosts,
        doorman,
        registrations,
        PortNumbers(ports.first, ports.last),
        call_settings(settings),
        snapshot,
        lambda: random.getrandbits(48),
        new_secret,
    )
    switchboard.wall_offset = wall_offset
    return Engine(stack, switchboard, outside, strict=strict)
