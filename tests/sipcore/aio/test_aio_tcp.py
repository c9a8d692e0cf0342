"""TCP over real sockets: framing, reuse, failures, limits (RFC 3261 section 18, RFC 5626, RFC 5923)."""

import asyncio
import contextlib
import resource
import socket

import pytest
from aio_peers import OK, OPTIONS, TCP, WS, a_turn, eventually, numbered, soon

from sipcore.aio import Limits, Listen
from sipcore.flow import Flow, Transport


@pytest.fixture
async def connect(complaints):
    """Opens plain connections, as a phone would."""
    writers = []

    async def opened(address):
        reader, writer = await asyncio.open_connection(*address)
        writers.append(writer)
        return reader, writer

    yield opened
    for writer in writers:
        writer.transport.abort()


def a_port_of_nobody():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()


async def is_closed(reader):
    """Wait until the far side has closed the connection; what it wrote before."""
    with contextlib.suppress(ConnectionError):
        return await soon(reader.read())


# ---------------------------------------------------------------- messages


async def test_messages_come_out_whole_however_the_stream_is_split(side, connect):
    server = await side(TCP)
    _, writer = await connect(server.at())
    for octet in numbered(1) + numbered(2):
        writer.write(bytes([octet]))
        await writer.drain()
    assert [(await server.gets())[0] for _ in range(2)] == [numbered(1), numbered(2)]


async def test_messages_that_come_in_one_piece_are_cut_apart(side, connect):
    server = await side(TCP)
    _, writer = await connect(server.at())
    writer.write(b"".join(numbered(number) for number in range(100)))
    assert [(await server.gets())[0] for _ in range(100)] == [numbered(number) for number in range(100)]


async def test_the_flow_of_a_message_leads_back_over_its_connection(side, connect):
    server = await side(TCP)
    reader, writer = await connect(server.at())
    writer.write(OPTIONS)
    _, flow = await server.gets()
    assert (flow.local, flow.remote) == (server.at(), writer.get_extra_info("sockname"))
    server.send(flow, OK)
    assert await soon(reader.readexactly(len(OK))) == OK


async def test_what_cannot_be_cut_into_messages_ends_the_connection(side, connect):
    server = await side(TCP)
    reader, writer = await connect(server.at())
    writer.write(OPTIONS + b"GET / HTTP/1.1\r\nHost: sip.example.test\r\n\r\n" + OPTIONS)
    assert await is_closed(reader) == b""
    assert (await server.gets())[0] == OPTIONS
    assert (server.received.qsize(), server.counters.bad_framing) == (0, 1)


# ---------------------------------------------------------------- our own connections


async def test_one_connection_serves_both_directions_and_all_messages(side):
    caller, callee = await side(TCP), await side(TCP)
    to_callee = caller.flow_to(Transport.TCP, callee.at())
    for number in range(10):  # the first of them wait for the connection
        caller.send(to_callee, numbered(number))
    arrived = [await callee.gets() for _ in range(10)]
    assert [data for data, _ in arrived] == [numbered(number) for number in range(10)]
    assert len({flow for _, flow in arrived}) == 1
    callee.send(arrived[0][1], OK)
    data, flow = await caller.gets()
    assert (data, flow.remote, flow.local) == (OK, callee.at(), caller.at())
    caller.send(to_callee, OPTIONS)
    caller.send(flow, OPTIONS)
    assert [(await callee.gets())[1] for _ in range(2)] == [arrived[0][1]] * 2
    assert (caller.counters.opened, callee.counters.accepted) == (1, 1)


async def test_messages_over_ipv6(side):
    here = Listen(Transport.TCP, "::1", 0)
    caller, callee = await side(here), await side(here)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    data, flow = await callee.gets()
    assert (data, flow.local) == (OPTIONS, callee.at())


async def test_a_connection_leaves_from_the_address_of_its_flow(side):
    caller, callee = await side(Listen(Transport.TCP, "127.0.0.2", 0)), await side(TCP)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    assert (await callee.gets())[1].remote[0] == "127.0.0.2"


async def test_a_flow_without_connection_finds_the_one_that_the_peer_opened(side, connect):
    server = await side(TCP)
    reader, writer = await connect(server.at())
    writer.write(OPTIONS)
    _, flow = await server.gets()
    server.send(server.flow_to(Transport.TCP, flow.remote), OK)
    assert await soon(reader.readexactly(len(OK))) == OK
    assert server.counters.opened == 0


