"""Where URIs lead, record by record (RFC 3263, RFC 2782). No name server: the answers are tables."""

from collections import Counter
from random import Random

import pytest

from sipcore.flow import Transport
from sipcore.locate import MAX_TARGETS, Naptr, Srv, Target, by_weight, locate
from sipcore.uri import SipUri

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
ALL = {UDP: ("A", "AAAA"), TCP: ("A", "AAAA"), TLS: ("A", "AAAA")}
V4 = {UDP: ("A",), TCP: ("A",), TLS: ("A",)}


def uri(host="example.test", scheme="sip", port=None, **params):
    return SipUri(scheme, "bob", host, port, params=params)


def ask(where, zone, able=V4, seed=1):
    """The targets, and what was asked for in each step. `zone` maps "TYPE name" to records."""
    search = locate(where, able, Random(seed))
    steps = []
    try:
        questions = next(search)
        while True:
            steps.append([f"{question.rtype} {question.name}" for question in questions])
            known = {question: zone.get(f"{question.rtype} {question.name}", ()) for question in questions}
            questions = search.send(known)
    except StopIteration as end:
        return list(end.value), steps


def naptr(order, preference, service, replacement, flags="s", regexp=""):
    return Naptr(order, preference, flags, service, regexp, replacement)


RFC_3263_4_1 = {
    "NAPTR example.test": (
        naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.test"),
        naptr(90, 50, "SIP+D2T", "_sip._tcp.example.test"),
        naptr(100, 50, "SIP+D2U", "_sip._udp.example.test"),
    ),
    "SRV _sips._tcp.example.test": (Srv(0, 1, 5061, "server1.example.test"),),
    "SRV _sip._tcp.example.test": (
        Srv(0, 1, 5060, "server1.example.test"),
        Srv(1, 2, 5060, "server2.example.test"),
    ),
    "SRV _sip._udp.example.test": (Srv(0, 1, 5060, "server1.example.test"),),
    "A server1.example.test": ("192.0.2.1",),
    "A server2.example.test": ("192.0.2.2",),
    "A example.test": ("192.0.2.80",),
}


# ---------------------------------------------------------------- without asking


@pytest.mark.parametrize(
    ("where", "target"),
    [
        (uri("192.0.2.9"), Target(UDP, "192.0.2.9", 5060)),
        (uri("192.0.2.9", port=5080), Target(UDP, "192.0.2.9", 5080)),
        (uri("192.0.2.9", transport="tcp"), Target(TCP, "192.0.2.9", 5060)),
        (uri("192.0.2.9", transport="TLS"), Target(TLS, "192.0.2.9", 5061)),
        (uri("192.0.2.9", "sips"), Target(TLS, "192.0.2.9", 5061)),
        (uri("192.0.2.9", "sips", transport="tcp"), Target(TLS, "192.0.2.9", 5061)),
        (uri("2001:db8::9"), Target(UDP, "2001:db8::9", 5060)),
        (uri("example.test", maddr="192.0.2.7"), Target(UDP, "192.0.2.7", 5060)),
        (uri("example.test", maddr="[2001:db8::7]"), Target(UDP, "2001:db8::7", 5060)),
    ],
)
def test_a_literal_address_is_the_target(where, target):
    assert ask(where, {}, ALL) == ([target], [])


@pytest.mark.parametrize(
    "where",
    [
        SipUri("tel", "+15551234", ""),
        uri("192.0.2.9", "sips", transport="udp"),
        uri("192.0.2.9", transport="ws"),
        uri("192.0.2.9", transport="sctp"),
        uri("2001:db8::9"),
        uri(""),
    ],
)
def test_what_we_cannot_reach_leads_nowhere_and_asks_nobody(where):
    assert ask(where, {}, V4) == ([], [])


def test_without_udp_a_literal_address_is_reached_over_tcp():
    assert ask(uri("192.0.2.9"), {}, {TLS: ("A",), TCP: ("A",)})[0] == [Target(TCP, "192.0.2.9", 5060)]


