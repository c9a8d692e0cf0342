"""What the stack refuses or drops before the call layer sees it (RFC 3261 8.2, 17.2.3; RFC 5393)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stack_script import ALICE, ALICE_TCP, BORIS, SDP, Far, Scene, calls_out, is_answered, rings_in

from sipcore.events import Incoming, PeerBroke, Received, Reject, Reply
from sipcore.flow import Flow
from sipcore.message import Request


@pytest.mark.parametrize(
    ("parts", "status", "lines"),
    [
        ({"method": "BREW"}, 501, ["allow"]),
        ({"method": "INVITE", "body": SDP, "headers": "Require: 100rel, teleport\r\n"}, 420, ["unsupported"]),
        ({"method": "INVITE", "body": SDP, "uri": "http://example.com"}, 416, []),
        ({"method": "INVITE", "body": SDP, "without": "From"}, 400, []),
        (
            {"method": "INVITE", "body": SDP, "headers": "Max-Forwards: x\r\n", "without": "Max-Forwards"},
            400,
            [],
        ),
        (
            {"method": "INVITE", "body": SDP, "headers": "Max-Forwards: 0\r\n", "without": "Max-Forwards"},
            483,
            [],
        ),
        ({"method": "INVITE", "body": SDP, "to_tag": "unknown"}, 481, []),
        ({"method": "BYE", "to_tag": ""}, 481, []),
        ({"method": "BYE", "to_tag": "unknown"}, 481, []),
    ],
)
def test_a_bad_request_is_refused_without_a_transaction(
    scene: Scene, alice: Far, parts: dict, status: int, lines: list[str]
) -> None:
    method = parts.pop("method")
    outputs = alice.sends(method, **parts)
    assert outputs[0] == str(status)
    assert outputs[1].startswith("PeerBroke")
    assert all(scene.sent(str(status)).get(line) for line in lines)
    assert not any(scene.stack.counts().values())


def test_a_method_that_is_known_but_not_taken_is_refused() -> None:
    scene = Scene(methods=("INVITE", "ACK", "OPTIONS"))
    assert Far(scene, "alice", ALICE).sends("MESSAGE")[0] == "405"
    assert scene.sent("405").allow == {"INVITE", "ACK", "OPTIONS"}


def test_a_version_that_nobody_speaks_is_refused(scene: Scene, alice: Far) -> None:
    assert alice.gives(alice.request("OPTIONS").replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1))[0] == "505"


def test_an_invite_without_contact_is_refused_and_its_ack_absorbed(scene: Scene, alice: Far) -> None:
    assert alice.invites(without="Contact") == ["100", "400", "PeerBroke RFC 3261 8.1.1.8"]
    assert alice.acks_failure() == []
    assert scene.leftovers() == {}


def test_options_without_hops_left_goes_up(scene: Scene, alice: Far) -> None:
    assert alice.sends("OPTIONS", headers="Max-Forwards: 0\r\n", without="Max-Forwards") == ["Incoming"]
    assert scene.does(Reply(request=scene.event(Incoming).request, status=200)) == ["200"]
    assert {"INVITE", "UPDATE"} <= scene.sent("200").allow
    assert scene.leftovers() == {}


def test_a_refusal_made_without_a_transaction_is_the_same_each_time_and_its_ack_no_surprise(
    scene: Scene, alice: Far
) -> None:
    invite = alice.request("INVITE", body=SDP, headers="Require: teleport\r\n")
    alice.gives(invite)
    first = scene.sent_raw("420")
    alice.gives(invite)
    assert scene.sent_raw("420") == first
    assert alice.acks_failure() == []


def test_an_ack_for_nothing_is_counted(alice: Far) -> None:
    assert alice.sends("ACK", to_tag="unknown") == ["PeerBroke RFC 3261 17.2.3: an ACK for nothing"]


def test_a_response_to_nothing_is_counted(alice: Far, scene: Scene) -> None:
    response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKno\r\nFrom: <sip:a@b>;tag=1\r\n"
    response += b"To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
    assert alice.gives(response) == ["PeerBroke RFC 3261 17.1.3: no such transaction"]


def test_a_merged_request_is_refused(scene: Scene, alice: Far) -> None:
    rings_in(scene, alice)
    assert alice.sends("INVITE", body=SDP, cseq=1) == ["482", "PeerBroke RFC 3261 8.2.2.2"]


def test_a_merged_request_is_refused_while_the_first_lingers_and_not_afterwards(
    scene: Scene, alice: Far
) -> None:
    scene.does(Reject(dialog=rings_in(scene, alice), status=486))
    alice.acks_failure()
    assert alice.sends("INVITE", body=SDP, cseq=1, to_tag="")[0] == "482"
    scene.run(40)
    assert alice.sends("INVITE", body=SDP, cseq=1, to_tag="") == ["100", "IncomingCall"]


def test_a_peer_of_rfc_2543_is_matched_by_all_that_its_copies_share(scene: Scene, alice: Far) -> None:
    invite = alice.request("INVITE", body=SDP, branch="1")
    assert alice.gives(invite) == ["100", "IncomingCall"]
    assert alice.gives(invite) == ["100"]
    scene.does(Reject(dialog=1, status=486))
    assert alice.sends("ACK", branch="1") == []
    assert scene.times(5, "486") == []


# ---------------------------------------------------------------- overload


def test_a_stack_that_sheds_refuses_new_calls_before_they_cost_anything(scene: Scene, alice: Far) -> None:
    scene.stack.shedding = 1.0
    assert alice.invites() == ["503", "PeerBroke our overload"]
    assert scene.sent("503").get("retry-after") == "5"
    assert not any(scene.stack.counts().values())


def test_a_stack_that_sheds_half_takes_every_other_call_and_all_that_is_inside_calls(
    scene: Scene, alice: Far
) -> None:
    is_answered(scene, alice)
    scene.stack.shedding = 0.5
    callers = [Far(scene, f"caller{number}", ALICE) for number in range(10)]
    assert [caller.invites()[0] for caller in callers] == ["100", "503"] * 5
    assert alice.sends("INFO") == ["Asked"]


def test_shedding_does_not_refuse_a_copy_of_a_call_that_was_taken(scene: Scene, alice: Far) -> None:
    invite = alice.request("INVITE", body=SDP)
    alice.gives(invite)
    scene.stack.shedding = 1.0
    assert alice.gives(invite) == ["100"]


def test_the_limit_of_dialogs_is_kept() -> None:
    scene = Scene(max_dialogs=3)
    callers = [Far(scene, f"caller{number}", ALICE) for number in range(5)]
    assert [caller.invites()[0] for caller in callers] == ["100", "100", "100", "503", "503"]


def test_the_limit_of_transactions_is_kept() -> None:
    scene = Scene(max_transactions=3)
    askers = [Far(scene, f"asker{number}", ALICE) for number in range(5)]
    assert [asker.sends("OPTIONS")[0] for asker in askers] == ["Incoming"] * 3 + ["503"] * 2


# ---------------------------------------------------------------- whatever a stranger sends

GOOD = Far(Scene(), "alice", ALICE).request("INVITE", body=SDP)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=0, max_size=4)), max_size=6),
    st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "PRACK", "REGISTER"]),
)
def test_no_damage_to_a_request_raises(cuts: list[tuple[int, bytes]], method: str) -> None:
    scene = Scene()
    alice = Far(scene, "alice", ALICE)
    is_answered(scene, alice)
    data = alice.request(method, body=SDP)
    for at, put in cuts:
        data = data[:at] + put + data[at + len(put) :]
    outputs = scene.does(Received(data, ALICE))
    assert len(outputs) <= 4


@settings(max_examples=150)
@given(
    st.sampled_from([100, 180, 183, 200, 302, 401, 422, 486, 503, 699]),
    st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=0, max_size=4)), max_size=4),
)
def test_no_damage_to_a_response_raises(status: int, cuts: list[tuple[int, bytes]]) -> None:
    scene = Scene()
    boris = Far(scene, "boris", BORIS)
    calls_out(scene)
    boris.answers(180)
    headers = "Require: 100rel, timer\r\nRSeq: 1\r\nSession-Expires: 90\r\nRecord-Route: <sip:p;lr>\r\n"
    data = boris.response(status, body=SDP, headers=headers)
    for at, put in cuts:
        data = data[:at] + put + data[at + len(put) :]
    assert len(scene.does(Received(data, BORIS))) <= 3


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert all(isinstance(output, PeerBroke) for output in Scene().stack.handle(Received(data, ALICE), 0.0))


@pytest.mark.parametrize("header", ["Session-Expires: soon", "Min-SE: x", 'Supported: a, "'])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_broken_header_that_matters_gets_400(alice: Far, scene: Scene, header: str, method: str) -> None:
    is_answered(scene, alice)
    alice.headers = ""
    assert "400" in alice.sends(method, headers=f"{header}\r\n", body=SDP)


@pytest.mark.parametrize("header", ["Record-Route: <", "Contact: <", 'Supported: a, "'])
def test_a_broken_header_of_a_new_call_gets_400_and_leaves_nothing(
    alice: Far, scene: Scene, header: str
) -> None:
    alice.headers = ""
    assert "400" in alice.invites(headers=f"{header}\r\n", without="Contact")
    alice.acks_failure()
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- connections that break


def test_a_response_whose_connection_broke_goes_to_the_address_in_the_via(scene: Scene) -> None:
    alice = Far(scene, "alice", ALICE_TCP)
    dialog = rings_in(scene, alice)
    scene.does(Reject(dialog=dialog, status=486))
    assert scene.fails(ALICE_TCP) == ["486"]
    again = scene.sent_raw("486").flow
    assert (again.remote, again.connection) == (("192.0.2.10", 5060), 0)
    assert scene.fails(again) == []
    assert scene.leftovers() == {}


def test_requests_outside_dialogs_are_answered_once(scene: Scene, alice: Far) -> None:
    register = alice.request("REGISTER")
    assert alice.gives(register) == ["Incoming"]
    assert alice.gives(register) == []
    asked = scene.event(Incoming)
    assert isinstance(asked.message, Request)
    headers = (("WWW-Authenticate", 'Digest realm="x", nonce="y"'),)
    assert scene.does(Reply(request=asked.request, status=401, headers=headers)) == ["401"]
    assert alice.gives(register) == ["401"]
    assert scene.leftovers() == {}


def test_what_the_call_layer_never_answers_is_given_up_with_its_sender(scene: Scene, alice: Far) -> None:
    alice.sends("OPTIONS")
    is_answered(scene, Far(scene, "carol", ALICE))
    request = scene.event(Incoming).request
    assert scene.leftovers(40)["dialogs"] == 1
    assert scene.stack.counts()["unanswered"] == 0
    assert scene.does(Reply(request=request, status=200)) == []


def test_a_copy_of_a_2xx_on_a_new_connection_is_acknowledged_there(scene: Scene) -> None:
    first = ALICE_TCP
    boris = Far(scene, "boris", first)
    calls_out(scene, flow=first)
    boris.answers(200, body=SDP)
    boris.flow = Flow(first.transport, first.local, ("192.0.2.10", 41000), connection=8)
    assert boris.answers(200, body=SDP) == ["ACK"]
    assert scene.sent_raw("ACK").flow == boris.flow
