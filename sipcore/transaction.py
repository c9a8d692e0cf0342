"""The four transactions as tables (RFC 3261 section 17, amended by RFC 6026).

A table says, for a state and what happens in it, the state that follows and what is done. Running them
is `transaction_store.py`; resending a 2xx and the ACK of a 2xx are the dialog's work (13.3.1.4, 13.2.2.4).
UDP and reliable transports share the tables and differ only by the delays of `timers.py`: a timer that
has no delay there does not start, and one of zero seconds ends the transaction at once.

A pair that is not in a table is refused with Misuse. What a stranger can cause in any state is
therefore listed for each, even where nothing is to be done about it. Transport errors have a table
of their own, after the four.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from sipcore.timers import Letter


class State(enum.IntEnum):
    """The states of the RFC's figures 5 to 8, and ACCEPTED of RFC 6026."""

    CALLING = 1
    TRYING = 2
    PROCEEDING = 3
    ACCEPTED = 4
    COMPLETED = 5
    CONFIRMED = 6
    TERMINATED = 7


class Trigger(enum.IntEnum):
    """What can happen to a transaction. The timers have the numbers of their letters."""

    TIMER_A = Letter.A
    TIMER_B = Letter.B
    TIMER_D = Letter.D
    TIMER_E = Letter.E
    TIMER_F = Letter.F
    TIMER_G = Letter.G
    TIMER_H = Letter.H
    TIMER_I = Letter.I
    TIMER_J = Letter.J
    TIMER_K = Letter.K
    TIMER_L = Letter.L
    TIMER_M = Letter.M
    BEGIN = 20
    """a client transaction gets its request; a server transaction is made by one and needs no beginning"""
    GET_1XX = 21
    GET_2XX = 22
    GET_300_UP = 23
    REQUEST_AGAIN = 24
    """the request that made this server transaction came once more"""
    ACK = 25
    SEND_1XX = 26
    SEND_2XX = 27
    SEND_300_UP = 28
    ABANDON = 29
    """its user no longer waits: a cancelled INVITE without an answer (9.1), another target to be tried"""


class Effect(enum.Enum):
    """What a step does besides changing the state, in the words of the figures."""

    SEND = "send the message that came with the trigger and keep it for resending"
    SEND_ONCE = "send the message that came with the trigger and keep nothing"
    RESEND = "send the kept message again"
    FORGET = "keep no message any longer"


class Start(NamedTuple):
    """Start a timer at its first delay."""

    letter: Letter


class Stop(NamedTuple):
    """Stop a timer, which may not run."""

    letter: Letter


class Double(NamedTuple):
    """Start a resend timer again with twice its interval, `capped` at T2 or not."""

    letter: Letter
    capped: bool


class AtT2(NamedTuple):
    """Start a resend timer again with the longest interval."""

    letter: Letter


class Tell(enum.Enum):
    """What the transaction's user learns from a step."""

    PASS_UP = "the message that came is for you"  # noqa: S105 - no password
    TIMEOUT = "nobody answered"
    NO_ACK = "nobody acknowledged the failure response"
    FLOW_FAILED = "it could not be sent"


Do = Effect | Start | Stop | Double | AtT2 | Tell


class Step:
    """The row of a table: the next state, what is done in order, and what the user is told."""

    __slots__ = ("effects", "state", "tell")

    def __init__(self, state: State, *does: Do) -> None:
        self.state = state
        self.effects = tuple(do for do in does if not isinstance(do, Tell))
        tells = [do for do in does if isinstance(do, Tell)]
        self.tell = tells[0] if tells else None


Table = Mapping[tuple[State, Trigger], Step]

(A, B, D, E, F, G, H, I, J, K, L, M) = Letter  # noqa: E741 - the RFC's own names
(CALLING, TRYING, PROCEEDING, ACCEPTED, COMPLETED, CONFIRMED, TERMINATED) = State
(SEND, SEND_ONCE, RESEND, FORGET) = Effect
(PASS_UP, TIMEOUT, NO_ACK, FLOW_FAILED) = Tell
T = Trigger

