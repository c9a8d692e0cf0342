"""UDP over real sockets: addresses, keep-alives, ICMP, floods (RFC 3261 section 18)."""

import asyncio
import itertools
import select
import socket
import struct

import psutil
import pytest
from aio_peers import OPTIONS, UDP, eventually, soon

from sipcore.aio import Listen, ListenError, PortInUse, Transports, udp
from sipcore.aio.stun import looks_like_stun
from sipcore.flow import Flow, Transport

ANY4 = Listen(Transport.UDP, "0.0.0.0", 0)
ANY6 = Listen(Transport.UDP, "::", 0)
BINDING_REQUEST = struct.pack("!HHI", 1, 0, 0x2112A442) + b"transaction1"


@pytest.fixture
def phone():
    """A plain UDP socket at 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        yield made


@pytest.fixture
def nobody():
    """An address where no one listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()


async def hears(phone):
    """The next datagram, and where it came from."""
    return await soon(receive(phone))


async def receive(phone):
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(phone, lambda: readable.done() or readable.set_result(None))
    await readable
    loop.remove_reader(phone)
    return phone.recvfrom(65_535)


async def test_a_datagram_comes_with_its_flow_and_the_flow_leads_back(side, phone):
    server = await side(UDP)
    phone.sendto(OPTIONS, server.at())
    data, flow = await server.gets()
    assert (data, flow) == (OPTIONS, Flow(Transport.UDP, server.at(), phone.getsockname()))
    server.send(flow, b"SIP/2.0 200 OK")
    assert await hears(phone) == (b"SIP/2.0 200 OK", server.at())


@pytest.mark.parametrize("called", ["127.0.0.1", "127.0.0.2", "127.9.9.9"])
async def test_with_a_wildcard_the_answer_leaves_from_the_address_that_was_called(side, phone, called):
    server = await side(ANY4)
    phone.sendto(OPTIONS, (called, server.at()[1]))
    _, flow = await server.gets()
    assert flow.local == (called, server.at()[1])
    server.send(flow, b"SIP/2.0 200 OK")
    assert await hears(phone) == (b"SIP/2.0 200 OK", flow.local)


async def test_ipv6_with_a_wildcard_tells_the_address_that_was_called(side):
    server, caller = await side(ANY6), await side(Listen(Transport.UDP, "::1", 0))
    caller.send(caller.flow_to(Transport.UDP, ("::1", server.at()[1])))
    data, flow = await server.gets()
    assert (data, flow) == (OPTIONS, Flow(Transport.UDP, ("::1", server.at()[1]), caller.at()))
    server.send(flow, b"SIP/2.0 200 OK")
    assert await caller.gets() == (b"SIP/2.0 200 OK", Flow(Transport.UDP, caller.at(), flow.local))


async def test_both_families_can_have_the_same_port(side):
    first = await side(ANY4)
    second = await side(Listen(Transport.UDP, "::", first.at()[1]))
    assert second.at() == ("::", first.at()[1])


async def test_a_flow_kept_from_before_a_restart_sends_from_its_address(side, phone):
    server = await side(ANY4)
    server.send(Flow(Transport.UDP, ("127.0.0.3", server.at()[1]), phone.getsockname()))
    assert await hears(phone) == (OPTIONS, ("127.0.0.3", server.at()[1]))


async def test_messages_take_the_listener_of_their_flow(side, phone):
    server = await side(UDP, Listen(Transport.UDP, "127.0.0.2", 0))
    for _, local in server.transports.local_addresses():
        server.send(Flow(Transport.UDP, local, phone.getsockname()))
        assert await hears(phone) == (OPTIONS, local)


@pytest.mark.parametrize("listen", [UDP, ANY4], ids=["bound", "wildcard"])
async def test_icmp_fails_the_flow_and_nothing_else(side, phone, nobody, listen):
    server = await side(listen)
    flow = Flow(Transport.UDP, ("127.0.0.1", server.at()[1]), nobody)
    server.send(flow)
    assert await server.hears_of_failure() == (flow, "Connection refused")
    assert server.counters.icmp_errors == 1
    phone.sendto(OPTIONS, ("127.0.0.1", server.at()[1]))
    assert (await server.gets())[0] == OPTIONS


