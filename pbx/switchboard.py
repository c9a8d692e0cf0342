"""The desk that every event passes: it opens calls and knows which leg and which port belongs to which.

`handle(input, now)` takes events of the SIP stack and of media and the wishes of applications, and gives
back commands for all of them. It is the Board of its calls. What is no call (REGISTER, OPTIONS, MESSAGE)
is answered in `pbx/requests.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Protocol

from conf.snapshot import Snapshot, TenantId
from media import messages as media
from pbx import api, appcalls, crossing, memo, replacement, restart
from pbx.api import CallEvent, CallId, CallObserver, EndCause, LegId
from pbx.appcalls import AppAnswer, AppCommand, AppDone, AppEcho, AppPlay
from pbx.board import (
    AppNews,
    Board,
    CallDue,
    CallSettings,
    MediaRestarted,
    NewSnapshot,
    Output,
    Target,
)
from pbx.call import Call
from pbx.doorman import Challenge, Doorman, Known, Refused, address_of, trunk_at
from pbx.headers import reason_header
from pbx.leg import Leg
from pbx.limits import Limit, Limits, place_of
from pbx.ports import PortNumbers
from pbx.registrations import Registrations
from pbx.requests import Requests
from pbx.routing import Attempt
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.flow import Flow, is_address
from sipcore.headers import parse_replaces
from sipcore.timers import Deadlines
from sipcore.uri import parse_uri

PORT_FAILED = reason_header("Q.850", 38, "Media port failed")
UNPROTECTED = reason_header("SIP", 488, "No keys could be agreed on for the sound")
OUR_FAULT = reason_header("SIP", 500, "Internal error")
SHUTDOWN = reason_header("SIP", 503, "Server is shutting down")

MOST_REPORTS = 10_000
"""closed ports that are remembered until media says how their streams were"""

Input = CallDue | sip.Event | media.Event | AppCommand | NewSnapshot | MediaRestarted


class Dialogs(Protocol):
    """What the switchboard asks the SIP stack without waiting."""

    def new_id(self) -> int: ...

    def find_dialog(self, call_id: str, local_tag: str, remote_tag: str) -> LegId | None: ...

    def memo(self, dialog: LegId) -> bytes: ...

    def restore(self, dialog: LegId, memo: bytes, now: float) -> None: ...


class Hosts(Protocol):
    """Which of our addresses a peer sees."""

    def media_host(self, flow: Flow | None, uri: str) -> str: ...

    def bind_host(self, host: str) -> str: ...


class Switchboard:
    """All calls of one engine."""

    def __init__(
        self,
        dialogs: Dialogs,
        hosts: Hosts,
        doorman: Doorman,
        registrations: Registrations,
        numbers: PortNumbers,
        settings: CallSettings,
        snapshot: Snapshot,
        new_session_id: Callable[[], int],
        new_secret: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.numbers = numbers
        self.snapshot = snapshot
        self.registrations = registrations
        self.new_session_id = new_session_id
        self.new_secret = new_secret
        self.media_fingerprint = ""
        """as media's Welcome says"""
        self.limits = Limits()
        self.calls_seen = 0
        """INVITEs for new calls since the start, whatever became of them"""
        self.observers: list[CallObserver] = []
        self.wall_offset = 0.0
        """wall-clock epoch seconds minus `now`: registrations outlive the process"""
        self._dialogs = dialogs
        self._hosts = hosts
        self._doorman = doorman
        self._requests = Requests(doorman, registrations)
        self._calls: dict[CallId, Call] = {}
        self._by_leg: dict[LegId, Call] = {}
        self._by_port: dict[int, CallId] = {}
        self._reports: dict[int, tuple[CallId, LegId]] = {}
        """ports that were closed: media has yet to say how their streams were"""
        self._asked: dict[sip.RequestId, CallId] = {}
        self._places: dict[CallId, tuple[Hashable, ...]] = {}
        self._changed: dict[CallId, Call] = {}
        self._call_ids = count(1)
        self._port_ids = count(1)
        self._deadlines: Deadlines[CallId] = Deadlines()
        self._out: list[Output] = []
        self._closing = False
        self._doors: dict[type, Callable[[Any, float], None]] = {
            sip.IncomingCall: self._incoming_call,
            sip.Progressed: self._for_leg(Call.progressed),
            sip.Answered: self._for_leg(Call.answered),
            sip.Acked: self._for_leg(Call.acked),
            sip.Failed: self._for_leg(Call.failed),
            sip.Ended: self._for_leg(Call.ended),
            sip.Cancelled: self._for_leg(Call.cancelled),
            sip.Asked: self._asked_in_dialog,
            sip.Incoming: self._incoming_request,
            sip.Replied: self._replied,
            CallDue: self._call_due,
            media.Digit: self._digit,
            media.Silent: self._silent,
            media.Report: self._report,
            media.SecurityNews: self._security_news,
            media.PortFailed: self._port_failed,
            media.Played: self._played,
            AppAnswer: self._app_command,
            AppEcho: self._app_command,
            AppPlay: self._app_command,
            AppDone: self._app_command,
            NewSnapshot: self._new_snapshot,
            MediaRestarted: self._media_restarted,
        }

    # ------------------------------------------------------------ the two doors

    def handle(self, what: Input, now: float) -> list[Output]:
        """Take one event or command; what follows from it comes back in the order to be carried out."""
        door = self._doors.get(type(what))
        if door is not None:
            door(what, now)
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        return self._deadlines.next()

    def due(self, now: float) -> list[CallDue]:
        """The calls whose deadline is here; hand them to `handle`."""
        found = []
        while (call_id := self._deadlines.pop(now)) is not None:
            found.append(CallDue(call_id))
        return found

    def abandon(self, what: Input, now: float) -> list[Output]:
        """After a fault of ours while handling `what`: end the call that it was about, answer its request."""
        self._out.clear()
        call = self._call_of(what)
        try:
            if call is not None:
                call.hang_up_all(self, EndCause.FAILED, now, (OUR_FAULT,), 500)
                self._settle(call, now)
            elif isinstance(what, sip.IncomingCall):
                self.send(sip.Reject(dialog=what.dialog, status=500))
        except Exception:  # noqa: BLE001  the call cannot even be ended tidily: forget it
            if call is not None:
                self._forget(call)
        if isinstance(what, sip.Asked | sip.Incoming):
            self.send(sip.Reply(request=what.request, status=500))
        out, self._out = self._out, []
        return out

    def _call_of(self, what: Input) -> Call | None:
        if isinstance(
            what, media.Digit | media.Silent | media.PortFailed | media.Played | media.SecurityNews
        ):
            return self._calls.get(self._by_port.get(what.port, CallId(0)))
        if isinstance(what, sip.Replied):
            return self._calls.get(self._asked.get(what.request, CallId(0)))
        if isinstance(what, AppAnswer | AppDone | AppEcho | AppPlay | CallDue):
            return self._calls.get(what.call)
        return self._by_leg.get(getattr(what, "dialog", LegId(0)))

    def _forget(self, call: Call) -> None:
        for leg in call.legs.values():
            self._by_leg.pop(leg.id, None)
            self.send(sip.HangUp(dialog=leg.id))
            for port in leg.sound.ports:
                self._by_port.pop(port, None)
                self.send(media.ClosePort(port))
        self._calls.pop(call.id, None)
        self._deadlines.stop(call.id)
        self._changed.pop(call.id, None)
        self.limits.give_back(self._places.pop(call.id, ()))

    # ------------------------------------------------------------ what calls ask of their board

    def send(self, output: Output) -> None:
        self._out.append(output)

    def tell(self, event: CallEvent) -> None:
        for observer in self.observers:
            observer.on_event(event)

    def new_leg_id(self, call: Call) -> LegId:
        leg_id = LegId(self._dialogs.new_id())
        self._by_leg[leg_id] = call
        return leg_id

    def new_request_id(self, call: Call) -> sip.RequestId:
        request = sip.RequestId(self._dialogs.new_id())
        self._asked[request] = call.id
        return request

    def new_port_id(self, call: CallId) -> int:
        port = next(self._port_ids)
        self._by_port[port] = call
        return port

    def leg_joins(self, leg: Leg, call: Call) -> None:
        """A leg moves here from another call, with its ports."""
        self._by_leg[leg.id] = call
        for port in filter(None, leg.sound.ports):
            self._by_port[port] = call.id

    def request_joins(self, request: sip.RequestId, call: Call) -> None:
        """The answer to a request of ours is for this call from now on."""
        self._asked[request] = call.id

    def leg_over(self, leg: LegId) -> None:
        self._by_leg.pop(leg, None)

    def port_over(self, port: int) -> None:
        self._by_port.pop(port, None)

    def awaits_report(self, port: int, call: CallId, leg: LegId) -> None:
        if len(self._reports) >= MOST_REPORTS:  # media was away when it should have told
            del self._reports[next(iter(self._reports))]
        self._reports[port] = (call, leg)

    def changed(self, call: Call) -> None:
        """What a restart would need to know of this call is different now."""
        self._changed[call.id] = call

    def reach(self, tenant: TenantId, number: str, now: float) -> list[list[Target]]:
        return self.registrations.reach((tenant, number), now + self.wall_offset)

    def means(self, host: str, tenant: TenantId) -> bool:
        """A number is looked for in the caller's own tenant, and only when the URI names us."""
        named = self.snapshot.tenant_by_domain.get(host)
        if named is not None:
            return named == tenant
        return is_address(host) or host == "localhost"

    def media_host(self, flow: Flow | None, uri: str = "") -> str:
        return self._hosts.media_host(flow, uri)

    def bind_host(self, host: str) -> str:
        return self._hosts.bind_host(host)

    def find_leg(self, call_id: str, local_tag: str, remote_tag: str) -> tuple[Call, Leg] | None:
        """The leg whose dialog has these names, seen from our side (RFC 3891 section 3)."""
        dialog = self._dialogs.find_dialog(call_id, local_tag, remote_tag)
        call = None if dialog is None else self._by_leg.get(dialog)
        return None if call is None or dialog is None else (call, call.legs[dialog])

    # ------------------------------------------------------------ events of calls

    def _for_leg(self, method: Callable[[Call, Board, Any, float], None]) -> Callable[[Any, float], None]:
        """A door for events of one leg; those of a leg that is over already are absorbed here."""
        by_leg = self._by_leg

        def door(event: Any, now: float) -> None:
            call = by_leg.get(event.dialog)
            if call is not None:
                method(call, self, event, now)
                self._settle(call, now)

        return door

    def _settle(self, call: Call, now: float) -> None:
        """After each step of a call: its next deadline, or its end."""
        if not call.over:
            deadline = call.next_deadline()
            if deadline != call.armed_for:
                call.armed_for = deadline
                if deadline is None:
                    self._deadlines.stop(call.id)
                else:
                    self._deadlines.start(call.id, deadline)
            return
        if self._calls.pop(call.id, None) is None:
            return
        self._deadlines.stop(call.id)
        self._changed.pop(call.id, None)
        self.limits.give_back(self._places.pop(call.id, ()))
        if call.has_memo:
            self.send(media.DropMemo(call.id))
        self.tell(api.CallEnded(call.id, now, call.cause))
        if call.app is not None:
            self.send(AppNews(call.id, over=True))

    def settle(self, call: Call, now: float) -> None:
        """Another call took a leg of this one away: see whether it is over."""
        self._settle(call, now)

    def _incoming_call(self, event: sip.IncomingCall, now: float) -> None:
        self.calls_seen += 1
        try:
            verdict = self._doorman.who(self.snapshot, event.request, event.flow, now)
            match verdict:
                case Known():
                    self._open_call(event, verdict, now)
                case Challenge(headers=headers):
                    self.send(sip.Reject(dialog=event.dialog, status=401, headers=headers))
                case Refused(status=status, reason=reason):
                    self.send(sip.Reject(dialog=event.dialog, status=status, reason=reason))
        except PeerFault as fault:
            self.send(sip.Reject(dialog=event.dialog, status=fault.status, reason=fault.reason))

    def _open_call(self, event: sip.IncomingCall, known: Known, now: float) -> None:
        if self._closing:
            self.send(sip.Reject(dialog=event.dialog, status=503, reason="Shutting Down"))
            return
        request = event.request
        replaces = request.get("Replaces")
        if replaces is not None:
            self._replace(event, known, replaces, now)
            return
        dialled = request.request_uri
        if not self.means(dialled.host, known.tenant.id):
            self.send(sip.Reject(dialog=event.dialog, status=404, reason="Not Found"))
            return
        attempt = Attempt(known.tenant.id, known.party, dialled.user)
        places = self._places_of(known)
        full = self.limits.take(places)
        if full is not None:
            status, reason = (503, "Server Full") if full == "server" else (486, "Too Many Calls")
            self.send(sip.Reject(dialog=event.dialog, status=status, reason=reason))
            return
        call = Call(CallId(next(self._call_ids)), attempt, self.snapshot)
        self._calls[call.id] = call
        self._by_leg[event.dialog] = call
        self._places[call.id] = tuple(key for key, _ in places)
        call.start(self, event, now)
        self._settle(call, now)

    def _places_of(self, known: Known) -> tuple[Limit, ...]:
        """What a call of this caller takes: the server's, the tenant's, at last its own."""
        tenant = known.tenant
        places: list[Limit] = [("server", self.settings.max_calls), (("tenant", tenant.id), tenant.max_calls)]
        if known.extension is not None:
            places.append((place_of(known.party), known.extension.max_calls))
        if known.trunk is not None:
            places.append((place_of(known.party), known.trunk.max_calls))
        return tuple(places)

    def new_id(self) -> int:
        """For a request that belongs to no call."""
        return self._dialogs.new_id()

    def take_place(self, call: Call, key: Hashable, most: int) -> bool:
        """One more place for a call that is up already: the callee's. Given back at the call's end."""
        if self.limits.take(((key, most),)) is not None:
            return False
        self._places[call.id] += (key,)
        return True

    def give_place(self, call: Call, key: Hashable) -> None:
        """The party that had this place has left the call, which goes on."""
        held = self._places.get(call.id, ())
        if key in held:
            at = held.index(key)
            self._places[call.id] = held[:at] + held[at + 1 :]
            self.limits.give_back((key,))

    def move_place(self, key: Hashable, from_call: Call, to_call: Call) -> None:
        """A party goes to another call and takes its place with it."""
        self.give_place(from_call, key)
        self.take_place(to_call, key, 0)

    def trusts(self, target: Target) -> bool:
        """True when what is sent there may say who an anonymous caller is (RFC 3325)."""
        snapshot, networks = self.snapshot, self.settings.trusted_networks
        if not snapshot.trunks and not networks:
            return False
        host = parse_uri(target.uri).host if target.flow is None else target.flow.remote[0]
        if not is_address(host):
            return False
        trunk = trunk_at(snapshot, host)
        if trunk is not None and trunk.trusted_identity:
            return True
        return bool(networks) and any(address_of(host) in each for each in networks)

    def _replace(self, event: sip.IncomingCall, known: Known, replaces: str, now: float) -> None:
        wanted = parse_replaces(replaces)
        found = self.find_leg(wanted.call_id, wanted.to_tag, wanted.from_tag)
        if found is None or found[1].party.tenant != known.tenant.id:
            self.send(sip.Reject(dialog=event.dialog, status=481))
            return
        call, old = found
        refused = replacement.refusal(call, old, early_only=wanted.early_only)
        if refused:
            self.send(sip.Reject(dialog=event.dialog, status=refused))
            return
        place, most = self._places_of(known)[-1]
        if not self.take_place(call, place, most):
            self.send(sip.Reject(dialog=event.dialog, status=486, reason="Too Many Calls"))
            return
        self._by_leg[event.dialog] = call
        replacement.replaced(call, self, event, old, known.party, now)
        self._settle(call, now)

    def _asked_in_dialog(self, event: sip.Asked, now: float) -> None:
        call = self._by_leg.get(event.dialog)
        if call is None:
            self.send(sip.Reply(request=event.request, status=481))
            return
        call.asked(self, event, now)
        self._settle(call, now)

    def _replied(self, event: sip.Replied, now: float) -> None:
        call = self._calls.get(self._asked.pop(event.request, CallId(0)))
        if call is not None:
            call.replied(self, event, now)
            self._settle(call, now)
        else:
            self._requests.replied(self, event)

    def _incoming_request(self, event: sip.Incoming, now: float) -> None:
        self._requests.incoming(self, event, now)

    # ------------------------------------------------------------ media, applications, configuration

    def _call_due(self, event: CallDue, now: float) -> None:
        call = self._calls.get(event.call)
        if call is not None:
            call.armed_for = None
            call.on_deadline(self, now)
            self._settle(call, now)

    def _silent(self, event: media.Silent, now: float) -> None:
        call = self._calls.get(self._by_port.get(event.port, CallId(0)))
        if call is not None:
            call.fell_silent(self, event, now)
            self._settle(call, now)

    def _report(self, event: media.Report, now: float) -> None:
        found = self._reports.pop(event.port, None) if event.closed else None
        if found is not None:
            self.tell(
                api.StreamReport(
                    *(found[0], now, found[1], event.codec),
                    *(event.received_packets, event.sent_packets, event.lost_packets),
                    *(event.jitter_ms, event.mos, event.round_trip_ms),
                    *(event.remote_lost_packets, event.remote_jitter_ms, event.refused_packets),
                )
            )

    def _digit(self, event: media.Digit, now: float) -> None:
        call = self._calls.get(self._by_port.get(event.port, CallId(0)))
        if call is not None:
            crossing.heard(call, self, event, now)

    def _played(self, event: media.Played, now: float) -> None:
        call = self._calls.get(self._by_port.get(event.port, CallId(0)))
        if call is not None and not crossing.played(call, self, event):
            appcalls.played(call, self, event)

    def _port_failed(self, event: media.PortFailed, now: float) -> None:
        call = self._calls.get(self._by_port.pop(event.port, CallId(0)))
        if call is not None:
            call.hang_up_all(self, EndCause.FAILED, now, (PORT_FAILED,))
            self._reports.pop(event.port, None)
            self._settle(call, now)

    def _security_news(self, event: media.SecurityNews, now: float) -> None:
        """Without keys there will never be sound; a browser that is not found may yet come (ICE)."""
        call = self._calls.get(self._by_port.get(event.port, CallId(0)))
        if call is not None and event.what == "dtls-failed":
            call.hang_up_all(self, EndCause.FAILED, now, (UNPROTECTED,))
            self._settle(call, now)

    def _app_command(self, event: AppCommand, now: float) -> None:
        call = self._calls.get(event.call)
        if call is not None:
            appcalls.obey(call, self, event, now)
            self._settle(call, now)

    def _media_restarted(self, event: MediaRestarted, now: float) -> None:
        """The sound of calls that are up goes on: same ports, same peers, same edges."""
        self._reports.clear()
        for call in self._calls.values():
            for leg in call.legs.values():
                leg.sound.open_again(self)
            if call.player is not None:
                self.send(call.player)
            if call.playing is not None:
                self.send(call.playing)
            for listener, speaker in sorted(call.edges):
                self.send(media.Hear(listener, speaker))
            self._changed[call.id] = call

    def _new_snapshot(self, event: NewSnapshot, now: float) -> None:
        self.snapshot = event.snapshot

    # ------------------------------------------------------------ memos, the end

    @property
    def has_memos(self) -> bool:
        return bool(self._changed)

    def memos(self) -> list[media.Command]:
        """Notes about each call that has changed since the last time, for media to keep."""
        notes: list[media.Command] = []
        for call in self._changed.values():
            notes.append(media.KeepMemo(call.id, memo.of(call, self._dialogs)))
            call.has_memo = True
        self._changed.clear()
        return notes

    def restore(self, memos: media.Memos, now: float) -> list[Output]:
        """Take up the calls of an engine that is gone, as far as their memos go; end what cannot be.

        Call it once, before the first message comes in.
        """
        calls = [*(call for call, _ in memos.memos), *(call for _, call, _, _ in memos.ports)]
        self._call_ids = count(1 + max(calls, default=0))
        self._port_ids = count(1 + max((port for port, _, _, _ in memos.ports), default=0))
        restart.take_up(self, self._dialogs, memos, now)
        out, self._out = self._out, []
        return out

    def adopt(self, call: Call) -> None:
        """A call that an engine before this one has begun."""
        self._calls[call.id] = call
        self._changed[call.id] = call
        places: list[Hashable] = ["server", ("tenant", call.tenant)]
        for leg in call.legs.values():
            self.leg_joins(leg, call)
            places.append(place_of(leg.party))
        self.limits.take((place, 0) for place in places)
        self._places[call.id] = tuple(places)

    def shut_down(self, now: float) -> list[Output]:
        """End every call and take no new ones. The stack then needs a moment to deliver the BYEs."""
        self._closing = True
        for call in list(self._calls.values()):
            call.hang_up_all(self, EndCause.SHUTDOWN, now, (SHUTDOWN,), 503)
            self._settle(call, now)
        out, self._out = self._out, []
        return out

    def counts(self) -> dict[str, int]:
        """What is in use: all zero when no call is up."""
        return {
            "calls": len(self._calls),
            "legs": len(self._by_leg),
            "ports": len(self._by_port),
            "port numbers": self.numbers.in_use,
            "reports": len(self._reports),
            "requests": len(self._asked) + self._requests.pending,
            "limits": len(self.limits),
            "deadlines": len(self._deadlines),
        }
