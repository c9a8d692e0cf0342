"""Digest authentication, the server's side (RFC 7616, RFC 8760, RFC 3261 section 22).

Keeps no users: whoever asks brings the secret. Answering challenges is `digest_client.py`.

A nonce carries its own time and a MAC over it and the realm, so any process that holds the key can
check it. What has to be remembered is how often each nonce was used. That memory is bounded, and safe
where it ends: a nonce from before the time that is remembered is called stale, never right.
"""

from __future__ import annotations

import enum
import hashlib
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hmac import compare_digest
from typing import Protocol

import msgspec

from sipcore.faults import Misuse, PeerFault
from sipcore.params import parse_auth_params, quote
from sipcore.uri import parse_uri


def _sha512_256(text: bytes) -> str:
    return hashlib.new("sha512_256", text).hexdigest()


HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda text: hashlib.md5(text, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda text: hashlib.sha256(text).hexdigest(),
}
# Python takes this one from OpenSSL, and some builds of that lack it. Then it is neither offered nor
# accepted; a slow one of our own would be a gift to whoever wants to keep us busy.
if "sha512_256" in hashlib.algorithms_available:
    HASHES["SHA-512-256"] = _sha512_256

STRONGEST_FIRST = tuple(name for name in ("SHA-512-256", "SHA-256", "MD5") if name in HASHES)


