"""Where our requests go and what is tried when they fail (RFC 3261 8.1, 18.1.1, 22.2; RFC 3263 4.3)."""

from __future__ import annotations

import ipaddress

import pytest
from stack_script import BORIS, HERE, OTHER_SDP, SDP, Far, Scene, calls_out, is_answered, reaches

from sipcore.events import (
    Aliased,
    Ask,
    Asked,
    Credentials,
    HangUp,
    Invite,
    Replied,
    Reply,
    RequestId,
    Resolve,
    Resolved,
    Send,
    TargetFailed,
)
from sipcore.flow import Flow, Transport
from sipcore.settings import Local

CAROL = Flow(Transport.UDP, HERE, ("192.0.2.30", 5060))
BY_NAME = "sip:boris@phones.example.com"
CREDENTIALS = Credentials("trunk", "secret")
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="{nonce}", algorithm=MD5, qop="auth"{stale}\r\n'


def challenge(nonce: str = "n1", stale: bool = False) -> str:
    return CHALLENGE.format(nonce=nonce, stale=", stale=true" if stale else "")


def invite(scene: Scene, **parts: object) -> list[str]:
    dialog = scene.stack.new_id()
    wanted = {"uri": BY_NAME, "from_": "<sip:a@b>", "to": "<sip:c@d>", "body": SDP} | parts
    return scene.does(Invite(dialog=dialog, **wanted))


def resolves(scene: Scene, *flows: Flow) -> list[str]:
    return scene.does(Resolved(scene.event(Resolve).query, flows))


def send(scene: Scene, **parts: object) -> list[str]:
    wanted = {"method": "OPTIONS", "uri": "sip:192.0.2.20", "from_": "<sip:a@b>", "to": "<sip:c@d>"} | parts
    return scene.does(Send(request=RequestId(scene.stack.new_id()), **wanted))


# ---------------------------------------------------------------- names


def test_a_name_is_resolved_first(scene: Scene) -> None:
    assert invite(scene) == [f"Resolve {BY_NAME}"]
    assert resolves(scene, BORIS) == ["INVITE"]
    assert (scene.sent_raw("INVITE").flow, scene.sent("INVITE").uri) == (BORIS, BY_NAME)


def test_the_first_route_decides(scene: Scene) -> None:
    assert invite(scene, route=("<sip:192.0.2.30;lr>", "<sip:far.example.com;lr>")) == ["INVITE"]
    request = scene.sent("INVITE")
    assert scene.sent_raw("INVITE").flow == CAROL
    assert [route.uri for route in request.routes] == ["sip:192.0.2.30;lr", "sip:far.example.com;lr"]


def test_a_strict_router_gets_its_own_uri(scene: Scene) -> None:
    invite(scene, route=("<sip:192.0.2.30>", "<sip:far.example.com;lr>"))
    request = scene.sent("INVITE")
    assert request.uri == "sip:192.0.2.30"
    assert [route.uri for route in request.routes] == ["sip:far.example.com;lr", BY_NAME]


def test_a_name_that_leads_nowhere_fails(scene: Scene) -> None:
    invite(scene)
    assert resolves(scene) == ["Failed 503"]
    assert scene.leftovers() == {}


def test_hanging_up_while_a_name_is_resolved(scene: Scene) -> None:
    invite(scene)
    assert scene.does(HangUp(dialog=scene.stack.new_id() - 2)) == ["Failed 487"]
    assert resolves(scene, BORIS) == []
    assert scene.leftovers() == {}


@pytest.mark.parametrize("uri", ["tel:+4930123", "sip:", "http://x"])
def test_a_uri_that_leads_nowhere_fails(scene: Scene, uri: str) -> None:
    assert invite(scene, uri=uri)[-1] in ("Failed 503", f"Resolve {uri}")