# ---------------------------------------------------------------- names


def test_naptr_chooses_transports_in_the_order_of_the_domain():
    targets, steps = ask(uri(), RFC_3263_4_1)
    assert targets == [
        Target(TLS, "192.0.2.1", 5061, "example.test"),
        Target(TCP, "192.0.2.1", 5060),
        Target(TCP, "192.0.2.2", 5060),
        Target(UDP, "192.0.2.1", 5060),
    ]
    assert [len(step) for step in steps] == [1, 3, 2]  # each step asks for all it needs at once


def test_sips_takes_only_what_is_secure():
    assert ask(uri(scheme="sips"), RFC_3263_4_1)[0] == [Target(TLS, "192.0.2.1", 5061, "example.test")]


def test_naptr_for_transports_that_we_lack_is_passed_over():
    targets, _ = ask(uri(), RFC_3263_4_1, {UDP: ("A",)})
    assert targets == [Target(UDP, "192.0.2.1", 5060)]


@pytest.mark.parametrize(
    "unusable",
    [
        naptr(1, 1, "SIP+D2U", "elsewhere.test", flags="u"),
        naptr(1, 1, "SIP+D2U", "elsewhere.test", regexp="!^.*$!sip:x@elsewhere.test!"),
        naptr(1, 1, "E2U+sip", "elsewhere.test"),
        naptr(1, 1, "SIP+D2S", "elsewhere.test"),
    ],
)
def test_other_naptr_is_passed_over(unusable):
    zone = {**RFC_3263_4_1, "NAPTR example.test": (unusable,)}
    assert ask(uri(), zone)[0] == ask(uri(), {**RFC_3263_4_1, "NAPTR example.test": ()})[0]


def test_a_named_transport_goes_straight_to_its_srv():
    targets, steps = ask(uri(transport="tcp"), RFC_3263_4_1)
    assert targets == [Target(TCP, "192.0.2.1", 5060), Target(TCP, "192.0.2.2", 5060)]
    assert steps[0] == ["SRV _sip._tcp.example.test"]


def test_without_naptr_srv_is_asked_for_each_transport_in_our_order():
    zone = {key: records for key, records in RFC_3263_4_1.items() if key[0] != "N"}
    targets, steps = ask(uri(), zone, {TCP: ("A",), UDP: ("A",)})
    assert steps[1] == ["SRV _sip._tcp.example.test", "SRV _sip._udp.example.test"]
    assert [target.transport for target in targets] == [TCP, TCP, UDP]


@pytest.mark.parametrize(
    ("where", "target"),
    [
        (uri(), Target(UDP, "192.0.2.80", 5060)),
        (uri(transport="tcp"), Target(TCP, "192.0.2.80", 5060)),
        (uri(scheme="sips"), Target(TLS, "192.0.2.80", 5061, "example.test")),
    ],
)
def test_without_srv_the_host_itself_is_the_target(where, target):
    assert ask(where, {"A example.test": ("192.0.2.80",)})[0] == [target]


def test_a_port_in_the_uri_rules_naptr_and_srv_out():
    targets, steps = ask(uri(port=5070), RFC_3263_4_1)
    assert targets == [Target(UDP, "192.0.2.80", 5070)]
    assert steps == [["A example.test"]]


def test_a_service_that_is_not_offered_leads_nowhere():
    zone = {"SRV _sip._udp.example.test": (Srv(0, 0, 0, "."),), "A example.test": ("192.0.2.80",)}
    assert ask(uri(transport="udp"), zone)[0] == []


def test_the_certificate_must_be_for_the_domain_that_was_asked_for_not_for_the_srv_target():
    zone = {
        "SRV _sips._tcp.example.test": (Srv(0, 0, 5061, "host.provider.test"),),
        "A host.provider.test": ("192.0.2.5",),
    }
    assert ask(uri(scheme="sips"), zone)[0] == [Target(TLS, "192.0.2.5", 5061, "example.test")]