INVITE_CLIENT: Table = {  # 17.1.1, figure 5; RFC 6026 figure 5
    (CALLING, T.BEGIN): Step(CALLING, SEND, Start(A), Start(B)),
    (CALLING, T.TIMER_A): Step(CALLING, RESEND, Double(A, capped=False)),
    (CALLING, T.TIMER_B): Step(TERMINATED, TIMEOUT, Stop(A)),
    (CALLING, T.GET_1XX): Step(PROCEEDING, PASS_UP, Stop(A), Stop(B)),
    (CALLING, T.GET_2XX): Step(ACCEPTED, PASS_UP, Stop(A), Stop(B), FORGET, Start(M)),
    (CALLING, T.GET_300_UP): Step(COMPLETED, PASS_UP, Stop(A), Stop(B), SEND, Start(D)),  # the ACK
    (CALLING, T.ABANDON): Step(TERMINATED, Stop(A), Stop(B)),
    (PROCEEDING, T.GET_1XX): Step(PROCEEDING, PASS_UP),
    (PROCEEDING, T.GET_2XX): Step(ACCEPTED, PASS_UP, FORGET, Start(M)),
    (PROCEEDING, T.GET_300_UP): Step(COMPLETED, PASS_UP, SEND, Start(D)),
    (PROCEEDING, T.ABANDON): Step(TERMINATED),
    (ACCEPTED, T.GET_1XX): Step(ACCEPTED),
    (ACCEPTED, T.GET_2XX): Step(ACCEPTED, PASS_UP),
    (ACCEPTED, T.GET_300_UP): Step(ACCEPTED),
    (ACCEPTED, T.TIMER_M): Step(TERMINATED),
    (COMPLETED, T.GET_1XX): Step(COMPLETED),
    (COMPLETED, T.GET_2XX): Step(COMPLETED),
    (COMPLETED, T.GET_300_UP): Step(COMPLETED, RESEND),
    (COMPLETED, T.TIMER_D): Step(TERMINATED),
}

REQUEST_CLIENT: Table = {  # 17.1.2, figure 6
    (TRYING, T.BEGIN): Step(TRYING, SEND, Start(E), Start(F)),
    (TRYING, T.TIMER_E): Step(TRYING, RESEND, Double(E, capped=True)),
    (TRYING, T.TIMER_F): Step(TERMINATED, TIMEOUT, Stop(E)),
    (TRYING, T.GET_1XX): Step(PROCEEDING, PASS_UP),
    (TRYING, T.GET_2XX): Step(COMPLETED, PASS_UP, Stop(E), Stop(F), FORGET, Start(K)),
    (TRYING, T.GET_300_UP): Step(COMPLETED, PASS_UP, Stop(E), Stop(F), FORGET, Start(K)),
    (TRYING, T.ABANDON): Step(TERMINATED, Stop(E), Stop(F)),
    (PROCEEDING, T.TIMER_E): Step(PROCEEDING, RESEND, AtT2(E)),
    (PROCEEDING, T.TIMER_F): Step(TERMINATED, TIMEOUT, Stop(E)),
    (PROCEEDING, T.GET_1XX): Step(PROCEEDING, PASS_UP),
    (PROCEEDING, T.GET_2XX): Step(COMPLETED, PASS_UP, Stop(E), Stop(F), FORGET, Start(K)),
    (PROCEEDING, T.GET_300_UP): Step(COMPLETED, PASS_UP, Stop(E), Stop(F), FORGET, Start(K)),
    (PROCEEDING, T.ABANDON): Step(TERMINATED, Stop(E), Stop(F)),
    (COMPLETED, T.GET_1XX): Step(COMPLETED),
    (COMPLETED, T.GET_2XX): Step(COMPLETED),
    (COMPLETED, T.GET_300_UP): Step(COMPLETED),
    (COMPLETED, T.TIMER_K): Step(TERMINATED),
}

