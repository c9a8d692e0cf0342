"""Why a call failed: between SIP and the telephone network, between legs, among forks.

RFC 3398 (status and Q.850 cause), RFC 3326 (Reason), RFC 3261 section 16.7 (the best of several
failures). All of it is tables. What the words on a display are is `phrases.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipcore.faults import Misuse, PeerFault
from sipcore.headers import Reason, parse_reason
from sipcore.message import Message
from sipcore.phrases import PHRASES

# ---------------------------------------------------------------- Q.850

NORMAL_CLEARING = 16
USER_BUSY = 17
NO_ANSWER = 19
CALL_REJECTED = 21

# RFC 3398 8.2.6.1. It leaves 487, 488 and 606 to their circumstances: a caller who gave up is normal
# clearing, and 65 is what leads back to 488.
_CAUSE_OF_STATUS = {
    400: 41,
    401: 21,
    402: 21,
    403: 21,
    404: 1,
    405: 63,
    406: 79,
    407: 21,
    408: 102,
    410: 22,
    413: 127,
    414: 127,
    415: 79,
    416: 127,
    420: 127,
    421: 127,
    423: 127,
    480: 18,
    481: 41,
    482: 25,
    483: 25,
    484: 28,
    485: 1,
    486: 17,
    487: NORMAL_CLEARING,
    488: 65,
    500: 41,
    501: 79,
    502: 38,
    503: 41,
    504: 102,
    505: 127,
    513: 127,
    600: 17,
    603: 21,
    604: 1,
    606: 65,
    607: 21,
    608: 21,
}
_CAUSE_OF_CLASS = {3: 127, 4: 41, 5: 41, 6: 21}

# RFC 3398 7.2.4.1.
_STATUS_OF_CAUSE = {
    1: 404,
    2: 404,
    3: 404,
    16: 480,
    17: 486,
    18: 408,
    19: 480,
    20: 480,
    21: 403,
    22: 410,
    23: 410,
    26: 404,
    27: 502,
    28: 484,
    29: 501,
    31: 480,
    34: 503,
    38: 503,
    41: 503,
    42: 503,
    47: 503,
    55: 403,
    57: 403,
    58: 503,
    65: 488,
    70: 488,
    79: 501,
    87: 403,
    88: 503,
    102: 504,
    111: 500,
    127: 500,
}
# A cause that is not listed means what the last one of its class means (Q.850 section 2.2.3).
_STATUS_OF_CAUSE_CLASS = (480, 480, 503, 503, 501, 500, 500, 500)


def cause_of_status(status: int) -> int:
    """The Q.850 cause for a final failure status. Raises Misuse for one that is no failure."""
    if not 300 <= status <= 699:
        raise Misuse(f"{status} is no failure")
    return _CAUSE_OF_STATUS.get(status) or _CAUSE_OF_CLASS[status // 100]


def status_of_cause(cause: int) -> int:
    """The SIP status for a Q.850 cause, whoever it came from; 500 for a number that is none."""
    if not 0 <= cause <= 127:
        return 500
    return _STATUS_OF_CAUSE.get(cause) or _STATUS_OF_CAUSE_CLASS[cause // 16]


# ---------------------------------------------------------------- Reason


def sip_reason(status: int, text: str = "") -> tuple[str, str]:
    """A Reason field that gives a SIP status (RFC 3326), for a CANCEL or BYE."""
    return "Reason", str(Reason("SIP", status, text or PHRASES.get(status, "")))


def q850_reason(cause: int, text: str = "") -> tuple[str, str]:
    """A Reason field that gives a Q.850 cause (RFC 3326, RFC 6432 for responses)."""
    return "Reason", str(Reason("Q.850", cause, text))


ANSWERED_ELSEWHERE = sip_reason(200, "Call completed elsewhere")
"""On the CANCEL to forks that lost: phones then do not show a missed call (RFC 3326 section 3.1)."""


def reasons_of(message: Message) -> tuple[Reason, ...]:
    """The Reasons of a message; those that cannot be read are left out, since nothing depends on them."""
    found = []
    try:
        for value in message.get_all("Reason"):
            found.append(parse_reason(value))
    except PeerFault:
        return tuple(found)
    return tuple(found)


def q850_cause_of(message: Message) -> int | None:
    """The Q.850 cause that a message tells, None when it tells none."""
    for reason in reasons_of(message):
        if reason.protocol.upper() == "Q.850" and reason.cause is not None and reason.cause <= 127:
            return reason.cause
    return None


# ---------------------------------------------------------------- from the callee's leg to the caller's

# What is about the called party, and therefore true for the caller as well.
_TOLD = frozenset(
    {402, 403, 404, 408, 410, 433, 480, 482, 483, 484, 485, 486, 488, 500, 501, 502, 504, 513, 580}
)
_TOLD_AS = {
    406: 488,
    415: 488,  # it would need an Accept of types that only the other leg knows
    487: 480,  # the caller has cancelled nothing
    503: 500,  # or the caller takes *us* for overloaded and stays away (RFC 3261 16.7 step 6)
}


def between_legs(status: int) -> int:
    """What to tell the caller when the callee's leg ended with `status`.

    A 6xx is kept: it speaks for the person. What was about our own request (a challenge, an extension,
    an interval, the dialog) is our affair: the caller hears 500 and never sees a challenge that only we
    could answer. A redirection that was not followed is 480.
    """
    if status in _TOLD or 600 <= status <= 699:
        return status
    if 300 <= status <= 399:
        return 480
    if 400 <= status <= 599:
        return _TOLD_AS.get(status, 500)
    raise Misuse(f"{status} is no failure")


# Among failures of one class, what says most about the person comes first: "busy" from one phone is worth
# more than silence from another.
_TELLING = (486, 433, 484, 485, 403, 402, 488, 480, 410, 404, 408, 483, 482)
_RANK = {status: rank for rank, status in enumerate(_TELLING)}


def best(statuses: Iterable[int]) -> int:
    """The final failure that stands for all forks (RFC 3261 16.7 step 6); 408 when none came at all.

    A 6xx wins, then the lowest class, as the caller would hear it: a fork that challenged us counts as
    the 500 that it becomes. It is one of `statuses`, still to be put through `between_legs`.
    """
    return min(statuses, key=_order, default=408)


def _order(status: int) -> tuple[int, int, bool, int]:
    told = between_legs(status)
    klass = told // 100
    return (0 if klass == 6 else klass, _RANK.get(told, len(_RANK)), told != status, status)
