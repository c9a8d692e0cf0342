"""Names to flows, asked of a real name server on loopback (RFC 3263, RFC 2308, RFC 8767)."""

import asyncio
import os
from random import Random

import dns.name
import pytest
from aio_nameserver import NameServer
from aio_peers import TCP, UDP, eventually, soon

from sipcore.aio import Listen, Resolver, Transports, lookup
from sipcore.flow import Flow, Transport
from sipcore.locate import Question

EXAMPLE = {
    "NAPTR example.test": [
        '10 10 "s" "SIP+D2U" "" _sip._udp.example.test.',
        '20 10 "s" "SIP+D2T" "" _sip._tcp.example.test.',
    ],
    "SRV _sip._udp.example.test": ["10 0 5062 a.example.test.", "20 0 5063 b.example.test."],
    "SRV _sip._tcp.example.test": ["10 0 5064 a.example.test."],
    "A a.example.test": ["127.0.0.10"],
    "A b.example.test": ["127.0.0.20"],
    "A www.example.test": ["127.0.0.80"],
}


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def nameserver(complaints):
    made = NameServer()
    made.zone = dict(EXAMPLE)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def transports(complaints, authority):
    made = Transports([UDP, TCP, Listen(Transport.TLS, "127.0.0.1", 0, tls=authority.server())], print, print)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def hosts(tmp_path):
    made = tmp_path / "hosts"
    made.write_text("127.0.0.1 localhost\n")
    return made


@pytest.fixture
async def resolver(nameserver, transports, clock, hosts):
    made = Resolver(transports, [nameserver.address], clock=clock, random=Random(1), hosts=str(hosts))
    yield made
    await made.close()


async def leads_to(resolver, uri):
    """The targets, as "TRANSPORT host:port"."""
    flows = await soon(resolver.resolve(uri))
    return [f"{flow.transport} {flow.remote[0]}:{flow.remote[1]}" for flow in flows]


async def test_a_domain_leads_to_flows_from_our_own_addresses(resolver, transports):
    locals_ = dict(transports.local_addresses())
    assert await soon(resolver.resolve("sip:bob@example.test")) == (
        Flow(Transport.UDP, locals_[Transport.UDP], ("127.0.0.10", 5062)),
        Flow(Transport.UDP, locals_[Transport.UDP], ("127.0.0.20", 5063)),
        Flow(Transport.TCP, locals_[Transport.TCP], ("127.0.0.10", 5064)),
    )


async def test_tls_flows_carry_the_name_to_check_the_certificate_for(resolver):
    (flow,) = await soon(resolver.resolve("sips:bob@www.example.test"))
    assert (flow.transport, flow.remote) == (Transport.TLS, ("127.0.0.80", 5061))
    assert flow.server_name == "www.example.test"


@pytest.mark.parametrize(
    ("uri", "targets"),
    [
        ("sip:bob@www.example.test", ["UDP 127.0.0.80:5060"]),
        ("sip:bob@www.example.test:5070", ["UDP 127.0.0.80:5070"]),
        ("sip:bob@example.test;transport=tcp", ["TCP 127.0.0.10:5064"]),
        ("sip:bob@127.0.0.9", ["UDP 127.0.0.9:5060"]),
        ("sip:bob@localhost", ["UDP 127.0.0.1:5060"]),
        ("sip:bob@nowhere.test", []),
        ("sip:bob@[::1]", []),  # we have no IPv6 listener
        ("tel:+15551234", []),
        ("mailto:bob@example.test", []),
        ("", []),
        ("sip:bob@" + "a" * 64 + ".test", []),
    ],
)
async def test_where_uris_lead(resolver, uri, targets):
    assert await leads_to(resolver, uri) == targets


async def test_ipv6_addresses_are_used_when_we_listen_there(nameserver, complaints, hosts):
    nameserver.zone = {"AAAA six.test": ["::1"], "A six.test": ["127.0.0.6"]}
    transports = Transports([Listen(Transport.UDP, "::1", 0), UDP], print, print)
    await transports.start()
    resolver = Resolver(transports, [nameserver.address], hosts=str(hosts))
    assert await leads_to(resolver, "sip:six.test") == ["UDP ::1:5060", "UDP 127.0.0.6:5060"]
    await resolver.close()
    await transports.close()


async def test_short_names_are_looked_for_in_the_search_domains(resolver):
    resolver._lookups._fixed.search = [dns.name.from_text("example.test")]
    assert await leads_to(resolver, "sip:www") == ["UDP 127.0.0.80:5060"]
    assert await leads_to(resolver, "sip:www.test") == []


