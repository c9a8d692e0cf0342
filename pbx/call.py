"""What a call is: its legs, their states, who hears whom. The one place where that is true.

A Call takes what happened (events of the SIP stack and of media, its own deadline) and answers with
commands through its Board. It never waits. Ringing is `pbx/ringing.py`, offers in mid-call
`pbx/reoffer.py`, REFER and Replaces `pbx/transfer.py`; who may call is the switchboard's to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from media import messages as media
from pbx import api, crossing, reoffer, ringing, transfer
from pbx.api import CallId, EndCause, LegId, Party
from pbx.board import AppNews, Board, StartApp, Target
from pbx.headers import Passing, reason_fields, reason_header, warning_fields
from pbx.identity import wants_privacy
from pbx.leg import Leg, LegState
from pbx.limits import place_of
from pbx.plan import Plan, Refuse, RingExtension, RingUri, RunApp
from pbx.routing import Attempt, decide
from pbx.securing import manner_of
from pbx.sound import LegSound
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.message import Message
from sipcore.sdp import Sdp, parse_sdp

if TYPE_CHECKING:
    from conf.snapshot import Snapshot, TenantId

NO_ANSWER_SDP = reason_header("SIP", 488, "No usable SDP answer")
PASSED_INSIDE = Passing(("Info-Package", "Content-Disposition"))
TOO_LONG = reason_header("SIP", 480, "The longest time of a call is over")
SILENT = reason_header("SIP", 480, "No sound from either end")
FLOW_FAILED = 430
"""of an edge proxy whose connection to the phone is gone (RFC 5626 11.1)"""
OFFERS = frozenset({"INVITE", "UPDATE"})
CANDIDATES = "application/trickle-ice-sdpfrag"
"""More of a browser's addresses (RFC 8840): we are ICE-lite, its checks say all that there is to know."""
PASSED_TO_THE_OTHER = frozenset({"INFO", "MESSAGE"})
CAUSE_OF_END = {
    sip.EndedBy.NO_ACK: EndCause.NO_ACK,
    sip.EndedBy.SESSION_EXPIRED: EndCause.SESSION_EXPIRED,
    sip.EndedBy.PEER_LOST: EndCause.PEER_LOST,
    sip.EndedBy.OUR_BYE: EndCause.FAILED,
}


