"""What a dialog is made of, which requests follow from it, and which way they go (RFC 3261 section 12)."""

from __future__ import annotations

import pytest
from stack_script import ALICE, ALICE_TCP, BORIS, HERE, SDP, Far, Scene

from sipcore.dialog import Dialog, dialog_of_request, dialog_of_response, routed
from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.message import Request, Response
from sipcore.parser import parse
from sipcore.text import Draft, tag_of


def invite(**parts: object) -> Request:
    request = parse(Far(Scene(), "alice", ALICE).request("INVITE", body=SDP, **parts))
    assert isinstance(request, Request)
    return request


def answer(contact: str = "<sip:boris@192.0.2.20>", routes: str = "") -> Response:
    head = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    head += f"To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n{routes}"
    head += f"Contact: {contact}\r\n\r\n" if contact else "\r\n"
    response = parse(head.encode())
    assert isinstance(response, Response)
    return response


DRAFT = Draft("INVITE", "sip:boris@x.example.com", "<sip:a@b>;tag=1", "<sip:c@d>", "x", 1)
DRAFT.hop = DRAFT.uri


def test_an_incoming_dialog_is_made_of_the_invite() -> None:
    dialog = dialog_of_request(invite(), "ours", "tag-alice", ALICE)
    assert (dialog.call_id, dialog.local_tag, dialog.remote_tag) == ("call-of-alice", "ours", "tag-alice")
    assert (dialog.local, dialog.remote) == (
        "<sip:server@example.com>;tag=ours",
        "<sip:alice@example.com>;tag=tag-alice",
    )
    assert (dialog.local_cseq, dialog.remote_cseq, dialog.initiator) == (0, 1, False)
    assert dialog.takes_update


def test_an_outgoing_dialog_is_made_of_the_response() -> None:
    routes = (
        "Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>, <sip:p3;lr>\r\nAllow: INVITE, UPDATE\r\n"
    )
    dialog = dialog_of_response(DRAFT, "1", "2", answer(routes=routes), BORIS, pinned=False)
    assert dialog.route_set == ("<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>")
    assert (dialog.local, dialog.remote) == ("<sip:a@b>;tag=1", "<sip:c@d>;tag=2")
    assert (dialog.local_cseq, dialog.remote_cseq, dialog.initiator, dialog.takes_update) == (
        1,
        -1,
        True,
        True,
    )


def test_requests_count_up_and_acks_do_not() -> None:
    dialog = dialog_of_response(DRAFT, "1", "2", answer(), BORIS, pinned=False)
    assert [dialog.next_request("INFO").cseq, dialog.next_request("BYE").cseq] == [2, 3]
    assert dialog.request_of("ACK", 1).cseq == 1
    assert dialog.local_cseq == 3


def test_an_invite_without_contact_makes_no_dialog() -> None:
    with pytest.raises(PeerFault, match="Missing Contact"):
        dialog_of_request(invite(without="Contact"), "ours", "x", ALICE)


def test_an_answer_without_contact_keeps_to_the_uri_of_the_invite() -> None:
    dialog = dialog_of_response(DRAFT, "1", "2", answer(contact=""), BORIS, pinned=False)
    assert dialog.remote_target == "sip:boris@x.example.com"


@pytest.mark.parametrize(
    ("route_set", "uri", "routes"),
    [
        ((), "sip:t", ""),
        (("<sip:p1;lr>", "<sip:p2>"), "sip:t", "Route: <sip:p1;lr>\r\nRoute: <sip:p2>\r\n"),
        (("<sip:p1>", "<sip:p2;lr>"), "sip:p1", "Route: <sip:p2;lr>\r\nRoute: <sip:t>\r\n"),
        (("<sip:p1;lr=on>",), "sip:t", "Route: <sip:p1;lr=on>\r\n"),
    ],
)
def test_request_uri_and_routes(route_set: tuple[str, ...], uri: str, routes: str) -> None:
    assert routed("sip:t", route_set) == (uri, routes)


# ---------------------------------------------------------------- ways

NATTED = Flow(Transport.UDP, HERE, ("203.0.113.9", 31999))
VIA_PROXY = "Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKp\r\n"