class Secret(Protocol):
    """What is kept of a password: HA1 per algorithm in hexadecimal; "" where it is not known."""

    @property
    def md5(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def sha512_256(self) -> str: ...


def ha1(username: str, realm: str, password: str) -> tuple[str, str, str]:
    """HA1 with MD5, SHA-256 and SHA-512-256 (RFC 7616 3.4.2); "" for one that this machine lacks."""
    text = _encoded(f"{username}:{realm}:{password}")
    md5, sha256, sha512_256 = (HASHES[name](text) if name in HASHES else "" for name in _HA1_ORDER)
    return md5, sha256, sha512_256


_HA1_ORDER = ("MD5", "SHA-256", "SHA-512-256")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def digest_response(
    algorithm: str, secret: str, nonce: str, use: tuple[str, str, str] | None, method: str, uri: str
) -> str:
    """RFC 7616 3.4.1 for qop=auth and, with no `use`, RFC 2069; `use` is (nc, cnonce, qop) as written."""
    hexdigest = HASHES[algorithm]
    ha2 = hexdigest(_encoded(f"{method}:{uri}"))
    if use is None:
        return hexdigest(_encoded(f"{secret}:{nonce}:{ha2}"))
    return hexdigest(_encoded(f"{secret}:{nonce}:{use[0]}:{use[1]}:{use[2]}:{ha2}"))


# ---------------------------------------------------------------- what the client says


class DigestCredentials(msgspec.Struct, frozen=True, gc=False):
    """One Authorization or Proxy-Authorization as it came; "" for what is missing."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    """upper case; MD5 when not said (RFC 7616 3.3)"""
    qop: str
    nc: str
    cnonce: str


# The form that nearly everyone writes, in one pass; all else (escapes, white space, faults) is left to
# the full grammar. Linear: nothing is tried twice, and the first oddity swallows the rest.
_plain_params = re.compile(r'([A-Za-z0-9*-]++)=(?:"([^"\\]*+)"|([^\s,"]*+))(?:, ?|$)|.+', re.DOTALL).findall


def _auth_params(text: str) -> tuple[str, dict[str, str]]:
    scheme, _, rest = text.partition(" ")
    found = _plain_params(rest)
    params = {name.lower(): quoted or plain for name, quoted, plain in found}
    if "" in params or len(params) != len(found):
        return parse_auth_params(text)
    return scheme.lower(), params


class Verdict(enum.Enum):
    """What credentials are worth."""

    OK = "right, and fresh"
    STALE = "right, but the nonce is too old, or not ours: challenge again with stale=true"
    WRONG = "the wrong password, or nobody of that name"
    REPLAYED = "right, but used before: challenge again with stale=true, and let the operator know"
    BROKEN = "they cannot be judged, or are meant for another resource: 400"


# ---------------------------------------------------------------- the server

_STAMP_BYTES = 12
_MAC_BYTES = 15
_WINDOW = 32
_SPENT = -1
"""Kept for a nonce that was used without a nonce count: it is good for one request only."""


class DigestServer:
    """Challenges, and judges what comes back. One for all realms.

    `key` is shared by processes that shall take each other's nonces, `process` tells them apart, and
    all of them go by one clock. `now` is the time of the start: nonces from before are stale here, since
    nobody remembers how often they were used. `legacy` lets clients of RFC 2069 in, which answer without
    qop; as nothing tells two of their requests apart, each nonce is good for one of them.
    """

    __slots__ = (
        "_algorithms",
        "_count",
        "_dummy",
        "_forgotten_ms",
        "_half",
        "_legacy",
        "_mac",
        "_older",
        "_process",
        "_ttl_ms",
        "_turned_ms",
        "_uses",
    )

    def __init__(
        self,
        key: bytes,
        *,
        now: float,
        process: int = 0,
        nonce_ttl_s: float = 300.0,
        algorithms: Sequence[str] = STRONGEST_FIRST,
        legacy: bool = True,
        max_nonces: int = 65_536,
    ) -> None:
        if len(key) < 16:
            raise Misuse("a nonce key of less than 16 bytes can be guessed")
        if not algorithms or not set(algorithms) <= HASHES.keys():
            raise Misuse(f"algorithms must be among {', '.join(HASHES)}: {algorithms}")
        self._mac = hashlib.blake2s(key=hashlib.sha256(key).digest(), digest_size=_MAC_BYTES)
        self._dummy = hashlib.blake2s(b"nobody", key=hashlib.sha256(key).digest()).hexdigest()
        self._algorithms = tuple(algorithms)
        self._legacy = legacy
        self._process = process & 0xFFFF
        self._count = 0
        self._ttl_ms = int(nonce_ttl_s * 1000)
        # How often each nonce was used, in two generations. The older one is dropped whole, and with it
        # the right of any nonce of its time to be seen for the first time.
        self._uses: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._half = max(1, max_nonces // 2)
        self._turned_ms = int(now * 1000) - 1
        self._forgotten_ms = self._turned_ms

    def challenge(self, realm: str, now: float, stale: bool = False) -> list[str]:
        """Values for WWW-Authenticate or Proxy-Authenticate, one per algorithm in order (RFC 8760 2.4)."""
        nonce = self._mint(realm, now)
        return [f"{before}{nonce}{after}" for before, after in _frames(realm, self._algorithms, stale)]

    def read(self, values: Iterable[str], realm: str) -> DigestCredentials | None:
        """The credentials for this realm among header values; None when there are none.

        Raises PeerFault(400) for a value that cannot be read.
        """
        for value in values:
            scheme, params = _auth_params(value)
            told = params.get
            if scheme == "digest" and told("realm") == realm:
                return DigestCredentials(
                    told("username", ""),
                    realm,
                    told("nonce", ""),
                    told("uri", ""),
                    told("response", ""),
                    told("algorithm", "MD5").upper(),
                    told("qop", "").lower(),
                    told("nc", ""),
                    told("cnonce", ""),
                )
        return None

    def check(
        self,
        credentials: DigestCredentials,
        method: str,
        uri: str,
        realm: str,
        secret: Secret | None,
        now: float,
    ) -> Verdict:
        """Judge credentials for one request; `uri` is its Request-URI. Call it once per request.

        Without a `secret` (nobody of that name) the work is the same and the verdict never OK. The
        uri that was signed must be the same resource: same user, same host; port and parameters may
        differ, since elements on the way add and remove those (RFC 3261 22.4, RFC 7616 3.4.6).
        """
        algorithm, nc = credentials.algorithm, self._count_of(credentials)
        if (
            algorithm not in self._algorithms
            or credentials.realm != realm
            or nc is None
            or not (credentials.uri == uri or _same_resource(credentials.uri, uri))
        ):
            return Verdict.BROKEN
        minted_ms = self._minted_ms(credentials.nonce, realm)
        known = "" if secret is None else _HA1_OF[algorithm](secret)
        expected = digest_response(
            algorithm,
            known or self._dummy,
            credentials.nonce,
            (credentials.nc, credentials.cnonce, credentials.qop) if credentials.qop else None,
            method,
            credentials.uri,
        )
        right = credentials.response.isascii() and compare_digest(expected, credentials.response)
        if not (right and known):
            return Verdict.WRONG
        now_ms = int(now * 1000)
        if not now_ms - self._ttl_ms <= minted_ms <= now_ms:
            return Verdict.STALE
        return self._use(credentials.nonce, nc, minted_ms, now_ms)

    def _count_of(self, credentials: DigestCredentials) -> int | None:
        """The nonce count, 0 for a client of RFC 2069; None for what makes no sense, or is not let in."""
        if credentials.qop == "auth":
            return (
                int(credentials.nc, 16) or None if credentials.cnonce and _is_count(credentials.nc) else None
            )
        # RFC 8760 2.6: who knows SHA-2 knows qop.
        return 0 if not credentials.qop and self._legacy and credentials.algorithm == "MD5" else None

    # ------------------------------------------------------------ nonces

    def _mint(self, realm: str, now: float) -> str:
        self._count = (self._count + 1) & 0xFFFFFFFF
        number = ((int(now * 1000) << 16 | self._process) << 32) | self._count
        stamp = number.to_bytes(_STAMP_BYTES, "big")
        return b2a_base64(stamp + self._signature(stamp, realm), newline=False).decode()

    def _signature(self, stamp: bytes, realm: str) -> bytes:
        mac = self._mac.copy()
        mac.update(stamp + _encoded(realm))
        return mac.digest()

    def _minted_ms(self, nonce: str, realm: str) -> int:
        """When the nonce was given out; -1, which is long ago, for one that is not ours."""
        try:
            raw = a2b_base64(nonce)
        except ValueError:
            return -1
        stamp = raw[:_STAMP_BYTES]
        if not compare_digest(raw[_STAMP_BYTES:], self._signature(stamp, realm)):
            return -1
        return int.from_bytes(stamp, "big") >> 48

    def _use(self, nonce: str, nc: int, minted_ms: int, now_ms: int) -> Verdict:
        if len(self._uses) >= self._half or now_ms - self._turned_ms > self._ttl_ms:
            self._forgotten_ms = self._turned_ms
            self._older, self._uses, self._turned_ms = self._uses, {}, now_ms
        seen = self._uses.get(nonce) or self._older.get(nonce)
        if seen is None:
            if minted_ms <= self._forgotten_ms:
                return Verdict.STALE
            self._uses[nonce] = nc << _WINDOW | 1 if nc else _SPENT
            return Verdict.OK
        if seen == _SPENT or not nc:
            return Verdict.STALE
        after = _counted(seen, nc)
        if after == seen:
            return Verdict.REPLAYED
        self._uses[nonce] = after
        return Verdict.OK


def _counted(seen: int, nc: int) -> int:
    """`seen` with `nc` marked as used; unchanged when it was, or is too far behind to know.

    `seen` holds the highest nonce count, and below it a bit for each of the last 32: requests overtake
    each other on the way.
    """
    behind = (seen >> _WINDOW) - nc
    if behind >= _WINDOW:
        return seen
    if behind >= 0:
        return seen | 1 << behind
    window = (seen << -behind) & (2**_WINDOW - 1) if -behind < _WINDOW else 0
    return nc << _WINDOW | window | 1


_HA1_OF: dict[str, Callable[[Secret], str]] = {
    "MD5": lambda secret: secret.md5,
    "SHA-256": lambda secret: secret.sha256,
    "SHA-512-256": lambda secret: secret.sha512_256,
}
_is_count = re.compile(r"[0-9a-fA-F]{8}").fullmatch


@lru_cache(maxsize=1024)
def _frames(realm: str, algorithms: tuple[str, ...], stale: bool) -> list[tuple[str, str]]:
    before = f'Digest realm={quote(realm)}, nonce="'
    again = ", stale=true" if stale else ""
    return [(before, f'", algorithm={algorithm}, qop="auth"{again}') for algorithm in algorithms]


def _same_resource(signed: str, requested: str) -> bool:
    try:
        one, other = parse_uri(signed), parse_uri(requested)
    except PeerFault:
        return False
    return one.user == other.user and one.host == other.host
