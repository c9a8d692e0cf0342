"""The built-in phone: a small, strict SIP user agent that shares no code with the server.

Because it shares none, a bug of the one is not the other's blind spot. It says what it means and
writes down in `complaints` whatever the other side does against the RFCs. It lives on real sockets
(`jackfield try`) and in virtual time (the tests) alike.
"""

from jackfield.phone.call import Call
from jackfield.phone.events import Account
from jackfield.phone.ladder import Ladder
from jackfield.phone.listening import Digit, Heard
from jackfield.phone.phone import Phone
from jackfield.phone.sdp import EVENTS, G722, OPUS, PCMA, PCMU, Codec
from jackfield.phone.shell import Answers, Redirects, Rejects, Rings
from jackfield.phone.sound import SILENCE, Tone, tone
from jackfield.phone.transaction import Timers
from jackfield.phone.transport import StreamTransport, Transport, UdpTransport
from jackfield.phone.waiting import NotAsTold

__all__ = [
    "EVENTS", "G722", "OPUS", "PCMA", "PCMU", "SILENCE", "Account", "Answers", "Call", "Codec", "Digit",
    "Heard", "Ladder", "NotAsTold", "Phone", "Redirects", "Rejects", "Rings", "StreamTransport", "Timers",
    "Tone", "Transport", "UdpTransport", "tone",
]  # fmt: skip