@pytest.mark.parametrize(
    ("uri", "transport", "port"),
    [
        ("sip:boris@192.0.2.20", Transport.UDP, 5060),
        ("sip:boris@192.0.2.20:5070;transport=tcp", Transport.TCP, 5070),
        ("sip:boris@192.0.2.20;transport=tls", Transport.TLS, 5061),
        ("sips:boris@192.0.2.20", Transport.TLS, 5061),
        ("sips:boris@192.0.2.20;transport=tcp", Transport.TLS, 5061),
        ("sip:boris@x.example.com;maddr=192.0.2.20", Transport.UDP, 5060),
    ],
)
def test_an_address_is_reached_as_its_uri_says(uri: str, transport: Transport, port: int) -> None:
    scene = Scene(locals=tuple(Local(each, *HERE) for each in Transport))
    assert invite(scene, uri=uri) == ["INVITE"]
    flow = scene.sent_raw("INVITE").flow
    assert (flow.transport, flow.remote) == (transport, ("192.0.2.20", port))
    assert scene.sent("INVITE").via.transport == transport
    assert scene.sent("INVITE").contacts[0].uri.startswith("sips:" if uri.startswith("sips:") else "sip:")


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize(
    ("transport", "params", "ports"),
    [(Transport.TLS, ";alias", [5062]), (Transport.TLS, "", []), (Transport.TCP, ";alias", [])],
)
def test_a_connection_that_the_peer_offers_is_told_where_it_may_prove_who_it_is(
    scene: Scene, transport: Transport, params: str, ports: list[int]
) -> None:
    alice = Far(scene, "alice", Flow(transport, HERE, ("192.0.2.10", 40123), connection=7))
    alice.gives(alice.request("OPTIONS").replace(b":5060;branch", f":5062{params};branch".encode(), 1))
    aliases = [output for output in scene.last if isinstance(output, Aliased)]
    assert aliases == [Aliased(alice.flow, port) for port in ports]


# ---------------------------------------------------------------- failover


def test_a_flow_that_fails_is_followed_by_the_next_with_a_new_branch(scene: Scene, boris: Far) -> None:
    invite(scene)
    resolves(scene, CAROL, BORIS)
    first = scene.sent("INVITE")
    assert scene.fails(CAROL) == ["INVITE"]
    second = scene.sent("INVITE")
    assert scene.sent_raw("INVITE").flow == BORIS
    assert (first.call_id, first.cseq) == (second.call_id, second.cseq)
    assert first.via.branch != second.via.branch
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]


def test_a_503_is_followed_by_the_next(scene: Scene, boris: Far) -> None:
    invite(scene)
    resolves(scene, CAROL, BORIS)
    boris.flow = CAROL
    assert boris.answers(503) == ["ACK", "TargetFailed", "INVITE"]
    assert scene.event(TargetFailed) == TargetFailed(CAROL)


def test_silence_is_followed_by_the_next(scene: Scene) -> None:
    invite(scene)
    resolves(scene, CAROL, BORIS)
    assert scene.run(32)[-2:] == [(32.0, "TargetFailed"), (32.0, "INVITE")]
    assert scene.event(TargetFailed) == TargetFailed(CAROL)
    assert scene.sent_raw("INVITE").flow == BORIS
    assert scene.run(32)[-1] == (32.0, "Failed 408")


@pytest.mark.parametrize(
    ("header", "for_s"), [("Retry-After: 120 (at lunch)\r\n", 120), ("Retry-After: soon\r\n", 0)]
)
def test_a_503_may_say_how_long_to_stay_away(scene: Scene, boris: Far, header: str, for_s: int) -> None:
    invite(scene)
    resolves(scene, BORIS, CAROL)
    assert boris.answers(503, headers=header)[-1] == "INVITE"
    assert scene.event(TargetFailed) == TargetFailed(BORIS, for_s)


def test_a_flow_that_was_given_is_nobodys_target(scene: Scene) -> None:
    send(scene, flow=BORIS)
    assert [output for _, output in scene.run(40) if output not in ("OPTIONS",)] == ["Replied 408"]


@pytest.mark.parametrize("status", [404, 486, 500, 603])
def test_other_refusals_are_no_reason_to_try_elsewhere(scene: Scene, boris: Far, status: int) -> None:
    invite(scene)
    resolves(scene, BORIS, CAROL)
    assert boris.answers(status) == ["ACK", f"Failed {status}"]


def test_the_last_503_is_told(scene: Scene, boris: Far) -> None:
    invite(scene)
    resolves(scene, BORIS)
    assert boris.answers(503) == ["ACK", "TargetFailed", "Failed 503"]


def test_when_every_flow_fails_it_is_told(scene: Scene) -> None:
    invite(scene)
    resolves(scene, CAROL, BORIS)
    scene.fails(CAROL)
    assert scene.fails(BORIS) == ["Failed 503"]
    assert scene.leftovers() == {}


def test_a_name_with_a_hundred_addresses_is_not_walked_to_its_end(scene: Scene) -> None:
    invite(scene)
    flows = [Flow(Transport.UDP, HERE, (f"192.0.2.{host}", 5060)) for host in range(100, 200)]
    resolves(scene, *flows)
    outputs = [scene.fails(flow) for flow in flows]
    assert outputs.count(["INVITE"]) == 7
    assert outputs.count(["Failed 503"]) == 1


