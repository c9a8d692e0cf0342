"""All transactions that live, and the running of their tables (RFC 3261 section 17).

Finds the transaction that a message belongs to by its key, takes the step that `transaction.py` says,
keeps the timers. Reads no message and writes none: it is handed bytes to send, and tells its caller
what the tables tell. Who the caller's own record of a transaction is, is its business (`user`).

After its final response a transaction is one small struct with at most the response's bytes, in a
lane of its timer: at 1,500 calls a second there are some 150,000 of them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sipcore.events import Output, Transmit
from sipcore.faults import Misuse
from sipcore.flow import Flow, Transport
from sipcore.timers import NEVER, Deadlines, Lane, Letter, Timers
from sipcore.transaction import (
    TRANSPORT_ERROR,
    AtT2,
    Do,
    Double,
    Effect,
    Machine,
    Start,
    State,
    Step,
    Stop,
    Tell,
    Trigger,
)

Outputs = list[Output]


class Transaction(msgspec.Struct, gc=False, eq=False):
    """One transaction. Refers to nothing that could refer back to it, hence no work for the collector."""

    key: str
    machine: Machine
    rows: Rows
    state: State
    flow: Flow
    user: int = 0
    """its user's id for what it belongs to"""
    wire: bytes = b""
    """what is sent again when asked for"""
    interval_s: float = 0.0
    merge_key: str = ""
    """of a request without To tag, to tell a merged one (8.2.2.2)"""
    reply_port: int = 0
    """of a server transaction on a connection: where a response goes when that breaks (18.2.2)"""
    acks: tuple[tuple[str, Transmit], ...] = ()
    """of an accepted INVITE of ours: the ACK sent for each To tag, for when its 2xx comes again"""


Run = Callable[[Transaction, float, Outputs, bytes], None]
Row = tuple[State, tuple[Run, ...], Tell | None]
Rows = dict[tuple[int, int], Row]
Told = list[tuple[Transaction, Tell]]

_LINGERING = (Letter.D, Letter.I, Letter.J, Letter.K, Letter.L, Letter.M)
_RESENDING = (Letter.A, Letter.E, Letter.G)
_CLIENTS = frozenset((Machine.INVITE_CLIENT, Machine.REQUEST_CLIENT))
_OVER = frozenset((State.ACCEPTED, State.COMPLETED))


