"""What a REGISTER does to the bindings of one address of record (RFC 3261 section 10.3).

With Path (RFC 3327) and outbound (RFC 5626). A pure function: bindings go in, bindings come out, all of
a request or nothing of it. Who may register, and where bindings are kept, is the caller's business.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.headers import NameAddr, parse_name_addr
from sipcore.message import Request
from sipcore.params import quote
from sipcore.uri import equivalent, parse_uri

Headers = tuple[tuple[str, str], ...]

MAX_CONTACT_CHARS = 1024
MAX_TEXT_CHARS = 256
MAX_CONTACTS_AT_ONCE = 20
MAX_PATH = 10

_EXTENSIONS = frozenset({"path", "outbound"})


class Binding(msgspec.Struct, frozen=True, gc=False):
    """One place where an address of record can be reached. Plain data: it outlives the process.

    Times are wall-clock epoch seconds.
    """

    contact: str
    """the URI as the phone wrote it: the Request-URI of what is sent there"""
    flow: Flow
    """how its REGISTER came in; what is sent there goes the same way back"""
    expires_at: float
    received_at: float
    call_id: str
    cseq: int
    q: float = 1.0
    path: tuple[str, ...] = ()
    """the Route to put on what is sent there (RFC 3327), topmost first"""
    instance: str = ""
    """+sip.instance, "" when not told"""
    reg_id: int = 0
    """the flow's number within its instance (RFC 5626); 0: no outbound"""
    user_agent: str = ""
    behind_nat: bool = False
    """the contact names another place than the REGISTER came from: only `flow` leads there"""

    def remaining_s(self, wall_now: float) -> int:
        return max(0, round(self.expires_at - wall_now))


class WhenFull(enum.Enum):
    """What a contact beyond the limit does."""

    REPLACE_OLDEST = "the binding that was not refreshed for longest goes"
    REFUSE = "403"