def test_after_hanging_up_no_other_target_is_tried(scene: Scene) -> None:
    invite(scene)
    resolves(scene, CAROL, BORIS)
    scene.does(HangUp(dialog=1))
    assert scene.fails(CAROL) == ["Failed 487"]


def test_a_request_outside_dialogs_fails_over_too(scene: Scene) -> None:
    send(scene, uri=BY_NAME)
    resolves(scene, CAROL, BORIS)
    assert scene.fails(CAROL) == ["OPTIONS"]
    assert scene.fails(BORIS) == ["Replied 503"]


def test_a_request_in_a_dialog_whose_connection_broke_opens_another(scene: Scene) -> None:
    tcp = Flow(Transport.TCP, HERE, ("192.0.2.10", 40123), connection=7)
    alice = Far(scene, "alice", tcp)
    alice.contact = "<sip:alice@192.0.2.10:5060;transport=tcp>"
    dialog = is_answered(scene, alice)
    assert scene.does(HangUp(dialog=dialog)) == ["BYE", "Ended OUR_BYE"]
    assert scene.sent_raw("BYE").flow == tcp
    assert scene.fails(tcp) == ["BYE"]
    assert scene.sent_raw("BYE").flow == Flow(Transport.TCP, HERE, ("192.0.2.10", 5060))
    scene.fails(scene.sent_raw("BYE").flow)
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- size


def test_a_request_too_long_for_a_datagram_goes_over_tcp_and_falls_back(scene: Scene, boris: Far) -> None:
    calls_out(scene, body=SDP + b"a=x:" + b"y" * 900 + b"\r\n")
    assert scene.sent_raw("INVITE").flow.transport is Transport.TCP
    assert scene.sent("INVITE").via.transport == "TCP"
    assert scene.fails(scene.sent_raw("INVITE").flow) == ["INVITE"]
    assert (scene.sent_raw("INVITE").flow.transport, scene.sent("INVITE").via.transport) == ("UDP", "UDP")
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"max_datagram_bytes": 0}, {}),
        ({"locals": (Local(Transport.UDP, *HERE),)}, {}),
        ({}, {"uri": "sip:boris@192.0.2.20;transport=udp"}),
        ({}, {"flow": BORIS}),
    ],
)
def test_a_long_request_stays_with_udp_where_tcp_is_no_choice(settings: dict, parts: dict) -> None:
    scene = Scene(**settings)
    calls_out(scene, body=SDP + b"a=x:" + b"y" * 900 + b"\r\n", **parts)
    assert scene.sent_raw("INVITE").flow.transport is Transport.UDP


# ---------------------------------------------------------------- challenges


def test_a_challenge_is_answered_once(scene: Scene, boris: Far) -> None:
    calls_out(scene, credentials=CREDENTIALS)
    first = scene.sent("INVITE")
    assert boris.answers(401, headers=challenge()) == ["ACK", "INVITE"]
    second = scene.sent("INVITE")
    assert (second.cseq.number, second.call_id, second.from_) == (2, first.call_id, first.from_)
    assert second.via.branch != first.via.branch
    assert 'username="trunk"' in (second.get("authorization") or "")
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]
    ack = scene.sent("ACK")
    assert (ack.cseq.number, ack.get("authorization")) == (2, second.get("authorization"))


def test_the_same_challenge_again_means_a_wrong_password(scene: Scene, boris: Far) -> None:
    calls_out(scene, credentials=CREDENTIALS)
    boris.answers(401, headers=challenge())
    assert boris.answers(401, headers=challenge("n2")) == ["ACK", "Failed 401"]


def test_a_nonce_that_is_only_too_old_is_answered_once_more(scene: Scene, boris: Far) -> None:
    calls_out(scene, credentials=CREDENTIALS)
    boris.answers(401, headers=challenge())
    assert boris.answers(401, headers=challenge("n2", stale=True)) == ["ACK", "INVITE"]
    assert boris.answers(401, headers=challenge("n3", stale=True)) == ["ACK", "Failed 401"]