async def test_cnames_are_followed(resolver, nameserver):
    nameserver.zone["CNAME alias.test"] = ["other.test."]
    nameserver.zone["CNAME other.test"] = ["a.example.test."]
    assert await leads_to(resolver, "sip:alias.test") == ["UDP 127.0.0.10:5060"]


async def test_a_chain_of_cnames_has_an_end(resolver, nameserver):
    for number in range(30):
        nameserver.zone[f"CNAME c{number}.test"] = [f"c{number + 1}.test."]
    nameserver.zone["A c30.test"] = ["127.0.0.1"]
    assert await leads_to(resolver, "sip:c0.test") == []
    assert await leads_to(resolver, "sip:c20.test") == ["UDP 127.0.0.1:5060"]


async def test_truncated_answers_are_asked_for_over_tcp(resolver, nameserver):
    nameserver.truncates = True
    assert await leads_to(resolver, "sip:www.example.test") == ["UDP 127.0.0.80:5060"]


# ---------------------------------------------------------------- kept answers


async def test_answers_are_kept_for_their_ttl(resolver, nameserver, clock):
    first = await leads_to(resolver, "sip:example.test")
    asked = len(nameserver.asked)
    clock.now += 50.0
    assert await leads_to(resolver, "sip:example.test") == first
    assert len(nameserver.asked) == asked == resolver.queries
    nameserver.zone["A a.example.test"] = ["127.0.0.11"]
    clock.now += 11.0
    assert "UDP 127.0.0.11:5062" in await leads_to(resolver, "sip:example.test")


async def test_that_there_is_nothing_is_kept_as_the_soa_says(resolver, nameserver, clock):
    assert await leads_to(resolver, "sip:new.test") == []
    asked = len(nameserver.asked)
    nameserver.zone["A new.test"] = ["127.0.0.30"]
    clock.now += 59.0
    assert await leads_to(resolver, "sip:new.test") == []
    assert len(nameserver.asked) == asked
    clock.now += 2.0
    assert await leads_to(resolver, "sip:new.test") == ["UDP 127.0.0.30:5060"]


async def test_calls_at_the_same_time_ask_once(resolver, nameserver):
    results = await asyncio.gather(*(leads_to(resolver, "sip:example.test") for _ in range(50)))
    assert all(result == results[0] for result in results)
    assert len(nameserver.asked) == len(set(nameserver.asked))


async def test_what_is_asked_for_often_is_looked_up_before_it_runs_out(resolver, nameserver, clock):
    await leads_to(resolver, "sip:www.example.test:5060")
    nameserver.zone["A www.example.test"] = ["127.0.0.81"]
    clock.now += 55.0  # of 60: the old answer serves, the new one is fetched behind it
    assert await leads_to(resolver, "sip:www.example.test:5060") == ["UDP 127.0.0.80:5060"]
    await eventually(lambda: len(nameserver.asked_for("A")) == 2)
    await eventually(lambda: not resolver._lookups._under_way)
    assert await leads_to(resolver, "sip:www.example.test:5060") == ["UDP 127.0.0.81:5060"]


async def test_when_name_servers_are_away_old_answers_serve(resolver, nameserver, clock):
    first = await leads_to(resolver, "sip:example.test")
    nameserver.broken = True
    clock.now += 3_600.0
    assert await leads_to(resolver, "sip:example.test") == first
    asked = len(nameserver.asked)
    clock.now += lookup.FAILURE_S - 0.1
    assert await leads_to(resolver, "sip:example.test") == first
    assert len(nameserver.asked) == asked  # not asked again at once
    clock.now += lookup.STALE_S
    assert await leads_to(resolver, "sip:example.test") == []


async def test_what_is_kept_is_bounded(resolver, nameserver, monkeypatch):
    monkeypatch.setattr(lookup, "KEPT", 10)
    for number in range(20):
        await leads_to(resolver, f"sip:h{number}.test:5060")
    assert len(resolver._lookups._kept) == 10


async def test_look_ups_under_way_are_bounded(resolver, nameserver, monkeypatch):
    monkeypatch.setattr(lookup, "UNDER_WAY", 10)
    uris = [f"sip:h{number}.test:5060" for number in range(20)]
    await asyncio.gather(*(leads_to(resolver, uri) for uri in uris))
    assert len(nameserver.asked) == 10


# ---------------------------------------------------------------- trouble


async def test_a_firewall_that_swallows_naptr_delays_and_does_not_stop(resolver, nameserver, monkeypatch):
    monkeypatch.setattr("sipcore.aio.dns._STEP_S", 0.05)
    nameserver.mute_types = ("NAPTR",)
    async with asyncio.timeout(1.0):
        assert (await leads_to(resolver, "sip:example.test"))[0] == "UDP 127.0.0.10:5062"


