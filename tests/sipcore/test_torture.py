"""Every message of RFC 4475 and RFC 5118 against the verdict that the RFC asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torture_ipv6_messages as ipv6
import torture_messages as torture
from reading import read_everything
from torture_messages import Torture

from sipcore.faults import BrokenRequest, PeerFault
from sipcore.headers import CSeq, NameAddr, Via, parse_auth_params, parse_date
from sipcore.message import Message
from sipcore.parser import parse
from sipcore.uri import SipUri
from tests.house import SERVER_SIP, House
from tests.memory_network import Passage
from tests.virtual_loop import run_virtual

STRANGER = ("10.0.9.9", 40_000)
ALL = torture.TORTURE + ipv6.TORTURE_IPV6


def _names(cases: list[Torture]) -> list[Any]:
    return [pytest.param(case, id=f"{case.section}-{case.name}") for case in cases]


@pytest.mark.parametrize("case", _names([case for case in ALL if case.fault is None]))
def test_a_well_formed_message_can_be_read_from_end_to_end(case: Torture) -> None:
    message = read_everything(case.data)
    again = parse(message.to_bytes())
    assert again.start_line == message.start_line
    assert again.body == message.body
    for name, _ in message.without("Content-Length").fields():
        assert again.get_all(name) == message.get_all(name)


@pytest.mark.parametrize("case", _names([case for case in ALL if case.fault is not None]))
def test_a_broken_message_is_refused_with_the_status_of_the_rfc(case: Torture) -> None:
    with pytest.raises(PeerFault) as caught:
        read_everything(case.data)
    assert caught.value.status == case.fault


@pytest.mark.parametrize("case", _names([case for case in ALL if case.fault is not None and case.answerable]))
def test_the_sender_of_a_broken_request_can_be_told(case: Torture) -> None:
    with pytest.raises(BrokenRequest) as caught:
        read_everything(case.data)
    told = caught.value
    response = told.request.response(told.status, told.reason, to_tag="t0")
    assert response.to_bytes().startswith(f"SIP/2.0 {case.fault} ".encode())
    assert response.get_all("via") == told.request.get_all("via") != []
    assert response.get("cseq") == told.request.get("cseq") is not None


@pytest.mark.parametrize("case", _names([case for case in ALL if not case.answerable]))
def test_what_cannot_be_answered_is_dropped(case: Torture) -> None:
    with pytest.raises(PeerFault) as caught:
        read_everything(case.data)
    assert not isinstance(caught.value, BrokenRequest)


UNUSUAL_USER = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
METHOD = "!interesting-Method0123456789_*+`.%indeed'~"
READINGS: list[tuple[bytes, Callable[[Any], object], object]] = [
    (torture.WSINV, lambda m: m.request_uri.params, {"unknownparam": None}),
    (
        torture.WSINV,
        lambda m: m.to,
        NameAddr("sip:vivekg@chair-dnrc.example.com", "", {"tag": "1918181833n"}),
    ),
    (
        torture.WSINV,
        lambda m: m.from_,
        NameAddr("sip:jdrosen@example.com", 'J Rosenberg \\"', {"tag": "98asjd8"}),
    ),
    (torture.WSINV, lambda m: m.max_forwards, 68),
    (torture.WSINV, lambda m: m.cseq, CSeq(9, "INVITE")),
    (
        torture.WSINV,
        lambda m: m.vias,
        (
            Via("UDP", "192.0.2.2", None, {"branch": "390skdjuw"}),
            Via("TCP", "spindle.example.com", None, {"branch": "z9hG4bK9ikj8"}),
            Via("UDP", "192.168.255.111", None, {"branch": "z9hG4bK30239"}),
        ),
    ),
    (torture.WSINV, lambda m: m.get("subject"), ""),
    (torture.WSINV, lambda m: m.get("newfangledheader"), "newfangled value continued newfangled value"),
    (torture.WSINV, lambda m: m.get_all("UnknownHeaderWithUnusualValue"), [";;,,;;,;"]),
    (
        torture.WSINV,
        lambda m: m.contacts,
        (
            NameAddr(
                "sip:jdrosen@example.com",
                'Quoted string ""',
                {"newparam": "newvalue", "secondparam": None, "q": "0.33"},
            ),
        ),
    ),
    (torture.WSINV, lambda m: m.contacts[0].q, 0.33),
    (torture.WSINV, lambda m: m.routes[0].sip_uri.is_loose_router, True),
    (torture.WSINV, lambda m: len(m.body), 150),
    (torture.INTMETH, lambda m: m.method, METHOD),
    (torture.INTMETH, lambda m: m.request_uri.user, UNUSUAL_USER),
    (torture.INTMETH, lambda m: m.request_uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"),
    (torture.INTMETH, lambda m: m.via.branch, "z9hG4bK-.!%66*_+`'~"),
    (torture.INTMETH, lambda m: m.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f"),
    (torture.INTMETH, lambda m: m.from_.display_name, "token1~` token2'+_ token3*%!.-"),
    (torture.INTMETH, lambda m: m.from_.params["fromparam''~+*_!.-%"], "работающий"),
    (torture.INTMETH, lambda m: m.from_.tag, "_token~1'+`*%!-."),
    (torture.INTMETH, lambda m: m.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
    (torture.INTMETH, lambda m: m.cseq, CSeq(139122385, METHOD)),
    (torture.INTMETH, lambda m: m.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電"),
    (torture.ESC01, lambda m: m.request_uri, SipUri("sip", "sips:user@example.com", "example.net")),
    (torture.ESC01, lambda m: m.to.sip_uri.user, "user"),
    (torture.ESC01, lambda m: m.from_.sip_uri.user, "I have spaces"),
    (torture.ESC01, lambda m: m.contacts[0].sip_uri.params, {"lr": None, "name": "value%41"}),
    (torture.ESCNULL, lambda m: m.to.sip_uri.user, "null-\0-null"),
    (torture.ESCNULL, lambda m: [c.sip_uri.user for c in m.contacts], ["\0", "\0\0"]),
    (torture.ESC02, lambda m: m.method, "RE%47IST%45R"),
    (torture.ESC02, lambda m: m.to.display_name, "%Z%45"),
    (torture.ESC02, lambda m: m.via.branch, "z9hG4bK209%fzsnel234"),
    (torture.ESC02, lambda m: [c.sip_uri.user for c in m.contacts], ["alias1", "alias3"]),
    (torture.LWSDISP, lambda m: m.from_.display_name, "caller"),
    (torture.LONGREQ, lambda m: len(m.vias), 34),
    (torture.LONGREQ, lambda m: m.to.sip_uri.port, 6000),
    (torture.LONGREQ, lambda m: len(m.body), 150),
    (torture.DBLREQ, lambda m: (m.method, m.body), ("REGISTER", b"")),
    (torture.SEMIURI, lambda m: m.request_uri.user, "user;par=u@example.net"),
    (torture.SEMIURI, lambda m: len(m.get_all("accept")), 6),
    (torture.TRANSPORTS, lambda m: [v.transport for v in m.vias], ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]),
    (torture.MPART01, lambda m: (m.content_type, len(m.body)), ("multipart/mixed", 553)),
    (torture.MPART01, lambda m: parse_date(m.get("date")).isoformat(), "2005-10-15T04:44:56+00:00"),
    (torture.UNREASON, lambda m: m.reason, "= 2**3 * 5**2 но сто девяносто девять - простое"),
    (torture.NOREASON, lambda m: (m.status, m.reason), (100, "")),
    (torture.BADBRANCH, lambda m: m.via.has_transaction_id, False),
    (torture.BEXT01, lambda m: m.require, {"nothingsupportsthis", "nothingsupportsthiseither"}),
    (
        torture.REGAUT01,
        lambda m: parse_auth_params(m.get("authorization")),
        ("nooneknowsthisscheme", {"opaque-data": "here"}),
    ),
    (torture.CPARAM01, lambda m: m.contacts[0].params, {"unknownparam": None}),
    (torture.CPARAM02, lambda m: m.contacts[0].params, {}),
    (torture.CPARAM02, lambda m: m.contacts[0].sip_uri.params, {"unknownparam": None}),
    (torture.REGESCRT, lambda m: m.contacts[0].sip_uri.headers, "Route=%3Csip:sip.example.com%3E"),
    (torture.INV2543, lambda m: (m.from_.tag, m.via.branch, m.max_forwards), ("", "", None)),
    (torture.INV2543, lambda m: len(m.body), 105),
    (ipv6.VALID_REFERENCE, lambda m: m.request_uri, SipUri("sip", "", "2001:db8::10")),
    (ipv6.VALID_REFERENCE, lambda m: m.via, Via("UDP", "2001:db8::9:1", None, {"branch": "z9hG4bKas3-111"})),
    (ipv6.PORT_INSIDE, lambda m: m.request_uri, SipUri("sip", "", "2001:db8::10:5070")),
    (ipv6.PORT_OUTSIDE, lambda m: m.request_uri, SipUri("sip", "", "2001:db8::10", 5070)),
    (ipv6.RECEIVED_IN_BRACKETS, lambda m: m.via.received, "2001:db8::9:255"),
    (ipv6.RECEIVED_BARE, lambda m: m.via.received, "2001:db8::9:255"),
    (
        ipv6.MIXED_VIAS,
        lambda m: [v.sent_by for v in m.vias],
        ["[2001:db8::9:1]:6050", "192.0.2.1", "[2001:db8::9:255]"],
    ),
    (ipv6.IPV4_MAPPED, lambda m: m.via.sent_by, "[::ffff:192.0.2.10]:19823"),
    (ipv6.THREE_COLONS, lambda m: m.request_uri.host, "2001:db8::c000:201"),
    (ipv6.TWO_COLONS, lambda m: m.request_uri.host, "2001:db8::c000:201"),
]


@pytest.mark.parametrize(("data", "read", "expected"), READINGS)
def test_the_fields_mean_what_the_rfc_says(
    data: bytes, read: Callable[[Message], object], expected: object
) -> None:
    assert read(parse(data)) == expected


def test_a_date_in_another_zone_is_a_fault_for_who_reads_it() -> None:
    with pytest.raises(PeerFault):
        parse_date(parse(torture.BADDATE).get("date") or "")


@pytest.mark.parametrize("case", _names(list(ALL)))
def test_the_server_answers_a_stranger_once_and_forgets(case: Torture) -> None:
    """The whole server, 100 to final answer; the house sees that no transaction or dialog is left."""
    told = case.answer if case.answer is not None else case.fault if case.answerable else 0
    assert run_virtual(_final_answers(case.data)) == ({told} if told else set())


async def _final_answers(data: bytes) -> set[int]:
    finals: set[int] = set()

    def sees(passage: Passage) -> None:
        if passage.src == SERVER_SIP:
            assert passage.dst[0] == STRANGER[0], "an answer goes where its request came from"
            finals.add(int(passage.data.split(maxsplit=2)[1]))

    async with House() as house:
        house.network.taps.append(sees)
        house.network.send(STRANGER, SERVER_SIP, data)
    return finals - {100}