class TransactionStore:
    """Transactions by key: those that we began as `clients`, those that peers began as `servers`."""

    def __init__(self, timers: Timers) -> None:
        self.clients: dict[str, Transaction] = {}
        self.servers: dict[str, Transaction] = {}
        self.merge_keys: dict[str, str] = {}
        """merge key of a live server transaction -> its key"""
        self._timers = timers
        self._deadlines: Deadlines[tuple[Letter, Transaction]] = Deadlines()
        self._lanes: dict[Letter, Lane[Transaction]] = {letter: Lane() for letter in _LINGERING}
        self._lanes_due = NEVER
        """the earliest deadline in a lane"""
        self._by_flow: dict[Flow, set[Transaction]] = {}
        self._rows = {
            (machine, reliable): self._compile(machine, reliable)
            for machine in Machine
            for reliable in (False, True)
        }

    # ------------------------------------------------------------ beginnings

    def begin_client(
        self, machine: Machine, key: str, flow: Flow, user: int, wire: bytes, now: float, out: Outputs
    ) -> Transaction:
        """Send a request of ours; `key` is what `client_key` makes of its responses."""
        tx = Transaction(
            key, machine, self._rows[machine, flow.transport.reliable], machine.first, flow, user
        )
        self.clients[key] = tx
        self._by_flow.setdefault(flow, set()).add(tx)
        self.fire(tx, Trigger.BEGIN, now, out, wire)
        return tx

    def begin_server(
        self, machine: Machine, key: str, flow: Flow, merge_key: str = "", reply_port: int = 0
    ) -> Transaction:
        """Note a peer's request that is new; responses to it go to `flow`."""
        reliable = flow.transport is not Transport.UDP
        tx = Transaction(key, machine, self._rows[machine, reliable], machine.first, flow)
        self.servers[key] = tx
        if merge_key:
            tx.merge_key = merge_key
            self.merge_keys[merge_key] = key
        if reliable:
            tx.reply_port = reply_port
            self._by_flow.setdefault(flow, set()).add(tx)
        return tx

    # ------------------------------------------------------------ what happens to them

    def fire(
        self, tx: Transaction, trigger: Trigger, now: float, out: Outputs, wire: bytes = b""
    ) -> Tell | None:
        """Take one step; `wire` is what there is to send. Returns what the user is told. Raises Misuse."""
        row = tx.rows.get((tx.state, trigger))
        if row is None:
            raise Misuse(f"{tx.machine.name} in {tx.state.name}: no row for {trigger.name}")
        tx.state, runs, tell = row
        for run in runs:
            run(tx, now, out, wire)
        return tell

    def is_due(self, now: float) -> bool:
        """True when `expire` may have something to do."""
        return now >= self._lanes_due or now >= self._deadlines.earliest

    def expire(self, now: float, out: Outputs) -> Told:
        """Fire the timers that are due, and return what users are to be told."""
        if now >= self._lanes_due:
            self._expire_lanes(now, out)
        told: Told = []
        while (due := self._deadlines.pop(now)) is not None:
            letter, tx = due
            tell = self.fire(tx, Trigger(letter), now, out)
            if tell is not None:
                told.append((tx, tell))
        return told

    def _expire_lanes(self, now: float, out: Outputs) -> None:
        """End what has lingered long enough; nobody is told."""
        for letter, lane in self._lanes.items():
            trigger = Trigger(letter)
            while (tx := lane.pop(now)) is not None:
                self.fire(tx, trigger, now, out)
        heads = [when for lane in self._lanes.values() if (when := lane.next()) is not None]
        self._lanes_due = min(heads, default=NEVER)

    def flow_failed(self, flow: Flow, now: float, out: Outputs) -> Told:
        """Take the steps of a transport error for all transactions that rely on `flow`."""
        told: Told = []
        for tx in self._by_flow.pop(flow, ()):
            step = TRANSPORT_ERROR[tx.machine, tx.state]
            state, runs, tell = self._row(step, tx.machine, flow.transport.reliable, tx.state)
            tx.state = state
            for run in runs:
                run(tx, now, out, b"")
            if tell is not None:
                told.append((tx, tell))
        return told

    def move(self, tx: Transaction, flow: Flow) -> None:
        """Let a server transaction go on over another flow."""
        self._leave_flow(tx, 0.0, [], b"")
        tx.flow = flow
        self._by_flow.setdefault(flow, set()).add(tx)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, or None."""
        running, lingering = self._deadlines.next(), self._lanes_due
        if running is None:
            return None if lingering == NEVER else lingering
        return min(running, lingering)

    def timers_running(self) -> int:
        """How many timers are started: for leak checks."""
        return len(self._deadlines) + sum(len(lane) for lane in self._lanes.values())

    def flows_watched(self) -> int:
        """How many flows would be missed if they failed: for leak checks."""
        return len(self._by_flow)

    # ------------------------------------------------------------ tables into calls

    def _compile(self, machine: Machine, reliable: bool) -> Rows:
        return {
            (int(state), int(trigger)): self._row(step, machine, reliable, state)
            for (state, trigger), step in machine.table.items()
        }

    def _row(self, step: Step, machine: Machine, reliable: bool, before: State) -> Row:
        runs = [run for do in step.effects if (run := self._run(do, reliable)) is not None]
        if step.state is State.TERMINATED:
            runs.append(self._end_client if machine in _CLIENTS else self._end_server)
        elif step.state in _OVER and before not in _OVER and machine in _CLIENTS:
            runs.insert(0, self._leave_flow)  # nothing of ours is on its way any more
        return step.state, tuple(runs), step.tell

    def _run(self, do: Do, reliable: bool) -> Run | None:
        """The call that does it, or None for a timer that does not run on this transport."""
        match do:
            case Effect.SEND:
                return _send
            case Effect.SEND_ONCE:
                return _send_once
            case Effect.RESEND:
                return _resend
            case Effect.FORGET:
                return _forget
            case Tell():
                return None
        delay_s = self._timers.delays(reliable=reliable).get(do.letter)
        if delay_s is None:
            return None
        match do:
            case Start(letter):
                return self._starter(letter, delay_s)
            case Stop(letter):
                return self._stopper(letter)
            case Double(letter, capped):
                return self._doubler(letter, self._timers.t2 if capped else float("inf"))
            case AtT2(letter):
                return self._starter(letter, self._timers.t2)

    def _starter(self, letter: Letter, delay_s: float) -> Run:
        deadlines, trigger = self._deadlines, Trigger(letter)

        def start(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            deadlines.start((letter, tx), now + delay_s)

        def start_resending(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            tx.interval_s = delay_s
            deadlines.start((letter, tx), now + delay_s)

        def at_once(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            self.fire(tx, trigger, now, out)

        if delay_s == 0:
            return at_once
        if letter in self._lanes:
            return self._lingerer(self._lanes[letter], delay_s)
        return start_resending if letter in _RESENDING else start

    def _lingerer(self, lane: Lane[Transaction], delay_s: float) -> Run:
        def linger(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            when = now + delay_s
            lane.start(tx, when)
            if when < self._lanes_due:
                self._lanes_due = when

        return linger

    def _stopper(self, letter: Letter) -> Run:
        deadlines = self._deadlines

        def stop(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            deadlines.stop((letter, tx))

        return stop

    def _doubler(self, letter: Letter, cap_s: float) -> Run:
        deadlines = self._deadlines

        def double(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
            tx.interval_s = interval_s = min(2 * tx.interval_s, cap_s)
            deadlines.start((letter, tx), now + interval_s)

        return double

    def _leave_flow(self, tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
        sharing = self._by_flow.get(tx.flow)
        if sharing is not None:
            sharing.discard(tx)
            if not sharing:
                del self._by_flow[tx.flow]

    def _end_client(self, tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
        del self.clients[tx.key]
        if tx.flow in self._by_flow:
            self._leave_flow(tx, now, out, wire)

    def _end_server(self, tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
        del self.servers[tx.key]
        if tx.merge_key:
            self.merge_keys.pop(tx.merge_key, None)
        if tx.flow.transport is not Transport.UDP:
            self._leave_flow(tx, now, out, wire)


def _send(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
    tx.wire = wire
    out.append(Transmit(tx.flow, wire))


def _send_once(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
    out.append(Transmit(tx.flow, wire))


def _resend(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
    out.append(Transmit(tx.flow, tx.wire))


def _forget(tx: Transaction, now: float, out: Outputs, wire: bytes) -> None:
    tx.wire = b""
