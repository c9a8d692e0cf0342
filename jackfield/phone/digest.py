"""Answering a digest challenge (RFC 7616, RFC 8760), apart from the server's own digest.

Of several challenges the first one that we can answer is taken, which is the server's preference
(RFC 8760 2.4). Only qop=auth, and none for servers of RFC 2069's time.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

from jackfield.phone.message import Message

HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
PAIR = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate, and how often its nonce was used."""

    proxy: bool
    realm: str
    nonce: str
    algorithm: str
    opaque: str
    qop: str
    stale: bool
    uses: int = 0


def read_challenges(response: Message) -> tuple[list[Challenge], list[str]]:
    """The challenges of a 401 or 407 that we can answer, in the server's order, and their faults."""
    proxy = response.status == 407
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    found, faults = [], []
    for value in response.all(name):
        scheme, _, rest = value.partition(" ")
        pairs = {m[1].lower(): m[2] if m[2] is not None else m[3] for m in PAIR.finditer(rest)}
        if scheme.lower() != "digest":
            continue
        if "realm" not in pairs or "nonce" not in pairs:
            faults.append(f"a challenge without realm or nonce (RFC 7616 3.3): {value}")
            continue
        algorithm = pairs.get("algorithm", "MD5").upper()
        qops = [qop.strip() for qop in pairs.get("qop", "").split(",")]
        if algorithm in HASHES and ("auth" in qops or qops == [""]):
            stale = pairs.get("stale", "").lower() == "true"
            opaque = pairs.get("opaque", "")
            qop = "auth" if "auth" in qops else ""
            found.append(Challenge(proxy, pairs["realm"], pairs["nonce"], algorithm, opaque, qop, stale))
    if not response.all(name):
        faults.append(f"{response.status} without {name} (RFC 3261 20.27, 20.44)")
    return found, faults


def authorize(
    challenge: Challenge, method: str, uri: str, username: str, password: str, rng: random.Random
) -> tuple[str, str]:
    """The header field (name, value) that answers `challenge` for one request; counts the nonce's use."""
    challenge.uses += 1

    def h(text: str) -> str:
        return hashlib.new(HASHES[challenge.algorithm], text.encode()).hexdigest()

    ha1 = h(f"{username}:{challenge.realm}:{password}")
    ha2 = h(f"{method}:{uri}")
    parts = [
        f'username="{username}"',
        f'realm="{challenge.realm}"',
        f'nonce="{challenge.nonce}"',
        f'uri="{uri}"',
        f"algorithm={challenge.algorithm}",
    ]
    if challenge.qop:
        cnonce, count = f"{rng.getrandbits(64):016x}", f"{challenge.uses:08x}"
        response = h(f"{ha1}:{challenge.nonce}:{count}:{cnonce}:auth:{ha2}")
        parts += [f'response="{response}"', "qop=auth", f"nc={count}", f'cnonce="{cnonce}"']
    else:
        response = h(f"{ha1}:{challenge.nonce}:{ha2}")
        parts.append(f'response="{response}"')
    if challenge.opaque:
        parts.append(f'opaque="{challenge.opaque}"')
    return "Proxy-Authorization" if challenge.proxy else "Authorization", "Digest " + ", ".join(parts)
