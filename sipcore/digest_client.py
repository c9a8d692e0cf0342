"""Digest authentication, the client's side: answering a 401 or 407 (RFC 7616, RFC 8760, RFC 3261 22.2).

Keeps nothing. Whoever calls counts how often it used a nonce, brings the randomness, and gives up when
the same realm asks again without stale=true: then the password is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sipcore.digest import HASHES, STRONGEST_FIRST
from sipcore.events import Credentials
from sipcore.faults import PeerFault
from sipcore.message import Response
from sipcore.params import parse_auth_params, quote

MAX_CHALLENGES = 16
MAX_REALMS = 4
_SESS = "-SESS"


class Challenge(msgspec.Struct, frozen=True, gc=False):
    """One challenge that we know how to answer."""

    realm: str
    nonce: str
    algorithm: str
    """one of digest.HASHES"""
    qop: str
    """"auth", "auth-int" where nothing else is offered, or "" for a server of RFC 2069"""
    opaque: str | None = None
    stale: bool = False
    """the answer was right and the nonce too old: worth another try with the same password"""
    userhash: bool = False
    sess: bool = False
    names_algorithm: bool = True
    """False for a server that may be older than the parameter: it is not told either"""


def read_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges among header values that can be answered, in order.

    Other schemes, unknown algorithms and broken values are passed over (RFC 8760 2.3): one that we
    understand may stand beside them.
    """
    found = []
    for value in list(values)[:MAX_CHALLENGES]:
        try:
            scheme, params = parse_auth_params(value)
        except PeerFault:
            continue
        challenge = _challenge(params) if scheme == "digest" else None
        if challenge is not None:
            found.append(challenge)
    return found


def _challenge(params: dict[str, str]) -> Challenge | None:
    written = params.get("algorithm")
    algorithm = (written or "MD5").upper()
    sess = algorithm.endswith(_SESS)
    algorithm = algorithm.removesuffix(_SESS)
    offered = [each.strip().lower() for each in params["qop"].split(",")] if params.get("qop") else [""]
    qop = next((each for each in ("auth", "auth-int", "") if each in offered), None)
    if algorithm not in HASHES or qop is None or not params.get("nonce") or "realm" not in params:
        return None
    if sess and not qop:
        return None  # H(A1) then needs a cnonce that could not be told (RFC 7616 3.4.2)
    return Challenge(
        params["realm"],
        params["nonce"],
        algorithm,
        qop,
        params.get("opaque"),
        params.get("stale", "").lower() == "true",
        params.get("userhash", "").lower() == "true",
        sess,
        written is not None,
    )


def strongest(challenges: Iterable[Challenge]) -> list[Challenge]:
    """The strongest challenge of each realm, realms in order of appearance."""
    best: dict[str, Challenge] = {}
    for challenge in challenges:
        other = best.get(challenge.realm)
        if other is None or _rank(challenge) < _rank(other):
            best[challenge.realm] = challenge
    return list(best.values())[:MAX_REALMS]


def _rank(challenge: Challenge) -> int:
    return STRONGEST_FIRST.index(challenge.algorithm)


def answer_challenge(
    challenges: Iterable[str],
    credentials: Credentials,
    method: str,
    uri: str,
    body: bytes,
    nc: int,
    cnonce: str,
) -> str | None:
    """The Authorization value for the strongest challenge of the first realm; None when we know none."""
    for challenge in strongest(read_challenges(challenges)):
        return answer(challenge, credentials, method, uri, body, nc, cnonce)
    return None


def answers(
    response: Response,
    credentials: Credentials,
    method: str,
    uri: str,
    body: bytes,
    nc: int,
    cnonce: str,
) -> list[tuple[str, str]]:
    """The header fields with which to send the request again after this 401 or 407, one per realm.

    Several realms are challenged at once when forks were (RFC 3261 16.7 step 7). Empty: give up.
    """
    return [
        (name, answer(challenge, credentials, method, uri, body, nc, cnonce))
        for asked, name in (
            ("WWW-Authenticate", "Authorization"),
            ("Proxy-Authenticate", "Proxy-Authorization"),
        )
        for challenge in strongest(read_challenges(_challenges_of(response, asked)))
    ]


def _challenges_of(response: Response, name: str) -> list[str]:
    try:
        return response.get_all(name)
    except PeerFault:
        return []


def answer(
    challenge: Challenge,
    credentials: Credentials,
    method: str,
    uri: str,
    body: bytes,
    nc: int,
    cnonce: str,
) -> str:
    """The value of Authorization or Proxy-Authorization for one request (RFC 7616 3.4).

    `nc` counts the requests with this nonce from 1; `cnonce` is fresh and not to be guessed; `uri` is
    the Request-URI as it will be sent; `body` counts only for auth-int.
    """

    def h(text: str) -> str:
        return HASHES[challenge.algorithm](text.encode("utf-8", "surrogateescape"))

    secret = h(f"{credentials.username}:{challenge.realm}:{credentials.password}")
    if challenge.sess:
        secret = h(f"{secret}:{challenge.nonce}:{cnonce}")
    what = f"{method}:{uri}"
    if challenge.qop == "auth-int":
        what = f"{what}:{HASHES[challenge.algorithm](body)}"
    use = f"{nc:08x}:{cnonce}:{challenge.qop}:" if challenge.qop else ""
    response = h(f"{secret}:{challenge.nonce}:{use}{h(what)}")
    username = h(f"{credentials.username}:{challenge.realm}") if challenge.userhash else credentials.username
    fields = [
        f"username={quote(username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{response}"',
    ]
    if challenge.names_algorithm:
        fields.append(f"algorithm={challenge.algorithm}{_SESS.lower() if challenge.sess else ''}")
    if challenge.qop:
        fields += [f"qop={challenge.qop}", f"nc={nc:08x}", f"cnonce={quote(cnonce)}"]
    if challenge.opaque is not None:
        fields.append(f"opaque={quote(challenge.opaque)}")
    if challenge.userhash:
        fields.append("userhash=true")
    return "Digest " + ", ".join(fields)