INVITE_SERVER: Table = {  # 17.2.1, figure 7; RFC 6026 figure 7
    (PROCEEDING, T.REQUEST_AGAIN): Step(PROCEEDING, RESEND),
    (PROCEEDING, T.ACK): Step(PROCEEDING),
    (PROCEEDING, T.SEND_1XX): Step(PROCEEDING, SEND),
    (PROCEEDING, T.SEND_2XX): Step(ACCEPTED, SEND_ONCE, FORGET, Start(L)),
    (PROCEEDING, T.SEND_300_UP): Step(COMPLETED, SEND, Start(G), Start(H)),
    (PROCEEDING, T.ABANDON): Step(TERMINATED),
    (ACCEPTED, T.REQUEST_AGAIN): Step(ACCEPTED),  # absorbed, RFC 6026 7.1
    (ACCEPTED, T.SEND_2XX): Step(ACCEPTED, SEND_ONCE),
    (ACCEPTED, T.ACK): Step(ACCEPTED, PASS_UP),
    (ACCEPTED, T.TIMER_L): Step(TERMINATED),
    (COMPLETED, T.REQUEST_AGAIN): Step(COMPLETED, RESEND),
    (COMPLETED, T.TIMER_G): Step(COMPLETED, RESEND, Double(G, capped=True)),
    (COMPLETED, T.TIMER_H): Step(TERMINATED, NO_ACK, Stop(G)),
    (COMPLETED, T.ACK): Step(CONFIRMED, Stop(G), Stop(H), FORGET, Start(I)),
    (CONFIRMED, T.REQUEST_AGAIN): Step(CONFIRMED),
    (CONFIRMED, T.ACK): Step(CONFIRMED),
    (CONFIRMED, T.TIMER_I): Step(TERMINATED),
}

REQUEST_SERVER: Table = {  # 17.2.2, figure 8
    (TRYING, T.REQUEST_AGAIN): Step(TRYING),
    (TRYING, T.SEND_1XX): Step(PROCEEDING, SEND),
    (TRYING, T.SEND_2XX): Step(COMPLETED, SEND, Start(J)),
    (TRYING, T.SEND_300_UP): Step(COMPLETED, SEND, Start(J)),
    (TRYING, T.ABANDON): Step(TERMINATED),
    (PROCEEDING, T.REQUEST_AGAIN): Step(PROCEEDING, RESEND),
    (PROCEEDING, T.SEND_1XX): Step(PROCEEDING, SEND),
    (PROCEEDING, T.SEND_2XX): Step(COMPLETED, SEND, Start(J)),
    (PROCEEDING, T.SEND_300_UP): Step(COMPLETED, SEND, Start(J)),
    (PROCEEDING, T.ABANDON): Step(TERMINATED),
    (COMPLETED, T.REQUEST_AGAIN): Step(COMPLETED, RESEND),
    (COMPLETED, T.TIMER_J): Step(TERMINATED),
}


class Machine(enum.Enum):
    """One of the four tables, and the state that it begins in."""

    INVITE_CLIENT = (INVITE_CLIENT, CALLING)
    REQUEST_CLIENT = (REQUEST_CLIENT, TRYING)
    INVITE_SERVER = (INVITE_SERVER, PROCEEDING)
    REQUEST_SERVER = (REQUEST_SERVER, TRYING)

    def __init__(self, table: Table, first: State) -> None:
        self.table = table
        self.first = first


TRANSPORT_ERROR: Mapping[tuple[Machine, State], Step] = {
    # A client is told while its request is on the way (17.1.4). Once an INVITE was answered by a 1xx
    # it has arrived: the final answer can come over a new connection (18.2.2).
    (Machine.INVITE_CLIENT, CALLING): Step(TERMINATED, FLOW_FAILED, Stop(A), Stop(B)),
    (Machine.INVITE_CLIENT, PROCEEDING): Step(PROCEEDING),
    (Machine.INVITE_CLIENT, ACCEPTED): Step(ACCEPTED),
    (Machine.INVITE_CLIENT, COMPLETED): Step(COMPLETED),
    (Machine.REQUEST_CLIENT, TRYING): Step(TERMINATED, FLOW_FAILED, Stop(E), Stop(F)),
    (Machine.REQUEST_CLIENT, PROCEEDING): Step(PROCEEDING),
    (Machine.REQUEST_CLIENT, COMPLETED): Step(COMPLETED),
    # A server keeps its state: the response has a second way, the address in the Via (18.2.2, 17.2.4).
    (Machine.INVITE_SERVER, PROCEEDING): Step(PROCEEDING, FLOW_FAILED),
    (Machine.INVITE_SERVER, ACCEPTED): Step(ACCEPTED, FLOW_FAILED),
    (Machine.INVITE_SERVER, COMPLETED): Step(COMPLETED, FLOW_FAILED),
    (Machine.INVITE_SERVER, CONFIRMED): Step(CONFIRMED),
    (Machine.REQUEST_SERVER, TRYING): Step(TRYING, FLOW_FAILED),
    (Machine.REQUEST_SERVER, PROCEEDING): Step(PROCEEDING, FLOW_FAILED),
    (Machine.REQUEST_SERVER, COMPLETED): Step(COMPLETED, FLOW_FAILED),
}