class Limits(msgspec.Struct, frozen=True, gc=False):
    """The operator's say.

    A phone that restarts behind NAT comes with a new contact and leaves the old one to expire, so a full
    house makes room by default: a phone that is on someone's desk is worth more than what may be a ghost.
    """

    min_expires_s: int = 60
    default_expires_s: int = 3600
    max_expires_s: int = 7200
    max_contacts: int = 10
    when_full: WhenFull = WhenFull.REPLACE_OLDEST
    path_unasked: bool = False
    """take a Path though the phone does not say it knows of it; RFC 3327 5.3 recommends the 420 instead"""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The response, and the bindings as they are from now on."""

    status: int
    reason: str
    headers: Headers
    bindings: tuple[Binding, ...]
    added: tuple[Binding, ...] = ()
    changed: tuple[Binding, ...] = ()
    """refreshed or moved, as they are now"""
    removed: tuple[Binding, ...] = ()
    """unregistered, expired, or gone to make room"""


class _Refusal(Exception):
    def __init__(self, status: int, reason: str, headers: Headers = ()) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


def register(
    request: Request, flow: Flow, current: Sequence[Binding], limits: Limits, wall_now: float
) -> Outcome:
    """Apply a REGISTER of someone who may (RFC 3261 10.3 steps 2, 6, 7 and 8).

    A request without contacts asks for the list. A refusal leaves `current` as it was; what has expired
    in it is dropped otherwise. Raises PeerFault(400) for contacts that cannot be read or make no sense.
    """
    try:
        return _apply(request, flow, current, limits, wall_now)
    except _Refusal as no:
        return Outcome(no.status, no.reason, no.headers, tuple(current))


def _apply(
    request: Request, flow: Flow, current: Sequence[Binding], limits: Limits, wall_now: float
) -> Outcome:
    if not request.require <= _EXTENSIONS:
        raise _Refusal(420, "Bad Extension", (("Unsupported", ", ".join(request.require - _EXTENSIONS)),))
    before = [binding for binding in current if binding.expires_at > wall_now]
    expired = () if len(before) == len(current) else tuple([each for each in current if each not in before])
    contacts = request.contacts
    if contacts and contacts[0].uri == "*":
        return _remove_all(request, before, expired)
    if len(contacts) > MAX_CONTACTS_AT_ONCE:
        raise _Refusal(403, "Too Many Contacts")
    path = _read_path(request, limits) if contacts else ()
    wishes = [_read_wish(contact, request, path, before, limits) for contact in contacts]
    if len(wishes) > 1 and sum(wish.reg_id > 0 for wish in wishes) > 1:
        raise PeerFault(400, "Two Flows In One REGISTER", "RFC 5626 section 6")
    # `slots` stand for `before`, one by one: the same binding, another one in its place, or None.
    slots: list[Binding | None] = list(before)
    added: list[Binding] = []
    for wish in wishes:
        binding = _bind(wish, request, flow, path, wall_now) if wish.expires_s else None
        if wish.at is not None:
            slots[wish.at] = binding
        elif binding is not None:
            added = [each for each in added if each.contact != binding.contact]
            added.append(binding)
    _make_room(slots, before, added, limits)
    changed = [new for new, old in zip(slots, before, strict=True) if new is not None and new is not old]
    removed = [old for new, old in zip(slots, before, strict=True) if new is None]
    after = [each for each in slots if each is not None] + added
    headers = [("Contact", _contact_value(each, wall_now)) for each in after]
    if path:
        headers += [("Path", each) for each in path]
    if any(wish.reg_id for wish in wishes):
        headers.append(("Require", "outbound"))
    return Outcome(
        200, "OK", tuple(headers), tuple(after), tuple(added), tuple(changed), (*expired, *removed)
    )


def _remove_all(request: Request, before: list[Binding], expired: tuple[Binding, ...]) -> Outcome:
    """Contact: * (10.3 step 6): only with Expires: 0."""
    if request.expires != 0:
        raise PeerFault(400, "Contact * Needs Expires 0", "RFC 3261 10.3 step 6")
    for binding in before:
        _check_order(request, binding)
    return Outcome(200, "OK", (), (), removed=(*expired, *before))


class _Wish(msgspec.Struct, frozen=True, gc=False):
    """What the request wants for one contact, once it is found to be allowed."""

    contact: NameAddr
    expires_s: int
    """0: remove it"""
    at: int | None
    """which of the bindings before it is about"""
    instance: str
    reg_id: int


def _read_wish(
    contact: NameAddr, request: Request, path: tuple[str, ...], before: list[Binding], limits: Limits
) -> _Wish:
    asked = contact.expires
    if asked is None:
        asked = request.expires
    expires_s = limits.default_expires_s if asked is None else min(asked, limits.max_expires_s)
    # 10.3 step 7: who asks for an hour or more may not be refused.
    if 0 < expires_s < min(limits.min_expires_s, 3600):
        raise _Refusal(423, "Interval Too Brief", (("Min-Expires", str(limits.min_expires_s)),))
    instance = contact.params.get("+sip.instance") or ""
    if len(instance) > MAX_TEXT_CHARS or len(contact.uri) > MAX_CONTACT_CHARS:
        raise PeerFault(400, "Contact Too Long", "RFC 3261 10.3")
    reg_id = _read_reg_id(contact, request, path) if instance and "reg-id" in contact.params else 0
    at = _find(contact.uri, instance, reg_id, before)
    if at is not None:
        _check_order(request, before[at])
    return _Wish(contact, expires_s, at, instance, reg_id)


def _read_reg_id(contact: NameAddr, request: Request, path: tuple[str, ...]) -> int:
    """The number of the flow that the phone wants kept (RFC 5626 section 6); 0: it knows no outbound."""
    if "outbound" not in request.supported:
        return 0
    text = contact.params["reg-id"] or ""
    if not (text.isdecimal() and text.isascii() and len(text) <= 10 and 0 < int(text) < 2**31):
        raise PeerFault(400, "Malformed reg-id", "RFC 5626 section 4.2")
    # A first hop that knows nothing of outbound would not keep the flow open.
    if len(request.vias) > 1 and not (path and "ob" in parse_uri(parse_name_addr(path[-1]).uri).params):
        raise _Refusal(439, "First Hop Lacks Outbound Support")
    return int(text)


def _find(uri: str, instance: str, reg_id: int, before: list[Binding]) -> int | None:
    """The binding that a contact is about: the same flow of the same instance, else the same URI."""
    if reg_id:
        for at, binding in enumerate(before):
            if binding.reg_id == reg_id and binding.instance == instance:
                return at
    for at, binding in enumerate(before):
        if binding.contact == uri and not (reg_id and binding.reg_id):
            return at
    for at, binding in enumerate(before):
        if not (reg_id and binding.reg_id) and equivalent(binding.contact, uri):
            return at
    return None


def _check_order(request: Request, binding: Binding) -> None:
    """10.3 steps 6 and 7: an older request of the same Call-ID came late, and may undo nothing."""
    if binding.call_id == request.call_id and request.cseq.number <= binding.cseq:
        raise _Refusal(500, "CSeq Out Of Order")


def _bind(wish: _Wish, request: Request, flow: Flow, path: tuple[str, ...], wall_now: float) -> Binding:
    uri = wish.contact.uri
    if len(request.call_id) > MAX_TEXT_CHARS:
        raise PeerFault(400, "Call-ID Too Long", "RFC 3261 10.3")
    return Binding(
        uri,
        flow,
        wall_now + wish.expires_s,
        wall_now,
        request.call_id,
        request.cseq.number,
        wish.contact.q,
        path,
        wish.instance,
        wish.reg_id,
        (request.get("User-Agent") or "")[:MAX_TEXT_CHARS],
        _is_elsewhere(uri, flow) and not path,
    )


def _is_elsewhere(contact: str, flow: Flow) -> bool:
    """True when a contact names another place than the flow comes from: a name, or what is behind a NAT."""
    uri = parse_uri(contact)
    if uri.scheme not in ("sip", "sips"):
        raise PeerFault(400, "Contact Is No SIP URI", "RFC 3261 10.2.1")
    host, port = flow.remote
    # The source port of a connection is anyone's; of datagrams it should be where the phone listens.
    return uri.host != host or (flow.transport is Transport.UDP and (uri.port or 5060) != port)


def _make_room(
    slots: list[Binding | None], before: list[Binding], added: list[Binding], limits: Limits
) -> None:
    beyond = len(slots) - slots.count(None) + len(added) - limits.max_contacts
    if beyond <= 0 or not added:
        return
    idle = [at for at, binding in enumerate(before) if slots[at] is binding]
    if beyond > len(idle) or limits.when_full is WhenFull.REFUSE:
        raise _Refusal(403, "Too Many Contacts")
    idle.sort(key=lambda at: before[at].received_at)
    for at in idle[:beyond]:
        slots[at] = None


def _read_path(request: Request, limits: Limits) -> tuple[str, ...]:
    """The Path that proxies have put on the request (RFC 3327 5.3)."""
    if request.get("Path") is None:
        return ()
    path = request.get_all("Path")
    if "path" not in request.supported and not limits.path_unasked:
        raise _Refusal(420, "Bad Extension", (("Unsupported", "path"),))
    if len(path) > MAX_PATH or any(len(each) > MAX_CONTACT_CHARS for each in path):
        raise PeerFault(400, "Path Too Long", "RFC 3327 5.3")
    for each in path:
        parse_uri(parse_name_addr(each).uri)
    return tuple(path)


def _contact_value(binding: Binding, wall_now: float) -> str:
    value = f"<{binding.contact}>;expires={binding.remaining_s(wall_now)}"
    if binding.q != 1.0:
        value += f";q={binding.q:.3f}".rstrip("0").rstrip(".")
    if binding.instance:
        value += f";+sip.instance={quote(binding.instance)}"
    if binding.reg_id:
        value += f";reg-id={binding.reg_id}"
    return value