@pytest.mark.parametrize(
    ("flow", "contact", "headers", "remote", "follows"),
    [
        (ALICE, "<sip:alice@192.0.2.10>", "", ("192.0.2.10", 5060), False),
        (ALICE, "<sip:alice@192.0.2.10:5070>", "", ("192.0.2.10", 5070), False),
        (ALICE, "<sip:alice@alice.example.com>", "", ("192.0.2.10", 5060), True),
        (ALICE, "<sip:alice@10.0.0.5>", "", ("192.0.2.10", 5060), True),
        (ALICE, "<sip:alice@192.0.2.55>", VIA_PROXY, ("192.0.2.55", 5060), False),
        (ALICE, "<sip:alice@10.0.0.5>", VIA_PROXY, ("192.0.2.10", 5060), True),
        (NATTED, "<sip:alice@192.0.2.10>", "", ("203.0.113.9", 31999), True),
        (NATTED, "<sip:alice@10.0.0.5>", "", ("203.0.113.9", 31999), True),
        (
            ALICE,
            "<sip:alice@10.0.0.5>",
            "Record-Route: <sip:192.0.2.98:5061;lr>\r\n",
            ("192.0.2.98", 5061),
            False,
        ),
        (
            ALICE,
            "<sip:alice@10.0.0.5>",
            "Record-Route: <sip:p.example.com;lr>\r\n",
            ("192.0.2.10", 5060),
            True,
        ),
        (ALICE_TCP, "<sip:alice@192.0.2.10;transport=tcp>", "", ("192.0.2.10", 40123), True),
    ],
)
def test_the_way_back_to_a_caller(
    flow: Flow, contact: str, headers: str, remote: tuple[str, int], follows: bool
) -> None:
    request = invite(headers=f"{headers}Contact: {contact}\r\n", without="Contact")
    dialog = dialog_of_request(request, "ours", "tag-alice", flow)
    assert dialog.flow is not None
    assert (dialog.flow.remote, dialog.follows) == (remote, follows)


@pytest.mark.parametrize(
    ("contact", "routes", "remote"),
    [
        ("<sip:boris@192.0.2.20>", "", ("192.0.2.20", 5060)),
        ("<sip:boris@192.0.2.21:5070>", "", ("192.0.2.21", 5070)),
        ("<sip:boris@10.0.0.5>", "", ("192.0.2.20", 5060)),
        ("<sip:boris@x.example.com>", "", ("192.0.2.20", 5060)),
        ("<sip:boris@10.0.0.5>", "Record-Route: <sip:192.0.2.98;lr>\r\n", ("192.0.2.98", 5060)),
    ],
)
def test_the_way_on_to_a_callee(contact: str, routes: str, remote: tuple[str, int]) -> None:
    dialog = dialog_of_response(DRAFT, "1", "2", answer(contact, routes), BORIS, pinned=False)
    assert dialog.flow is not None
    assert dialog.flow.remote == remote


def test_a_contact_with_another_name_has_to_be_resolved() -> None:
    dialog = dialog_of_response(DRAFT, "1", "2", answer("<sip:boris@y.example.com>"), BORIS, pinned=False)
    assert dialog.flow is None


def test_a_pinned_flow_stays() -> None:
    dialog = dialog_of_response(DRAFT, "1", "2", answer("<sip:boris@192.0.2.55>"), BORIS, pinned=True)
    assert (dialog.flow, dialog.follows) == (BORIS, True)


def test_only_a_following_dialog_moves() -> None:
    staying = dialog_of_request(invite(), "ours", "tag-alice", ALICE)
    moving = dialog_of_request(invite(), "ours", "tag-alice", NATTED)
    for dialog in (staying, moving):
        dialog.heard_on(BORIS)
    assert (staying.flow, moving.flow) == (ALICE, BORIS)


# ---------------------------------------------------------------- tags


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("<sip:a@b>;tag=x-1.2", "x-1.2"),
        ("<sip:a@b>", ""),
        ("sip:a@b;tag=x", "x"),
        ('"A <B>" <sip:a@b> ; x=y ; tag=z', "z"),
        ('"A>;tag=no" <sip:a@b>', ""),
        ("<sip:a@b>;x=y;tag=z", "z"),
        ("<sip:a@b;tag=no>", ""),
        ("sip:a@b", ""),
    ],
)
def test_the_tag_of_an_address(value: str, tag: str) -> None:
    assert tag_of(value) == tag


@pytest.mark.parametrize("value", [None, "", "<sip:a@b", '<sip:a@b>;tag="x', ">"])
def test_the_tag_of_no_address(value: str | None) -> None:
    with pytest.raises(PeerFault):
        tag_of(value)


def test_a_dialog_is_its_call_id_and_tags() -> None:
    dialog: Dialog = dialog_of_request(invite(), "ours", "tag-alice", ALICE)
    assert dialog.is_with("call-of-alice", "tag-alice")
    assert not dialog.is_with("call-of-alice", "tag-other")
    assert not dialog.is_with("another", "tag-alice")