async def test_a_refused_connection_fails_each_flow_that_waited_once(side):
    caller = await side(TCP)
    flow = caller.flow_to(Transport.TCP, a_port_of_nobody())
    other = caller.flow_to(Transport.TCP, flow.remote, server_name="sip.example.test")
    for sent in (flow, flow, other, flow):
        caller.send(sent)
    failures = [await caller.hears_of_failure() for _ in range(2)]
    assert set(failures) == {(flow, "Connection refused"), (other, "Connection refused")}
    assert caller.failed.empty()


async def test_after_a_refusal_the_next_message_tries_again(side):
    caller = await side(TCP)
    remote = a_port_of_nobody()
    flow = caller.flow_to(Transport.TCP, remote)
    caller.send(flow)
    await caller.hears_of_failure()
    callee = await side(Listen(Transport.TCP, *remote))
    caller.send(flow)
    assert (await callee.gets())[0] == OPTIONS


async def test_a_lost_connection_fails_under_every_name_it_was_used_by(side):
    caller, callee = await side(TCP), await side(TCP)
    to_callee = caller.flow_to(Transport.TCP, callee.at())
    caller.send(to_callee)
    _, at_callee = await callee.gets()
    callee.send(at_callee, OK)
    _, at_caller = await caller.gets()
    callee.transports.disconnect(at_callee, "not wanted here")
    assert await callee.hears_of_failure() == (at_callee, "not wanted here")
    failures = [await caller.hears_of_failure() for _ in range(2)]
    assert {flow for flow, _ in failures} == {to_callee, at_caller}
    assert {why for _, why in failures} == {"the far side closed the connection"}
    caller.send(at_caller)
    assert await caller.hears_of_failure() == (at_caller, "the connection is gone")


async def test_a_connection_of_an_earlier_life_is_gone(side):
    server = await side(TCP)
    flow = server.flow_to(Transport.TCP, ("127.0.0.1", 5060), connection=7)
    server.send(flow)
    assert server.failed.empty()  # never from inside send
    assert await server.hears_of_failure() == (flow, "the connection is gone")


async def test_the_number_of_another_connection_does_not_lead_there(side):
    caller, callee = await side(TCP), await side(TCP)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    _, flow = await callee.gets()
    restored = callee.flow_to(Transport.TCP, ("192.0.2.1", 5060), connection=flow.connection)
    callee.send(restored)
    assert await callee.hears_of_failure() == (restored, "the connection is gone")


async def test_messages_keep_their_order_whatever_the_state_of_the_connection(side):
    caller, callee = await side(TCP, limits=Limits(waiting_messages=1_000)), await side(TCP)
    flow = caller.flow_to(Transport.TCP, callee.at())
    for number in range(500):  # one in each turn of the loop, while the connection comes to stand
        caller.send(flow, numbered(number))
        await a_turn()
    assert [(await callee.gets())[0] for _ in range(500)] == [numbered(number) for number in range(500)]


async def test_what_waits_for_a_connection_is_bounded(side):
    caller, callee = await side(TCP, limits=Limits(waiting_messages=3)), await side(TCP)
    flow = caller.flow_to(Transport.TCP, callee.at())
    for number in range(5):
        caller.send(flow, numbered(number))
    assert [(await callee.gets())[0] for _ in range(3)] == [numbered(number) for number in range(3)]
    why = "too many messages wait for the connection"
    assert [await caller.hears_of_failure() for _ in range(2)] == [(flow, why)] * 2


@pytest.mark.parametrize("remote", [("sip.example.test", 5060), ("::1", 5060), ("", 5060)])
async def test_a_destination_that_cannot_be_connected_to_fails(side, remote):
    caller = await side(TCP)
    flow = caller.flow_to(Transport.TCP, remote)
    caller.send(flow)
    assert (await caller.hears_of_failure())[0] == flow


async def test_closing_while_a_connection_is_being_opened_leaves_nothing(side):
    caller, callee = await side(TCP), await side(TCP)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    await caller.transports.close()
    assert caller.failed.empty()


# ---------------------------------------------------------------- keep-alives


async def test_a_double_crlf_is_answered_with_one_and_kept_from_the_stack(side, connect):
    server = await side(TCP)
    reader, writer = await connect(server.at())
    writer.write(b"\r\n\r\n" + OPTIONS)
    assert await soon(reader.readexactly(2)) == b"\r\n"
    assert (await server.gets())[0] == OPTIONS


async def test_our_connections_are_pinged(side):
    caller, callee = await side(TCP, limits=Limits(ping_s=0.05)), await side(TCP)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    await callee.gets()
    await eventually(lambda: caller.counters.keep_alives >= 2)  # pongs
    assert caller.failed.empty()