async def test_icmp_errors_that_wait_do_not_swallow_what_is_sent_next(side, phone, nobody):
    server = await side(UDP)
    for _ in range(20):  # no turn for the loop in between: each error meets the sending of the next
        server.send(server.flow_to(Transport.UDP, nobody))
        server.send(server.flow_to(Transport.UDP, phone.getsockname()))
    assert [(await hears(phone))[0] for _ in range(20)] == [OPTIONS] * 20


async def test_a_message_too_long_for_a_datagram_fails_and_does_not_keep_the_loop_busy(side, phone):
    server = await side(UDP)
    flow = server.flow_to(Transport.UDP, phone.getsockname())
    server.send(flow, b"x" * 65_520)
    assert await server.hears_of_failure() == (flow, "Message too long")
    (listener,) = server.transports._udp
    await eventually(lambda: select.select([listener._epoll], [], [], 0) == ([], [], []))


@pytest.mark.parametrize(
    "remote", [("sip.example.test", 5060), ("::1", 5060), ("", 5060), ("127.0.0.1 ", 5060)]
)
async def test_a_destination_that_is_no_address_of_the_family_fails_at_once(side, remote):
    server = await side(UDP)
    server.send(server.flow_to(Transport.UDP, remote))
    assert server.failed.empty()  # never from inside send
    assert (await server.hears_of_failure())[0].remote == remote


async def test_a_local_address_that_we_do_not_have_fails(side, phone):
    server = await side(UDP)
    flow = Flow(Transport.UDP, ("127.0.0.1", 1), phone.getsockname())
    server.send(flow)
    assert await server.hears_of_failure() == (flow, "we do not listen there any more")


@pytest.mark.parametrize("keep_alive", [b"\r\n\r\n", b"\r\n", b"", b"\0\0\0\0", b"\r\n" * 50])
async def test_keep_alives_are_no_business_of_the_stack(side, phone, keep_alive):
    server = await side(UDP)
    phone.sendto(keep_alive, server.at())
    phone.sendto(OPTIONS, server.at())
    assert (await server.gets())[0] == OPTIONS
    assert server.counters.keep_alives == 1


async def test_line_ends_before_a_message_do_not_hide_it(side, phone):
    server = await side(UDP)
    phone.sendto(b"\r\n\r\n" + OPTIONS, server.at())
    assert (await server.gets())[0] == b"\r\n\r\n" + OPTIONS


@pytest.mark.parametrize("listen", [UDP, ANY4], ids=["bound", "wildcard"])
async def test_a_stun_request_on_the_sip_port_is_answered(side, phone, listen):
    server = await side(listen)
    phone.sendto(BINDING_REQUEST, ("127.0.0.1", server.at()[1]))
    answer, _ = await hears(phone)
    assert looks_like_stun(answer)
    port = int.from_bytes(answer[26:28]) ^ 0x2112
    host = int.from_bytes(answer[28:32]) ^ 0x2112A442
    assert (host.to_bytes(4), port) == (bytes([127, 0, 0, 1]), phone.getsockname()[1])


async def test_malformed_stun_is_dropped_and_counted(side, phone):
    server = await side(UDP)
    phone.sendto(BINDING_REQUEST + b"junk", server.at())
    phone.sendto(OPTIONS, server.at())
    assert (await server.gets())[0] == OPTIONS
    assert server.counters.stun_dropped == 1


async def test_a_flood_leaves_the_loop_its_turns(side, phone):
    server = await side(UDP)
    turns = []
    for number in range(3 * udp.DATAGRAMS_A_WAKE):
        phone.sendto(b"flood %d" % number, server.at())
    loop = asyncio.get_running_loop()

    def turn():
        turns.append(server.received.qsize())
        turns[-1] < 3 * udp.DATAGRAMS_A_WAKE and loop.call_soon(turn)

    loop.call_soon(turn)
    await eventually(lambda: server.received.qsize() == 3 * udp.DATAGRAMS_A_WAKE)
    steps = {later - earlier for earlier, later in itertools.pairwise(turns)}
    assert max(steps) <= udp.DATAGRAMS_A_WAKE