def test_without_credentials_a_challenge_is_a_failure(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    assert boris.answers(407, headers=challenge().replace("WWW-", "Proxy-")) == ["ACK", "Failed 407"]


@pytest.mark.parametrize(
    "header", ["", "WWW-Authenticate: Basic realm=x\r\n", "WWW-Authenticate: Digest\r\n"]
)
def test_a_challenge_that_cannot_be_answered_is_a_failure(scene: Scene, boris: Far, header: str) -> None:
    calls_out(scene, credentials=CREDENTIALS)
    assert boris.answers(401, headers=header) == ["ACK", "Failed 401"]


def test_a_challenged_bye_is_sent_again(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris, credentials=CREDENTIALS)
    scene.does(HangUp(dialog=dialog))
    assert boris.answers(407, "BYE", headers=challenge().replace("WWW-", "Proxy-")) == ["BYE"]
    assert scene.sent("BYE").get("proxy-authorization")
    assert scene.sent("BYE").cseq.number == 3


def test_a_challenged_re_invite_keeps_the_cseq_of_the_dialog_growing(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris, credentials=CREDENTIALS)
    ask = Ask(dialog=dialog, request=RequestId(50), method="INVITE", body=OTHER_SDP)
    scene.does(ask)
    assert boris.answers(401, headers=challenge()) == ["ACK", "INVITE"]
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200"]
    scene.does(HangUp(dialog=dialog))
    assert scene.sent("BYE").cseq.number == 4


def test_a_challenged_update_of_an_early_dialog_counts_in_that_dialog(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene, credentials=CREDENTIALS)
    boris.answers(183)
    scene.does(Ask(dialog=dialog, request=RequestId(50), method="UPDATE"))
    assert boris.answers(401, "UPDATE", headers=challenge()) == ["UPDATE"]
    assert boris.answers(200, "UPDATE") == ["Replied 200"]
    scene.does(Ask(dialog=dialog, request=RequestId(51), method="UPDATE"))
    assert scene.sent("UPDATE").cseq.number == 4


def test_the_answer_to_a_re_invite_whose_connection_broke_goes_elsewhere(scene: Scene) -> None:
    tcp = Flow(Transport.TCP, HERE, ("192.0.2.10", 40123), connection=7)
    alice = Far(scene, "alice", tcp)
    is_answered(scene, alice)
    alice.invites(body=OTHER_SDP)
    request = scene.event(Asked).request
    scene.does(Reply(request=request, status=200, body=SDP, content_type="application/sdp"))
    assert scene.fails(tcp) == ["200"]
    assert scene.sent_raw("200").flow.remote == ("192.0.2.10", 5060)
    assert scene.times(1, "200") == [0.5]


def test_a_request_outside_dialogs_is_challenged_and_told_once(scene: Scene, boris: Far) -> None:
    send(scene, method="REGISTER", credentials=CREDENTIALS, call_id="mine", cseq=17)
    assert boris.answers(401, "REGISTER", headers=challenge()) == ["REGISTER"]
    request = scene.sent("REGISTER")
    assert (request.call_id, request.cseq.number) == ("mine", 18)
    assert boris.answers(200, "REGISTER") == ["Replied 200"]
    assert scene.event(Replied).response.status == 200
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- who we say we are


NATTED = Local(Transport.UDP, "0.0.0.0", 5060, "198.51.100.1", 5070)
LAN = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("remote", "named"),
    [("10.0.0.77", "10.0.0.1:5060"), ("203.0.113.5", "198.51.100.1:5070")],
)
def test_peers_near_and_far_are_told_different_addresses(remote: str, named: str) -> None:
    scene = Scene(locals=(NATTED,), local_networks=LAN)
    far = Far(scene, "alice", Flow(Transport.UDP, ("10.0.0.1", 5060), (remote, 5060)))
    dialog = is_answered(scene, far)
    assert scene.sent("200").contacts[0].uri == f"sip:{named}"
    scene.does(HangUp(dialog=dialog))
    assert scene.sent("BYE").via.sent_by == named


def test_ipv6_is_written_in_brackets() -> None:
    scene = Scene(locals=(Local(Transport.UDP, "2001:db8::1", 5060),))
    assert invite(scene, uri="sip:boris@[2001:db8::2]") == ["INVITE"]
    request = scene.sent("INVITE")
    assert (request.via.sent_by, request.contacts[0].uri) == ("[2001:db8::1]:5060", "sip:[2001:db8::1]:5060")


def test_a_silent_server_says_no_name() -> None:
    scene = Scene(server_name="", contact_user="pbx")
    calls_out(scene)
    assert scene.sent("INVITE").get("user-agent") is None
    assert scene.sent("INVITE").contacts[0].uri == "sip:pbx@192.0.2.1:5060"