def test_addresses_of_both_families_in_the_order_of_our_listeners():
    zone = {"A example.test": ("192.0.2.80",), "AAAA example.test": ("2001:db8::80",)}
    for rtypes, expected in [
        (("A", "AAAA"), ["192.0.2.80", "2001:db8::80"]),
        (("AAAA", "A"), ["2001:db8::80", "192.0.2.80"]),
        (("AAAA",), ["2001:db8::80"]),
    ]:
        assert [target.host for target in ask(uri(), zone, {UDP: rtypes})[0]] == expected


def test_several_addresses_of_one_name_share_the_load():
    zone = {"A example.test": ("192.0.2.1", "192.0.2.2", "192.0.2.3")}
    firsts = {ask(uri(), zone, seed=seed)[0][0].host for seed in range(50)}
    assert firsts == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


def test_a_target_is_listed_once():
    zone = {
        "SRV _sip._udp.example.test": (Srv(0, 0, 5060, "a.test"), Srv(1, 0, 5060, "b.test")),
        "A a.test": ("192.0.2.1",),
        "A b.test": ("192.0.2.1",),
    }
    assert ask(uri(), zone)[0] == [Target(UDP, "192.0.2.1", 5060)]


def test_a_huge_zone_is_cut_short():
    zone = {
        "SRV _sip._udp.example.test": tuple(Srv(0, 1, 5060, f"h{number}.test") for number in range(500)),
        **{f"A h{number}.test": tuple(f"192.0.2.{host}" for host in range(50)) for number in range(500)},
    }
    targets, steps = ask(uri(), zone)
    assert len(targets) == MAX_TARGETS
    assert max(len(step) for step in steps) <= MAX_TARGETS


def test_nothing_found_is_no_target():
    assert ask(uri(), {})[0] == []


def test_an_answer_of_another_kind_than_asked_for_is_passed_over():
    zone = {"SRV _sip._udp.example.test": ("192.0.2.1",), "A example.test": (Srv(0, 0, 5060, "x.test"),)}
    assert ask(uri(), zone)[0] == []


# ---------------------------------------------------------------- RFC 2782


def test_priorities_come_in_order_whatever_the_weights():
    records = [Srv(20, 60_000, 1, "c"), Srv(5, 0, 1, "a"), Srv(10, 1, 1, "b")]
    for seed in range(20):
        assert [record.target for record in by_weight(records, Random(seed))] == ["a", "b", "c"]


def test_weights_are_chances_to_be_the_first():
    records = [Srv(0, 60, 1, "a"), Srv(0, 30, 1, "b"), Srv(0, 10, 1, "c")]
    random = Random(7)
    firsts = Counter(by_weight(records, random)[0].target for _ in range(5_000))
    assert firsts["a"] / 5_000 == pytest.approx(0.6, abs=0.03)
    assert firsts["b"] / 5_000 == pytest.approx(0.3, abs=0.03)
    assert firsts["c"] / 5_000 == pytest.approx(0.1, abs=0.03)


def test_a_weight_of_zero_is_a_very_small_chance():
    records = [Srv(0, 0, 1, "spare"), Srv(0, 100, 1, "main")]
    random = Random(7)
    firsts = Counter(by_weight(records, random)[0].target for _ in range(5_000))
    assert 0 < firsts["spare"] < 150


def test_records_without_weights_share_evenly():
    records = [Srv(0, 0, 1, name) for name in "abcd"]
    random = Random(7)
    firsts = Counter(by_weight(records, random)[0].target for _ in range(4_000))
    assert min(firsts.values()) > 850


def test_all_records_stay_in_the_list():
    records = [Srv(number % 3, number, 1, str(number)) for number in range(12)]
    assert sorted(by_weight(records, Random(1)), key=records.index) == records