async def test_a_peer_that_does_not_pong_loses_its_connection(side):
    accepted = []
    silent = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    caller = await side(TCP, limits=Limits(ping_s=0.05, pong_s=0.05, pong_required=True))
    flow = caller.flow_to(Transport.TCP, silent.sockets[0].getsockname())
    caller.send(flow)
    failures = [await caller.hears_of_failure() for _ in range(2)]
    assert {why for _, why in failures} == {"no answer to a keep-alive in 0.05 s"}
    assert flow in {failed for failed, _ in failures}
    accepted[0].transport.abort()
    silent.close()
    await soon(silent.wait_closed())


async def test_a_connection_on_which_nothing_is_heard_is_closed(side, connect):
    server = await side(TCP, limits=Limits(idle_s=0.05))
    reader, writer = await connect(server.at())
    writer.write(OPTIONS)
    _, flow = await server.gets()
    await is_closed(reader)
    assert await server.hears_of_failure() == (flow, "nothing heard for 0.05 s")
    assert server.counters.silent_peers == 1


async def test_who_connects_and_says_nothing_is_shown_out(side, connect):
    server = await side(TCP, limits=Limits(first_message_s=0.05))
    reader, _ = await connect(server.at())
    await is_closed(reader)
    assert server.counters.silent_peers == 1


# ---------------------------------------------------------------- limits


async def test_a_slow_reader_is_closed_and_reported(side, connect):
    server = await side(TCP, limits=Limits(write_buffer=100_000))
    _, writer = await connect(server.at())
    writer.write(OPTIONS)
    _, flow = await server.gets()
    writer.transport.pause_reading()
    for _ in range(1_000):
        server.send(flow, b"x" * 60_000)
    assert await server.hears_of_failure() == (flow, "the far side does not read what we send")
    assert server.counters.slow_readers == 1


async def test_a_source_has_only_so_many_connections(side, connect):
    server = await side(TCP, limits=Limits(connections_per_source=2))
    first, second, third = [await connect(server.at()) for _ in range(3)]
    await is_closed(third[0])
    assert server.counters.over_limit == 1
    first[1].write(OPTIONS)
    second[1].write(OPTIONS)
    await server.gets()
    await server.gets()
    first[1].close()
    await server.hears_of_failure()
    _, writer = await connect(server.at())
    writer.write(OPTIONS)
    assert (await server.gets())[0] == OPTIONS


async def test_all_sources_together_have_only_so_many_connections(side, connect):
    server = await side(TCP, limits=Limits(connections=2))
    first = await connect(server.at())
    first[1].write(OPTIONS)
    await server.gets()
    flow = server.flow_to(Transport.TCP, a_port_of_nobody())
    with socket.create_server(flow.remote):
        server.send(flow)
        await eventually(lambda: server.counters.opened == 1)
        third = await connect(server.at())
        await is_closed(third[0])
        server.send(server.flow_to(Transport.TCP, ("127.0.0.2", 9)))
        assert (await server.hears_of_failure())[1] == "too many connections"
    assert server.counters.over_limit == 2


async def test_connections_that_come_and_go_leave_nothing(side, connect):
    server = await side(TCP)
    for _ in range(200):
        _, writer = await connect(server.at())
        writer.write(OPTIONS)
        await server.gets()
        writer.transport.abort()
    await eventually(lambda: server.transports.open_connections == 0)


async def test_when_the_system_has_no_socket_left_the_listener_waits_and_goes_on(side):
    server = await side(TCP)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as phone:
        phone.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            phone.connect(server.at())
        resource.setrlimit(resource.RLIMIT_NOFILE, (phone.fileno() + 1, hard))
        try:
            await eventually(lambda: server.counters.accept_failures == 1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await eventually(lambda: phone.send(OPTIONS) == len(OPTIONS))
        assert (await server.gets())[0] == OPTIONS


# ---------------------------------------------------------------- listeners


async def test_browsers_are_not_called(side):
    server = await side(WS)
    flow = Flow(Transport.WS, server.at(), ("127.0.0.1", 80))
    server.send(flow)
    assert await server.hears_of_failure() == (flow, "browsers connect to us, never we to them (RFC 7118)")


async def test_with_a_wildcard_the_flow_has_the_address_that_was_called(side, connect):
    server = await side(Listen(Transport.TCP, "0.0.0.0", 0))
    _, writer = await connect(("127.0.0.2", server.at()[1]))
    writer.write(OPTIONS)
    assert (await server.gets())[1].local == ("127.0.0.2", server.at()[1])
