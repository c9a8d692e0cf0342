"""What the parts of the stack share: settings, transactions, deadlines, usages, the outputs of this input.

Answers requests and remembers usages; knows nothing of what calls mean. One `Core` belongs to one `Stack`.
"""

from __future__ import annotations

import msgspec

from sipcore.dialog import Dialog
from sipcore.events import DialogId, Event, PeerBroke, RequestId, Resolve, Transmit
from sipcore.faces import Faces, SourceFor
from sipcore.flow import Flow
from sipcore.identifiers import Identifiers, RandomSource
from sipcore.session_timer import Wanted
from sipcore.settings import StackSettings
from sipcore.text import write_response
from sipcore.timers import Deadlines, Lane
from sipcore.transaction import Tell, Trigger
from sipcore.transaction_store import Outputs, Transaction, TransactionStore
from sipcore.usage import DialogTimer, Offer, Phase, Usage


class Unanswered(msgspec.Struct, gc=False):
    """A request of a peer, other than a first INVITE, that waits for the call layer's `Reply`."""

    transaction: Transaction
    head: str
    method: str
    dialog: int
    """0 outside any dialog"""
    cseq: int
    has_offer: bool = False
    contact: str = ""
    """our Contact line, for a 2xx that needs one"""
    target: str = ""
    """the remote target once a 2xx is sent (RFC 3261 12.2.2)"""
    takes_update: bool = False
    wanted: Wanted | None = None


class Core:
    """See the module."""

    def __init__(self, settings: StackSettings, random: RandomSource, source_for: SourceFor) -> None:
        self.settings = settings
        self.random = random
        self.ids = Identifiers(random)
        self.source_for = source_for
        self.faces = Faces(settings, source_for)
        self.transactions = TransactionStore(settings.timers)
        self.deadlines: Deadlines[tuple[DialogTimer, DialogId]] = Deadlines()
        self.usages: dict[int, Usage] = {}
        self.by_tag: dict[str, DialogId] = {}
        """our tag of a dialog -> its usage"""
        self.left: dict[str, float] = {}
        """our tag of a dialog that we ended by BYE -> until when the peer's own BYE may cross it"""
        self.unanswered: dict[int, Unanswered] = {}
        self.patience: Lane[RequestId] = Lane()
        """when those that are no INVITEs are given up: their senders have by then (timer F)"""
        self.out: Outputs = []
        self.now = 0.0
        self.in_hand: tuple[Transaction, str] | None = None
        """the server transaction, and the head of its responses, of the request that is being looked at"""
        self.subject = 0
        """the dialog that is being worked on: it ends when a fault of ours shows itself"""
        self._last_id = 0
        name = settings.server_name
        allow = f"Allow: {', '.join(settings.methods)}\r\n"
        supported = f"Supported: {', '.join(settings.extensions)}\r\n"
        self.allow_line = allow
        self.supported_line = supported
        self.server_line = f"Server: {name}\r\n" if name else ""
        self.retry_line = f"Retry-After: {settings.retry_after_s}\r\n"
        """for a 503 (RFC 3261 21.5.4)"""
        self.agent_line = f"User-Agent: {name}\r\n" if name else ""
        self.able_lines = f"{allow}{supported}{self.server_line}"
        """for responses that show what we can: 1xx and 2xx to INVITE, 2xx to UPDATE and OPTIONS"""

    def new_id(self) -> int:
        """A DialogId or RequestId that was never given before."""
        self._last_id += 1
        return self._last_id

    def was_given(self, number: int) -> bool:
        return 0 < number <= self._last_id

    # ------------------------------------------------------------ usages

    def add(self, usage: Usage) -> None:
        self.usages[usage.id] = usage
        self.by_tag[usage.local_tag] = usage.id

    def remove(self, usage: Usage) -> None:
        """Forget a usage that is over, with its deadlines. What waits for answers must be settled before."""
        usage.phase = Phase.OVER
        self.usages.pop(usage.id, None)
        self.by_tag.pop(usage.local_tag, None)
        for timer in usage.timers:
            self.deadlines.stop((timer, usage.id))

    def note_left(self, local_tag: str) -> None:
        """We end this dialog; for T4, as long as a message stays in the network, a BYE may cross ours."""
        while self.left and next(iter(self.left.values())) <= self.now:
            del self.left[next(iter(self.left))]
        self.left[local_tag] = self.now + self.settings.timers.t4

    def find(self, call_id: str, local_tag: str, remote_tag: str) -> tuple[Usage, Dialog] | None:
        """The dialog with these three, early or confirmed (RFC 3261 12)."""
        dialog_id = self.by_tag.get(local_tag)
        if dialog_id is None:
            return None
        usage = self.usages[dialog_id]
        dialog = usage.dialog
        if dialog is None and usage.calling is not None:
            dialog = usage.calling.early.get(remote_tag)
        if dialog is None or not dialog.is_with(call_id, remote_tag):
            return None
        return usage, dialog

    def start(self, timer: DialogTimer, usage: Usage, when: float) -> None:
        if timer not in usage.timers:
            usage.timers = (*usage.timers, timer)
        self.deadlines.start((timer, usage.id), when)

    def stop(self, timer: DialogTimer, usage: Usage) -> None:
        self.deadlines.stop((timer, usage.id))

    # ------------------------------------------------------------ outputs

    def tell(self, event: Event) -> None:
        self.out.append(event)

    def ask(self, question: Resolve) -> None:
        self.out.append(question)

    def transmit(self, flow: Flow, wire: bytes) -> None:
        self.out.append(Transmit(flow, wire))

    def broke(self, flow: Flow, status: int, rule: str) -> None:
        self.out.append(PeerBroke(flow, status, rule))

    def respond(
        self, tx: Transaction, head: str, status: int, reason: str = "", lines: str = "", body: bytes = b""
    ) -> bytes:
        """Send a response through its transaction and return its bytes."""
        wire = write_response(head, status, reason, lines, body)
        trigger = _TRIGGERS[status // 100]
        self.fire(tx, trigger, wire)
        return wire

    def fire(self, tx: Transaction, trigger: Trigger, wire: bytes = b"") -> Tell | None:
        return self.transactions.fire(tx, trigger, self.now, self.out, wire)

    def contact_line(self, flow: Flow, *, secure: bool) -> str:
        face = self.faces.of(flow)
        return f"Contact: {face.secure_contact if secure else face.contact}\r\n"

    def put_up(self, unanswered: Unanswered) -> RequestId:
        """Let a request of a peer wait for its `Reply`."""
        request = RequestId(self.new_id())
        self.unanswered[request] = unanswered
        if unanswered.method != "INVITE":
            self.patience.start(request, self.now + self.settings.timers.give_up_s)
        return request

    def forget_unanswered(self) -> None:
        """Drop what the call layer did not answer while anybody waited: its bug must not fill our memory."""
        while (request := self.patience.pop(self.now)) is not None:
            unanswered = self.unanswered.pop(request, None)
            if unanswered is None:
                continue
            self.fire(unanswered.transaction, Trigger.ABANDON)
            usage = self.usages.get(unanswered.dialog)
            if usage is not None:
                usage.pending = tuple([number for number in usage.pending if number != request])
                if unanswered.has_offer and unanswered.method == "UPDATE":
                    usage.offer = Offer.NONE


_TRIGGERS = (
    Trigger.SEND_1XX,  # no status begins with 0
    Trigger.SEND_1XX,
    Trigger.SEND_2XX,
    Trigger.SEND_300_UP,
    Trigger.SEND_300_UP,
    Trigger.SEND_300_UP,
    Trigger.SEND_300_UP,
)
