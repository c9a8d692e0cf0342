"""Names of header fields: compact forms, which are lists, which may come once (RFC 3261 section 7.3).

A *key* is a name in lower case with its compact form written out; all look-ups go by key.
"""

from __future__ import annotations

from sipcore.faults import Misuse
from sipcore.params import is_token

COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_KNOWN = """
Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Alert-Info Allow Allow-Events
Answer-Mode Authentication-Info Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding
Content-ID Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires
Feature-Caps Flow-Timer From Geolocation History-Info Identity Info-Package In-Reply-To Join Max-Breadth
Max-Forwards MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info P-Asserted-Identity
P-Associated-URI P-Called-Party-ID P-Charging-Vector P-Early-Media P-Preferred-Identity Path Priority Privacy
Proxy-Authenticate Proxy-Authorization Proxy-Require
RAck Reason Record-Route Recv-Info Refer-Sub Refer-To Referred-By Reject-Contact Remote-Party-ID
Replaces Reply-To Request-Disposition Require Resource-Priority Retry-After Route RSeq Security-Client
Security-Server Security-Verify Server Service-Route Session-Expires Session-ID SIP-ETag SIP-If-Match Subject
Subscription-State Supported Target-Dialog Timestamp To Unsupported User-Agent User-to-User Via Warning
WWW-Authenticate
"""

_LISTS = """
accept accept-contact accept-encoding accept-language alert-info allow allow-events call-info contact
content-encoding content-language diversion error-info feature-caps geolocation history-info in-reply-to
p-asserted-identity p-associated-uri p-preferred-identity path proxy-require reason record-route recv-info
reject-contact remote-party-id request-disposition require resource-priority route security-client
security-server security-verify service-route supported unsupported via warning
"""
LISTS = frozenset(_LISTS.split())
"""Keys whose values are comma-separated lists; authentication headers have commas but are not (7.3.1)."""

_SINGLE = """
call-id content-length content-type cseq event expires from max-forwards min-expires min-se rack refer-to
referred-by replaces rseq session-expires to
"""
SINGLE = frozenset(_SINGLE.split())
"""Keys that may come once; repeated with another value they contradict, and we will not guess."""

_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 40


class NotAName(Misuse):
    """A header name that is no token. The parser turns it into a PeerFault, our own code must not use one."""


KEYS: dict[str, str] = {}
"""Name as written -> key, for quick look-ups; what is not here, `key_of` works out."""
for _name in _KNOWN.split():
    KEYS[_name] = KEYS[_name.lower()] = _name.lower()


def key_of(name: str) -> str:
    """The key of a header name. A bounded number of unknown names is remembered. Raises NotAName."""
    key = KEYS.get(name)
    if key is None:
        if not is_token(name):
            raise NotAName(f"no header name: {name[:40]!r}")
        key = COMPACT.get(name.lower(), name.lower())
        if len(KEYS) < _MOST_REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
            KEYS[name] = key
    return key
