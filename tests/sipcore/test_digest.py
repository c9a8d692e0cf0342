"""The digest server: what it asks, whom it believes, and what it remembers (RFC 7616, RFC 8760)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.digest import HASHES, STRONGEST_FIRST, DigestServer, Secret, Verdict, ha1
from sipcore.digest_client import answer_challenge, read_challenges, strongest
from sipcore.events import Credentials
from sipcore.faults import Misuse, PeerFault

KEY = b"a key that nobody can guess, really"
REALM = "pbx.example.com"
URI = "sip:pbx.example.com"
ALICE = Credentials("1001", "correct horse")


class StoredSecret(msgspec.Struct, frozen=True):
    md5: str
    sha256: str
    sha512_256: str


SECRET = StoredSecret(*ha1("1001", REALM, "correct horse"))


def server(**settings: object) -> DigestServer:
    return DigestServer(KEY, now=0.0, **settings)  # type: ignore[arg-type]


def authorization(challenges: list[str], nc: int = 1, uri: str = URI, who: Credentials = ALICE) -> str:
    value = answer_challenge(challenges, who, "REGISTER", uri, b"", nc, "0a4f113b")
    assert value is not None
    return value


def judge(
    digest: DigestServer,
    value: str,
    now: float = 1.0,
    uri: str = URI,
    secret: Secret | None = SECRET,
    realm: str = REALM,
) -> Verdict:
    credentials = digest.read([value], realm)
    assert credentials is not None
    return digest.check(credentials, "REGISTER", uri, realm, secret, now)


def test_challenges_come_strongest_first_with_one_nonce():
    values = server().challenge(REALM, 1.0)
    assert [value.partition("algorithm=")[2] for value in values] == [
        'SHA-512-256, qop="auth"',
        'SHA-256, qop="auth"',
        'MD5, qop="auth"',
    ]
    assert len({value.split('"')[3] for value in values}) == 1


def test_a_stale_challenge_says_so():
    assert all(value.endswith(", stale=true") for value in server().challenge(REALM, 1.0, stale=True))


def test_a_realm_is_quoted():
    assert server().challenge('a "b" \\', 1.0)[0].startswith('Digest realm="a \\"b\\" \\\\", nonce="')


def test_no_two_nonces_are_the_same():
    digest = server()
    assert len({digest.challenge(REALM, 1.0)[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("algorithm", STRONGEST_FIRST)
def test_the_right_password_is_right_with_each_algorithm(algorithm: str):
    digest = server(algorithms=(algorithm,))
    value = authorization(digest.challenge(REALM, 1.0))
    assert f"algorithm={algorithm}" in value
    assert judge(digest, value) is Verdict.OK


def test_the_wrong_password_is_wrong():
    digest = server()
    other = Credentials("1001", "battery staple")
    assert judge(digest, authorization(digest.challenge(REALM, 1.0), who=other)) is Verdict.WRONG


def test_nobody_of_that_name_is_wrong_whatever_the_password():
    digest = server()
    assert judge(digest, authorization(digest.challenge(REALM, 1.0)), secret=None) is Verdict.WRONG


def test_a_secret_without_this_algorithm_lets_nobody_in():
    digest = server(algorithms=("MD5",))
    nonce = digest.challenge(REALM, 1.0)[0].split('"')[3]
    md5 = HASHES["MD5"]
    ha2 = md5(f"REGISTER:{URI}".encode())
    forged = md5(f":{nonce}:00000001:x:auth:{ha2}".encode())
    value = (
        f'Digest username="1001", realm="{REALM}", nonce="{nonce}", uri="{URI}", response="{forged}", '
        f'algorithm=MD5, qop=auth, nc=00000001, cnonce="x"'
    )
    assert judge(digest, value, secret=StoredSecret("", "", "")) is Verdict.WRONG


def test_a_nonce_grows_stale():
    digest = server(nonce_ttl_s=60)
    value = authorization(digest.challenge(REALM, 1.0))
    assert judge(digest, value, now=61.1) is Verdict.STALE


def test_a_wrong_password_with_an_old_nonce_is_wrong_and_not_stale():
    digest = server(nonce_ttl_s=60)
    value = authorization(digest.challenge(REALM, 1.0), who=Credentials("1001", "guess"))
    assert judge(digest, value, now=90.0) is Verdict.WRONG


def test_a_nonce_of_another_key_is_stale():
    other = DigestServer(b"another key of sixteen bytes or so", now=0.0)
    assert judge(server(), authorization(other.challenge(REALM, 1.0))) is Verdict.STALE


def test_a_nonce_of_another_realm_is_stale():
    digest = server()
    foreign = [value.replace("elsewhere", REALM) for value in digest.challenge("elsewhere", 1.0)]
    assert judge(digest, authorization(foreign)) is Verdict.STALE


def test_a_nonce_from_the_future_is_stale():
    digest = server()
    assert judge(digest, authorization(digest.challenge(REALM, 5.0)), now=1.0) is Verdict.STALE


def test_processes_with_one_key_take_each_others_nonces():
    one, other = server(process=1), server(process=2)
    assert judge(other, authorization(one.challenge(REALM, 1.0))) is Verdict.OK


def test_a_nonce_from_before_the_start_is_stale():
    before = server()
    value = authorization(before.challenge(REALM, 1.0))
    assert judge(DigestServer(KEY, now=2.0), value, now=3.0) is Verdict.STALE


# ---------------------------------------------------------------- replays


def test_the_same_credentials_twice_are_a_replay():
    digest = server()
    value = authorization(digest.challenge(REALM, 1.0))
    assert [judge(digest, value), judge(digest, value)] == [Verdict.OK, Verdict.REPLAYED]


def test_a_nonce_serves_many_requests_that_may_overtake_each_other():
    digest = server()
    challenge = digest.challenge(REALM, 1.0)
    order = [1, 3, 2, 10, 9, 4, 41]
    assert [judge(digest, authorization(challenge, nc=nc)) for nc in order] == [Verdict.OK] * len(order)
    again = [judge(digest, authorization(challenge, nc=nc)) for nc in order]
    assert again == [Verdict.REPLAYED] * len(order)


def test_a_count_that_is_too_far_behind_to_know_counts_as_a_replay():
    digest = server()
    challenge = digest.challenge(REALM, 1.0)
    verdicts = [judge(digest, authorization(challenge, nc=nc)) for nc in (40, 9, 8)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.REPLAYED]


def test_a_count_that_leaps_costs_no_memory():
    digest = server()
    challenge = digest.challenge(REALM, 1.0)
    verdicts = [judge(digest, authorization(challenge, nc=nc)) for nc in (1, 0xFFFFFFFF, 0xFFFFFFFE, 2)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.OK, Verdict.REPLAYED]


def test_what_is_forgotten_is_stale_and_never_right_again():
    digest = server(max_nonces=8)
    first = authorization(digest.challenge(REALM, 1.0))
    assert judge(digest, first, now=1.0) is Verdict.OK
    for step in range(20):
        now = 2.0 + step
        assert judge(digest, authorization(digest.challenge(REALM, now)), now=now) is Verdict.OK
    assert judge(digest, first, now=30.0) is Verdict.STALE


def test_what_is_remembered_is_bounded():
    digest = server(max_nonces=8)
    for step in range(100):
        judge(digest, authorization(digest.challenge(REALM, 1.0 + step)), now=1.0 + step)
    assert len(digest._uses) + len(digest._older) <= 8


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 80)), max_size=80))
def test_no_pair_of_nonce_and_count_is_ever_taken_twice(uses: list[tuple[int, int]]):
    digest = server(max_nonces=6, algorithms=("MD5",))
    challenges = [digest.challenge(REALM, 0.5) for _ in range(6)]
    taken = []
    for step, (which, nc) in enumerate(uses):
        value = authorization(challenges[which], nc=nc)
        taken += [(which, nc)] * (judge(digest, value, now=1.0 + step) is Verdict.OK)
    assert len(taken) == len(set(taken))


# ---------------------------------------------------------------- clients of RFC 2069


def without_qop(digest: DigestServer, now: float = 1.0) -> str:
    challenge = [value.replace(', qop="auth"', "") for value in digest.challenge(REALM, now)]
    return authorization(challenge[-1:])


def test_an_answer_without_qop_is_good_once():
    digest = server()
    value = without_qop(digest)
    assert "qop" not in value
    assert [judge(digest, value), judge(digest, value)] == [Verdict.OK, Verdict.STALE]


def test_a_nonce_spent_without_qop_is_spent_with_it_too():
    digest = server()
    challenge = digest.challenge(REALM, 1.0)[-1:]
    bare = authorization([challenge[0].replace(', qop="auth"', "")])
    assert [judge(digest, bare), judge(digest, authorization(challenge))] == [Verdict.OK, Verdict.STALE]


def test_a_nonce_used_with_qop_is_not_good_without():
    digest = server()
    challenge = digest.challenge(REALM, 1.0)[-1:]
    bare = authorization([challenge[0].replace(', qop="auth"', "")])
    assert [judge(digest, authorization(challenge)), judge(digest, bare)] == [Verdict.OK, Verdict.STALE]


def test_answers_without_qop_can_be_refused():
    digest = server(legacy=False)
    assert judge(digest, without_qop(digest)) is Verdict.BROKEN


# ---------------------------------------------------------------- what was signed


@pytest.mark.parametrize(
    ("signed", "requested", "verdict"),
    [
        ("sip:pbx.example.com", "sip:pbx.example.com;transport=tcp", Verdict.OK),
        ("sip:PBX.example.com:5060", "sip:pbx.example.com", Verdict.OK),
        ("sip:200@pbx.example.com", "sip:200@pbx.example.com;user=phone", Verdict.OK),
        ("sip:200@pbx.example.com", "sip:900@pbx.example.com", Verdict.BROKEN),
        ("sip:pbx.example.com", "sip:elsewhere.example.com", Verdict.BROKEN),
        ("http://pbx.example.com/", "sip:pbx.example.com", Verdict.BROKEN),
    ],
)
def test_the_uri_that_was_signed_must_be_the_one_asked_for(signed: str, requested: str, verdict: Verdict):
    digest = server()
    value = authorization(digest.challenge(REALM, 1.0), uri=signed)
    assert judge(digest, value, uri=requested) is verdict


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("qop=auth", "qop=auth-int"),
        ("qop=auth", "qop=other"),
        ("nc=00000001", "nc=00000000"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=-0000001"),
        (", nc=00000001", ""),
        (', cnonce="0a4f113b"', ""),
        ("algorithm=MD5", "algorithm=MD5-sess"),
        ("algorithm=MD5", "algorithm=SHA-1"),
        (f'uri="{URI}"', 'uri=""'),
    ],
)
def test_what_cannot_be_judged_is_broken(part: str, instead: str):
    digest = server(algorithms=("MD5",))
    value = authorization(digest.challenge(REALM, 1.0))
    assert part in value
    assert judge(digest, value.replace(part, instead)) is Verdict.BROKEN


def test_an_algorithm_that_was_not_offered_is_broken():
    digest = server(algorithms=("SHA-256",))
    weak = digest.challenge(REALM, 1.0)[0].replace("SHA-256", "MD5")
    assert judge(digest, authorization([weak])) is Verdict.BROKEN


def test_credentials_are_found_by_realm_among_others():
    digest = server()
    value = authorization(digest.challenge(REALM, 1.0))
    values = ["Basic dXNlcjpwYXNz=", 'Digest realm="other", username="x"', value]
    credentials = digest.read(values, REALM)
    assert credentials is not None
    assert (credentials.username, credentials.qop, credentials.nc) == ("1001", "auth", "00000001")
    assert digest.read(values[:2], REALM) is None


def test_credentials_with_escapes_and_loose_white_space_are_read():
    value = f'digest  Realm = "{REALM}" ,\tusername="a\\"b, c" ,uri="sip:x"'
    credentials = server().read([value], REALM)
    assert credentials is not None
    assert (credentials.username, credentials.uri, credentials.algorithm) == ('a"b, c', "sip:x", "MD5")


@pytest.mark.parametrize("text", ["Digest realm", f'Digest realm="{REALM}", realm="x"', 'Digest "'])
def test_credentials_that_cannot_be_read_are_the_peers_fault(text: str):
    with pytest.raises(PeerFault):
        server().read([text], REALM)


@given(st.text(max_size=200), st.text(max_size=40))
def test_whatever_comes_as_credentials_is_judged_or_refused(tail: str, nonce: str):
    digest = server()
    for value in (tail, f"Digest {tail}", f'Digest realm="{REALM}", nonce="{nonce}", {tail}'):
        try:
            credentials = digest.read([value], REALM)
        except PeerFault:
            continue
        assert credentials is None or digest.check(credentials, "REGISTER", URI, REALM, SECRET, 1.0) in {
            Verdict.WRONG,
            Verdict.BROKEN,
        }


@given(st.sampled_from(["username", "nonce", "response", "nc", "cnonce", "uri"]), st.data())
def test_one_flipped_bit_is_never_right(field: str, data: st.DataObject):
    digest = server()
    credentials = digest.read([authorization(digest.challenge(REALM, 1.0))], REALM)
    assert credentials is not None
    text = bytearray(getattr(credentials, field).encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] ^= 1 << data.draw(st.integers(0, 6))
    flipped = msgspec.structs.replace(credentials, **{field: text.decode()})
    secrets = {"1001": SECRET}
    verdict = digest.check(flipped, "REGISTER", URI, REALM, secrets.get(flipped.username), 1.0)
    assert verdict is not Verdict.OK


def test_a_short_key_or_an_unknown_algorithm_is_our_mistake():
    with pytest.raises(Misuse):
        DigestServer(b"short", now=0.0)
    with pytest.raises(Misuse):
        server(algorithms=("MD4",))


def test_the_strongest_is_chosen_even_when_it_comes_last():
    chosen = strongest(read_challenges(reversed(server().challenge(REALM, 1.0))))
    assert [challenge.algorithm for challenge in chosen] == [STRONGEST_FIRST[0]]