class Call:
    """One call from its first INVITE until no leg is left."""

    __slots__ = (
        "app",
        "app_leg",
        "armed_for",
        "attempt",
        "bridge",
        "cause",
        "edges",
        "ends_at",
        "has_memo",
        "id",
        "leg_headers",
        "legs",
        "max_forwards",
        "notifies",
        "player",
        "playing",
        "relays",
        "reoffers",
        "ringing",
        "silent_at",
        "snapshot",
        "sounding",
        "transfer",
    )

    def __init__(self, call_id: CallId, attempt: Attempt, snapshot: Snapshot) -> None:
        self.id = call_id
        self.attempt = attempt
        self.snapshot = snapshot
        self.legs: dict[LegId, Leg] = {}
        self.bridge: tuple[LegId, LegId] | None = None
        """the two legs that talk; the first is on the caller's side"""
        self.ringing: ringing.Ringing | None = None
        self.transfer: transfer.Transfer | None = None
        self.reoffers: dict[sip.RequestId, reoffer.Reoffer] = {}
        self.relays: dict[sip.RequestId, tuple[LegId, sip.RequestId]] = {}
        """requests passed on to the other leg: ours -> (who asked, the request to answer)"""
        self.notifies: dict[sip.RequestId, transfer.Transfer] = {}
        """NOTIFYs about a REFER that are under way"""
        self.edges: set[tuple[int, int]] = set()
        """who hears whom now, as (listening port, speaking port)"""
        self.app: str | None = None
        self.app_leg: LegId | None = None
        """who hears the application"""
        self.sounding: dict[int, int] = {}
        """players that say digits as tones: port -> the listener's port"""
        self.player: media.OpenPlayer | None = None
        self.playing: media.Play | None = None
        self.has_memo = False
        self.ends_at: float | None = None
        self.armed_for: float | None = None
        """the deadline that the switchboard keeps for this call"""
        self.silent_at: dict[int, float] = {}
        """when which port was last told to be silent"""
        self.cause = EndCause.FAILED
        self.leg_headers: sip.Headers = ()
        self.max_forwards = 70

    @property
    def tenant(self) -> TenantId:
        return self.attempt.tenant

    @property
    def over(self) -> bool:
        return not self.legs

    def next_deadline(self) -> float | None:
        if self.ringing is None:
            return self.ends_at
        return self.ringing.deadline if self.ends_at is None else min(self.ringing.deadline, self.ends_at)

    def on_deadline(self, board: Board, now: float) -> None:
        if self.ends_at is not None and self.ends_at <= now:
            self.hang_up_all(board, EndCause.TOO_LONG, now, (TOO_LONG,))
        elif self.ringing is not None and self.ringing.deadline <= now:
            ringing.timed_out(self, board, now)

    # ------------------------------------------------------------ beginning

    def start(self, board: Board, invite: sip.IncomingCall, now: float) -> None:
        """Open the caller's leg and set out on the plan for its number."""
        request = invite.request
        caller = self.open_leg(board, invite, self.attempt.caller)
        self.leg_headers = board.settings.passing.of(request)
        self.max_forwards = (70 if request.max_forwards is None else request.max_forwards) - 1
        board.tell(api.CallStarted(self.id, now, caller.party, self.attempt.dialled, request.call_id))
        if self.hear_offer(board, caller, request, now):
            self.follow(board, decide(self.snapshot, self.attempt), caller, now)

    def open_leg(self, board: Board, invite: sip.IncomingCall, party: Party) -> Leg:
        """A leg for a dialog that a peer has begun."""
        manner = manner_of(self.snapshot, party, invite.flow)
        sound = LegSound(self.id, board.media_host(invite.flow), board.new_session_id(), manner)
        leg = Leg(invite.dialog, party, LegState.INVITED, sound)
        leg.private = wants_privacy(invite.request)
        self.legs[leg.id] = leg
        return leg

    def hear_offer(self, board: Board, caller: Leg, request: Message, now: float) -> bool:
        """Take the caller's offer, if it made one. False: it is refused, and the call may be over."""
        try:
            offer = read_sdp(request)
            if offer is not None:
                offer = caller.sound.screened(board, offer)
        except PeerFault as fault:
            headers = warning_fields(fault)
            self.refuse(board, caller, fault.status, fault.reason, EndCause.FAILED, now, headers)
            return False
        if offer is not None and not caller.sound.hears_offer(offer):
            self.refuse(board, caller, 488, "Not Acceptable Here", EndCause.NO_COMMON_CODEC, now)
            return False
        return True

    def follow(self, board: Board, plan: Plan, caller: Leg, now: float) -> None:
        """Do what the plan says on behalf of `caller`, which may be an answered leg that is transferred."""
        match plan:
            case RingExtension(number=number, for_s=for_s, on=on):
                groups = board.reach(self.tenant, number, now)
                self._ring(board, caller, number, groups, now + for_s, on, now)
            case RingUri(number=number, uri=uri, for_s=for_s, on=on):
                self._ring(board, caller, number, [[Target(uri)]], now + for_s, on, now)
            case RunApp(app=app, dialled=dialled):
                self.app, self.app_leg = app, caller.id
                board.send(StartApp(self.id, app, dialled))
            case Refuse(status=status, cause=cause):
                ringing.gave_up(self, board, caller, status, cause, now)

    def _ring(
        self,
        board: Board,
        caller: Leg,
        number: str,
        groups: Sequence[Sequence[Target]],
        deadline: float,
        on: Mapping[EndCause, Plan],
        now: float,
    ) -> None:
        extension = self.snapshot.extensions[self.tenant, number]
        party = Party(self.tenant, number, extension.name)
        if not board.take_place(self, place_of(party), extension.max_calls):
            ringing.gave_up(self, board, caller, 486, EndCause.BUSY, now)
        else:
            ringing.begin(self, board, caller, party, groups, deadline, on, now)

    def answer_leg(self, board: Board, leg: Leg, body: bytes, now: float, headers: sip.Headers = ()) -> None:
        """Say 200 to a peer that called us."""
        leg.state = LegState.ANSWERED
        expires_s = board.settings.session_expires_s
        board.send(sip.Answer(dialog=leg.id, headers=headers, body=body, session_expires_s=expires_s))
        board.tell(api.LegAnswered(self.id, now, leg.id))
        board.changed(self)
        if self.ends_at is None:
            self.ends_at = now + board.settings.longest_s

    # ------------------------------------------------------------ events of the SIP stack

    def progressed(self, board: Board, event: sip.Progressed, now: float) -> None:
        ringing.progressed(self, board, self.legs[event.dialog], event.response, now)

    def answered(self, board: Board, event: sip.Answered, now: float) -> None:
        ringing.answered(self, board, self.legs[event.dialog], event, now)

    def failed(self, board: Board, event: sip.Failed, now: float) -> None:
        # A phone that is registered and does not answer at all is, to the caller, not there.
        status = 480 if event.response is None else event.status
        gone = event.response is None or status == FLOW_FAILED
        ringing.failed(self, board, self.legs[event.dialog], status, now, gone=gone)

    def acked(self, board: Board, event: sip.Acked, now: float) -> None:
        """The ACK of an answer of ours; where that carried our offer, this is the peer's answer."""
        leg = self.legs[event.dialog]
        if not leg.sound.awaits_answer:
            return
        before, other = leg.sound.theirs, self.peer_of(leg)
        try:
            usable = leg.sound.hears_answer(board, parse_sdp(event.body))
        except PeerFault:
            usable = False
        if not usable:
            self.hang_up_all(board, EndCause.NO_COMMON_CODEC, now, (NO_ANSWER_SDP,))
        elif other is not None:
            reoffer.settled(self, board, leg, before, now)
            reoffer.align(self, board, leg, other, now)
        elif leg.id == self.app_leg:
            board.send(AppNews(self.id, ready=True))

    def asked(self, board: Board, event: sip.Asked, now: float) -> None:
        """A request inside the dialog of one of our legs."""
        method = event.message.method
        if method in OFFERS:
            reoffer.offered(self, board, event, now)
        elif method == "REFER":
            transfer.referred(self, board, event, now)
        elif method == "INFO" and self._is_told(board, event, now):
            board.send(sip.Reply(request=event.request, status=200))
        elif method in PASSED_TO_THE_OTHER:
            self._pass_on(board, event)
        elif method == "OPTIONS":
            board.send(sip.Reply(request=event.request, status=200))
        else:
            board.send(sip.Reply(request=event.request, status=489 if method == "NOTIFY" else 501))

    def _is_told(self, board: Board, event: sip.Asked, now: float) -> bool:
        """True for an INFO that is meant for us: a digit, or where a browser can be found."""
        return event.message.content_type == CANDIDATES or crossing.asked(self, board, event, now)

    def _pass_on(self, board: Board, event: sip.Asked) -> None:
        other = self.peer_of(self.legs[event.dialog])
        if other is None:
            board.send(sip.Reply(request=event.request, status=200))
            return
        message = event.message
        if message.body and message.content_type not in board.settings.pass_bodies:
            board.send(sip.Reply(request=event.request, status=415, headers=(_accepted(board),)))
            return
        request = board.new_request_id(self)
        self.relays[request] = (event.dialog, event.request)
        board.send(
            sip.Ask(
                dialog=other.id,
                request=request,
                method=message.method,
                headers=PASSED_INSIDE.of(message),
                body=message.body,
                content_type=message.get("Content-Type") or "",
            )
        )

    def replied(self, board: Board, event: sip.Replied, now: float) -> None:
        """The answer to a request of ours inside a dialog."""
        relay = self.relays.pop(event.request, None)
        if relay is not None:
            if relay[0] in self.legs:
                board.send(sip.Reply(request=relay[1], status=event.status))
            return
        told = self.notifies.pop(event.request, None)
        if told is not None:
            transfer.notified(self, board, told, event, now)
        else:
            reoffer.replied(self, board, event, now)

    def cancelled(self, board: Board, event: sip.Cancelled, now: float) -> None:
        """The caller gave up before the answer."""
        self.drop(board, self.legs[event.dialog], EndCause.CANCELLED, now, 487)
        self.hang_up_all(board, EndCause.CANCELLED, now, reason_fields(event.request))

    def ended(self, board: Board, event: sip.Ended, now: float) -> None:
        """A leg hung up or was lost; with it goes the call, unless others talk on or wait for an answer."""
        leg = self.legs[event.dialog]
        cause = CAUSE_OF_END.get(event.by, EndCause.CALLEE_HUNG_UP)
        if event.by is sip.EndedBy.PEER_BYE and self._is_caller(leg):
            cause = EndCause.CALLER_HUNG_UP
        reason = () if event.request is None else reason_fields(event.request)
        last = self._ends_with(leg)
        self.drop(board, leg, cause, now, 0)
        if last:
            self.hang_up_all(board, cause, now, reason)
        else:
            board.changed(self)

    def _ends_with(self, leg: Leg) -> bool:
        """True when nobody is left to talk with once this leg is gone."""
        if self.ringing is not None:
            return leg.id == self.ringing.behalf_of
        if self.bridge is not None:
            return leg.id in self.bridge
        return self.app_leg in (None, leg.id)

    def _is_caller(self, leg: Leg) -> bool:
        return leg.id == (self.bridge[0] if self.bridge is not None else next(iter(self.legs)))

    def fell_silent(self, board: Board, event: media.Silent, now: float) -> None:
        """One end has sent no sound for long; when the other has not either, unheld, nobody is there."""
        if self.bridge is None:
            return
        self.silent_at[event.port] = now
        sounds = [self.legs[leg].sound for leg in self.bridge]
        recently = now - 1.1 * board.settings.silence_s
        if all(
            not sound.held and any(self.silent_at.get(port, 0.0) > recently for port in sound.ports)
            for sound in sounds
        ):
            self.hang_up_all(board, EndCause.SILENT, now, (SILENT,))

    # ------------------------------------------------------------ who hears whom

    def connect(self, board: Board, first: Leg, second: Leg, now: float) -> None:
        """From now on these two hear each other."""
        self.bridge = (first.id, second.id)
        self.redraw(board)
        board.tell(api.Connected(self.id, now, first.id, second.id))

    def part(self, board: Board) -> None:
        """Nobody hears anybody, until someone is connected again."""
        self.bridge = None
        self.redraw_edges(board, set())

    def redraw(self, board: Board) -> None:
        """Bring media's edges to what the two legs that talk should hear, as hold and directions allow."""
        if self.bridge is not None:
            self.redraw_edges(board, self.wanted_edges())

    def wanted_edges(self) -> set[tuple[int, int]]:
        if self.bridge is None:
            return set()
        first, second = (self.legs[leg].sound for leg in self.bridge)
        return first.hears(second) | second.hears(first)

    def redraw_edges(self, board: Board, wanted: set[tuple[int, int]]) -> None:
        """Only the difference is sent."""
        if wanted == self.edges:
            return
        for listener, speaker in sorted(self.edges - wanted):
            board.send(media.Unhear(listener, speaker))
        for listener, speaker in sorted(wanted - self.edges):
            board.send(media.Hear(listener, speaker))
        self.edges = wanted

    def close_player(self, board: Board) -> None:
        """End what an application plays, if anything."""
        if self.player is not None:
            port, self.player, self.playing = self.player.port, None, None
            board.send(media.ClosePort(port))
            board.port_over(port)
            self.edges = {edge for edge in self.edges if port not in edge}

    def peer_of(self, leg: Leg) -> Leg | None:
        """The leg that `leg` talks with."""
        if self.bridge is None or leg.id not in self.bridge:
            return None
        first, second = self.bridge
        return self.legs[second if leg.id == first else first]

    # ------------------------------------------------------------ legs that change calls

    def give_to(self, other: Call, board: Board, leg: Leg) -> None:
        """Another call takes this leg; its dialog, its ports and its stream go on."""
        self.part(board)
        del self.legs[leg.id]
        other.legs[leg.id] = leg
        board.leg_joins(leg, other)
        for request, offer in reoffer.forget(self, board, leg).items():
            other.reoffers[request] = offer
            board.request_joins(request, other)
        board.changed(self)

    # ------------------------------------------------------------ ending

    def refuse(
        self,
        board: Board,
        caller: Leg,
        status: int,
        reason: str,
        cause: EndCause,
        now: float,
        headers: sip.Headers = (),
    ) -> None:
        """Say no to a caller; with that the call is over."""
        board.send(sip.Reject(dialog=caller.id, status=status, reason=reason, headers=headers))
        self.drop(board, caller, cause, now, status)
        self.hang_up_all(board, cause, now)

    def hang_up(
        self,
        board: Board,
        leg: Leg,
        cause: EndCause,
        now: float,
        headers: sip.Headers = (),
        status: int = 480,
    ) -> None:
        """End one leg whatever its state; `status` is for one that waits for our answer.

        Its later events are absorbed by the switchboard.
        """
        if leg.state is LegState.INVITED:
            board.send(sip.Reject(dialog=leg.id, status=status, headers=headers))
        else:
            board.send(sip.HangUp(dialog=leg.id, headers=headers))
        self.drop(board, leg, cause, now, 0)

    def hang_up_all(
        self, board: Board, cause: EndCause, now: float, headers: sip.Headers = (), status: int = 480
    ) -> None:
        self.ringing = None
        for leg in list(self.legs.values()):
            self.hang_up(board, leg, cause, now, headers, status)
        self.cause = cause

    def drop(self, board: Board, leg: Leg, cause: EndCause, now: float, status: int) -> None:
        """Forget a leg whose dialog is over or on its way to be: close its ports, tell the observers."""
        if self.bridge is not None and leg.id in self.bridge:
            self.bridge = None
        if leg.answered:
            board.give_place(self, place_of(leg.party))
            for port in filter(None, leg.sound.ports):
                board.awaits_report(port, self.id, leg.id)
        leg.state = LegState.OVER
        del self.legs[leg.id]
        if self.edges:
            ports = frozenset(leg.sound.ports)
            self.edges = {edge for edge in self.edges if ports.isdisjoint(edge)}
        if self.sounding:
            crossing.close_all(self, board, leg.sound.ports)
        leg.sound.close(board, now)
        if leg.id == self.app_leg:
            self.close_player(board)
        board.leg_over(leg.id)
        if self.reoffers:
            reoffer.forget(self, board, leg)
        board.tell(api.LegEnded(self.id, now, leg.id, cause, status))
        self.cause = cause


def _accepted(board: Board) -> tuple[str, str]:
    return "Accept", ", ".join(("application/sdp", *board.settings.pass_bodies))


def read_sdp(message: Message) -> Sdp | None:
    """The session description of a message, or None. Raises PeerFault(400/415)."""
    if not message.body:
        return None
    if message.content_type not in ("application/sdp", ""):
        raise PeerFault(415, "Unsupported Media Type", "RFC 3261 8.2.3")
    return parse_sdp(message.body)