async def test_when_nobody_answers_the_wait_has_an_end(resolver, nameserver, monkeypatch):
    monkeypatch.setattr("sipcore.aio.dns._WHOLE_S", 0.1)
    nameserver.mute = True
    assert await leads_to(resolver, "sip:example.test") == []


@pytest.mark.parametrize("garbage", [b"\0", b"\xff" * 100, b"SIP/2.0 200 OK\r\n\r\n"])
async def test_a_name_server_that_talks_nonsense_is_no_answer(resolver, nameserver, monkeypatch, garbage):
    monkeypatch.setattr("sipcore.aio.dns._WHOLE_S", 0.1)
    nameserver.garbage = garbage
    assert await leads_to(resolver, "sip:www.example.test:5060") == []


async def test_a_second_name_server_answers_when_the_first_does_not(nameserver, transports, hosts):
    resolver = Resolver(transports, [("127.0.0.1", 1), nameserver.address], hosts=str(hosts))
    assert await leads_to(resolver, "sip:www.example.test:5060") == ["UDP 127.0.0.80:5060"]
    await resolver.close()


async def test_closing_ends_what_is_under_way(resolver, nameserver):
    nameserver.mute = True
    waiting = asyncio.ensure_future(resolver.resolve("sip:www.example.test:5060"))
    await eventually(lambda: nameserver.asked)
    await resolver.close()
    assert await soon(waiting) == ()


# ---------------------------------------------------------------- health


async def test_a_target_that_failed_comes_last_for_a_while(resolver, clock):
    flows = await soon(resolver.resolve("sip:example.test"))
    resolver.failed(flows[0])
    assert await soon(resolver.resolve("sip:example.test")) == (*flows[1:], flows[0])
    clock.now += 31.0
    assert await soon(resolver.resolve("sip:example.test")) == flows


async def test_a_target_may_say_how_long_to_stay_away(resolver, clock):
    flows = await soon(resolver.resolve("sip:example.test"))
    resolver.failed(flows[0], 120)
    clock.now += 119.0
    assert await soon(resolver.resolve("sip:example.test")) == (*flows[1:], flows[0])
    clock.now += 2.0
    assert await soon(resolver.resolve("sip:example.test")) == flows


async def test_when_all_failed_all_are_tried(resolver):
    flows = await soon(resolver.resolve("sip:example.test"))
    for flow in flows:
        resolver.failed(flow)
    assert await soon(resolver.resolve("sip:example.test")) == flows


async def test_failures_that_are_remembered_are_bounded(resolver, monkeypatch):
    monkeypatch.setattr("sipcore.aio.dns._FAILED_KEPT", 10)
    for port in range(100):
        resolver.failed(Flow(Transport.UDP, ("127.0.0.1", 5060), ("127.0.0.1", port)))
    assert len(resolver._failed_until) == 10


# ---------------------------------------------------------------- files of the system


async def test_a_host_in_the_hosts_file_needs_no_name_server(resolver, nameserver, hosts):
    hosts.write_text("# ours\n127.0.0.40 PBX2 pbx2.example.test # the spare\n::1 pbx2\n\nnonsense\n")
    assert await leads_to(resolver, "sip:pbx2") == ["UDP 127.0.0.40:5060"]
    assert await leads_to(resolver, "sip:bob@pbx2.example.test;transport=tcp") == ["TCP 127.0.0.40:5060"]
    assert nameserver.asked == []


async def test_a_change_of_the_hosts_file_is_noticed(resolver, hosts, clock):
    assert await leads_to(resolver, "sip:pbx2") == []
    hosts.write_text("127.0.0.41 pbx2\n")
    os.utime(hosts, ns=(1, 1))
    clock.now += 6.0
    assert await leads_to(resolver, "sip:pbx2") == ["UDP 127.0.0.41:5060"]


async def test_without_a_hosts_file_names_are_asked_for(nameserver, transports, tmp_path):
    resolver = Resolver(transports, [nameserver.address], hosts=str(tmp_path / "none"))
    assert await leads_to(resolver, "sip:www.example.test") == ["UDP 127.0.0.80:5060"]
    await resolver.close()


async def test_the_name_servers_of_the_system_are_taken_from_its_file(clock, tmp_path):
    resolv_conf = tmp_path / "resolv.conf"
    lookups = lookup.Lookups((), clock, str(resolv_conf))
    assert await soon(lookups.ask(Question("www.example.test", "A"))) == ()  # there is no such file yet
    resolv_conf.write_text("nameserver 192.0.2.53\nnameserver 192.0.2.54\n")
    clock.now += 6.0
    assert lookups._system.get().nameservers == ["192.0.2.53", "192.0.2.54"]
