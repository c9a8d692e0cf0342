"""Answering challenges: the RFC's own vectors, and what servers really send (RFC 7616, RFC 8760)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.digest import HASHES
from sipcore.digest_client import answer_challenge, answers, read_challenges, strongest
from sipcore.events import Credentials
from sipcore.message import Response
from sipcore.params import parse_auth_params

MUFASA = Credentials("Mufasa", "Circle of Life")
JASON = Credentials("Jäsøn Doe", "Secret, or not?")


def answered(challenge: str, who: Credentials = MUFASA, body: bytes = b"", nc: int = 1) -> dict[str, str]:
    value = answer_challenge([challenge], who, "INVITE", "sip:bob@example.com", body, nc, "c0ffee")
    assert value is not None
    return parse_auth_params(value)[1]


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_3_9_1(algorithm: str, response: str):
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    value = answer_challenge([challenge], MUFASA, "GET", "/dir/index.html", b"", 1, cnonce)
    assert value is not None
    assert parse_auth_params(value)[1] == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "uri": "/dir/index.html",
        "response": response,
        "algorithm": algorithm,
        "qop": "auth",
        "nc": "00000001",
        "cnonce": cnonce,
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }


def test_rfc_7616_3_9_2_as_corrected_by_erratum_4897():
    challenge = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true'
    )
    cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    value = answer_challenge([challenge], JASON, "GET", "/doe.json", b"", 1, cnonce)
    assert value is not None
    params = parse_auth_params(value)[1]
    assert params["username"] == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    assert params["response"] == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert params["userhash"] == "true"


def test_rfc_2617_3_5_with_the_md5_that_is_not_named():
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    who = Credentials("Mufasa", "Circle Of Life")
    value = answer_challenge([challenge], who, "GET", "/dir/index.html", b"", 1, "0a4f113b")
    assert value is not None
    params = parse_auth_params(value)[1]
    assert params["response"] == "6629fae49393a05397450978507c4ef1"
    assert "algorithm" not in params


def test_a_server_of_rfc_2069_gets_no_qop():
    params = answered('Digest realm="r", nonce="n"')
    md5 = HASHES["MD5"]
    a1, a2 = md5(b"Mufasa:r:Circle of Life"), md5(b"INVITE:sip:bob@example.com")
    assert params["response"] == md5(f"{a1}:n:{a2}".encode())
    assert params.keys() == {"username", "realm", "nonce", "uri", "response"}


def test_auth_int_is_used_where_nothing_else_is_offered():
    params = answered('Digest realm="r", nonce="n", qop="auth-int"', body=b"v=0\r\n", nc=0x2A)
    md5 = HASHES["MD5"]
    a1 = md5(b"Mufasa:r:Circle of Life")
    a2 = md5(f"INVITE:sip:bob@example.com:{md5(b'v=0' + bytes([13, 10]))}".encode())
    assert params["response"] == md5(f"{a1}:n:0000002a:c0ffee:auth-int:{a2}".encode())
    assert (params["qop"], params["nc"]) == ("auth-int", "0000002a")


def test_md5_sess_binds_the_password_to_the_nonces():
    params = answered('Digest realm="r", nonce="n", qop="auth", algorithm=md5-SESS')
    md5 = HASHES["MD5"]
    a1 = md5(f"{md5(b'Mufasa:r:Circle of Life')}:n:c0ffee".encode())
    a2 = md5(b"INVITE:sip:bob@example.com")
    assert params["response"] == md5(f"{a1}:n:00000001:c0ffee:auth:{a2}".encode())
    assert params["algorithm"] == "MD5-sess"


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="r"',
        'Digest realm="r", nonce="n", algorithm=SHA-1, qop="auth"',
        'Digest realm="r", nonce="n", qop="auth-conf"',
        'Digest realm="r", qop="auth"',
        'Digest nonce="n", qop="auth"',
        'Digest realm="r", nonce="n", algorithm=MD5-sess',
        'Digest realm="r", realm="s", nonce="n"',
        "Digest",
        "",
    ],
)
def test_a_challenge_that_nobody_can_answer_is_passed_over(challenge: str):
    assert answer_challenge([challenge], MUFASA, "INVITE", "sip:b@x", b"", 1, "c") is None
    good = 'Digest realm="r", nonce="n", qop="auth"'
    assert [each.realm for each in read_challenges([challenge, good])] == ["r"]


def test_each_realm_is_answered_once_with_its_strongest():
    challenges = read_challenges(
        [
            'Digest realm="a", nonce="1", algorithm=MD5, qop="auth"',
            'Digest realm="b", nonce="2", algorithm=MD5, qop="auth"',
            'Digest realm="a", nonce="3", algorithm=SHA-256, qop="auth"',
        ]
    )
    assert [(each.realm, each.nonce) for each in strongest(challenges)] == [("a", "3"), ("b", "2")]


def test_user_agents_and_proxies_are_answered_in_their_own_headers():
    response = Response(
        407,
        "Proxy Authentication Required",
        [
            ("Proxy-Authenticate", 'Digest realm="p", nonce="1", qop="auth"'),
            ("WWW-Authenticate", 'Digest realm="w", nonce="2", qop="auth", stale=TRUE'),
        ],
    )
    fields = answers(response, MUFASA, "INVITE", "sip:b@x", b"", 1, "c")
    assert [(name, parse_auth_params(value)[1]["realm"]) for name, value in fields] == [
        ("Authorization", "w"),
        ("Proxy-Authorization", "p"),
    ]


def test_stale_is_read_in_any_case():
    values = ['Digest realm="r", nonce="n", stale=TRUE', 'Digest realm="r", nonce="n", stale=no']
    assert [each.stale for each in read_challenges(values)] == [True, False]


@given(st.text(max_size=200))
def test_whatever_a_server_sends_is_answered_or_passed_over(text: str):
    read_challenges([text, f"Digest {text}", f'Digest realm="r", nonce="n", {text}'])