async def test_a_hundred_thousand_garbage_datagrams_leave_nothing_behind(complaints):
    seen = 0

    def forget(data, flow):
        nonlocal seen
        seen += 1

    transports = Transports([ANY4], forget, print)
    await transports.start()
    ((_, (_, port)),) = transports.local_addresses()
    garbage = [b"\xff" * 200, b"INVITE", b"\1" * 30, BINDING_REQUEST + b"x", b" " * 900]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooder:
        flooder.connect(("127.0.0.1", port))
        before = after = 0
        for sent in range(100, 100_001, 100):
            for number in range(100):
                flooder.send(garbage[number % 5])
            await eventually(lambda goal=sent: transports.counters.datagrams == goal, look_every_s=0)
            after = psutil.Process().memory_info().rss
            before = before or after
    await transports.close()
    assert (seen, transports.counters.stun_dropped) == (80_000, 20_000)
    assert after - before < 4_000_000


async def test_forged_addresses_do_not_grow_what_is_remembered(side, monkeypatch):
    monkeypatch.setattr(udp, "KNOWN_PEERS", 8)
    server = await side(ANY4)
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passer_by:
            passer_by.sendto(OPTIONS, ("127.0.0.1", server.at()[1]))
            server.send((await server.gets())[1], b"SIP/2.0 200 OK")
    (listener,) = server.transports._udp
    kept = (listener._flows, listener._peers, listener._sent, listener._sources)
    assert max(len(memory) for memory in kept) <= 8


class FullSocket:
    """A socket whose send buffer is full until `full` is taken back."""

    def __init__(self, real):
        self._real = real
        self.full = True

    def sendto(self, data, peer):
        if self.full:
            raise BlockingIOError
        return self._real.sendto(data, peer)

    def __getattr__(self, name):
        return getattr(self._real, name)


async def test_what_a_full_socket_does_not_take_waits_bounded_and_in_order(side, phone, monkeypatch):
    monkeypatch.setattr(udp, "WAITING_DATAGRAMS", 3)
    server = await side(UDP)
    (listener,) = server.transports._udp
    listener._socket = full = FullSocket(listener._socket)
    flow = server.flow_to(Transport.UDP, phone.getsockname())
    for number in range(5):
        server.send(flow, b"%d" % number)
    assert server.counters.datagrams_dropped == 2
    full.full = False
    server.send(flow, b"one more is refused too, lest it overtake")
    assert [(await hears(phone))[0] for _ in range(3)] == [b"0", b"1", b"2"]
    server.send(flow, b"5")
    assert (await hears(phone))[0] == b"5"


async def test_a_port_that_is_taken_is_an_error_with_a_remedy(side, complaints):
    first = await side(UDP)
    second = Transports([Listen(Transport.UDP, *first.at())], print, print)
    with pytest.raises(PortInUse) as caught:
        await second.start()
    assert caught.value.where == f"UDP 127.0.0.1:{first.at()[1]}"
    assert "ss -lpn" in caught.value.remedy


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        (Listen(Transport.UDP, "192.0.2.99", 5060), "this machine does not have this address"),
        (Listen(Transport.UDP, "sip.example.test", 5060), "'sip.example.test' is no IP address"),
        (Listen(Transport.UDP, "127.0.0.1", 65_536), "there is no such port"),
        (Listen(Transport.TLS, "127.0.0.1", 0), "the certificate does not fit the transport"),
    ],
)
async def test_an_address_that_cannot_be_had_is_an_error_that_says_why(complaints, listen, problem):
    transports = Transports([UDP, listen], print, print)
    with pytest.raises(ListenError) as caught:
        await transports.start()
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    ("listen", "remote_host", "expected"),
    [
        (ANY4, "127.0.0.1", "127.0.0.1"),
        (ANY6, "::1", "::1"),
        (UDP, "127.0.0.77", "127.0.0.1"),
        (UDP, "::1", None),
        (ANY4, "sip.example.test", None),
    ],
)
async def test_the_address_to_send_from_is_a_real_one(side, listen, remote_host, expected):
    server = await side(listen)
    local = server.transports.local_for(Transport.UDP, remote_host)
    assert local == (expected and (expected, server.at()[1]))
    assert server.transports.local_for(Transport.TCP, remote_host) is None
