"""The four transactions, row by row against RFC 3261 17 and RFC 6026, and their timers to the tenth."""

from __future__ import annotations

import pytest

from sipcore.events import Output, Transmit
from sipcore.faults import Misuse
from sipcore.flow import Flow, Transport
from sipcore.timers import Timers
from sipcore.transaction import TRANSPORT_ERROR, Machine, State, Tell, Trigger
from sipcore.transaction_store import Transaction, TransactionStore

UDP = Flow(Transport.UDP, ("192.0.2.1", 5060), ("192.0.2.10", 5060))
TCP = Flow(Transport.TCP, ("192.0.2.1", 5060), ("192.0.2.10", 40000), connection=3)
CLIENTS = (Machine.INVITE_CLIENT, Machine.REQUEST_CLIENT)

WIRE, ACK, RESPONSE = b"REQUEST", b"ACK", b"RESPONSE"


class Bench:
    """One transaction in a store of its own."""

    def __init__(self, machine: Machine, flow: Flow = UDP) -> None:
        self.store = TransactionStore(Timers())
        self.out: list[Output] = []
        self.now = 0.0
        self.flow = flow
        if machine in CLIENTS:
            self.tx = self.store.begin_client(machine, "key", flow, 1, WIRE, 0.0, self.out)
        else:
            self.tx = self.store.begin_server(machine, "key", flow, "merge", 5060)

    def fire(self, trigger: Trigger, wire: bytes = b"") -> tuple[list[bytes], Tell | None]:
        self.out.clear()
        tell = self.store.fire(self.tx, trigger, self.now, self.out, wire)
        return [output.data for output in self.out if isinstance(output, Transmit)], tell

    def run(self, for_s: float) -> list[tuple[float, object]]:
        """What happens as time passes: what is transmitted, and what the user is told."""
        log: list[tuple[float, object]] = []
        began, end = self.now, self.now + for_s
        while (when := self.store.next_deadline()) is not None and when <= end:
            self.now = when
            self.out.clear()
            told = self.store.expire(when, self.out)
            log += [(round(when - began, 3), o.data) for o in self.out if isinstance(o, Transmit)]
            log += [(round(when - began, 3), tell) for _, tell in told]
        self.now = end
        return log

    @property
    def is_gone(self) -> bool:
        store = self.store
        left = (store.clients, store.servers, store.merge_keys)
        return not any(left) and store.timers_running() == 0 and store.flows_watched() == 0


def times(log: list[tuple[float, object]], what: object) -> list[float]:
    return [when for when, happened in log if happened == what]


# ---------------------------------------------------------------- timers, as the RFC lists them


def test_an_invite_is_resent_with_doubling_intervals_until_timer_b() -> None:
    log = Bench(Machine.INVITE_CLIENT).run(64)
    assert times(log, WIRE) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert log[-1] == (32.0, Tell.TIMEOUT)


def test_an_invite_over_tcp_is_not_resent_but_timer_b_runs() -> None:
    bench = Bench(Machine.INVITE_CLIENT, TCP)
    assert bench.run(64) == [(32.0, Tell.TIMEOUT)]
    assert bench.is_gone


def test_a_request_is_resent_with_intervals_up_to_t2_until_timer_f() -> None:
    log = Bench(Machine.REQUEST_CLIENT).run(64)
    assert times(log, WIRE) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert log[-1] == (32.0, Tell.TIMEOUT)


def test_a_request_that_is_proceeding_is_resent_every_t2() -> None:
    bench = Bench(Machine.REQUEST_CLIENT)
    bench.run(0.6)
    assert bench.fire(Trigger.GET_1XX) == ([], Tell.PASS_UP)
    log = bench.run(64)
    assert times(log, WIRE)[:3] == [0.9, 4.9, 8.9]  # timer E was at 1.5 already, then T2 counts
    assert log[-1] == (31.4, Tell.TIMEOUT)
    assert bench.is_gone


def test_a_refusal_that_nobody_acknowledges_is_resent_until_timer_h() -> None:
    bench = Bench(Machine.INVITE_SERVER)
    assert bench.fire(Trigger.SEND_300_UP, RESPONSE) == ([RESPONSE], None)
    log = bench.run(64)
    assert times(log, RESPONSE) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert log[-1] == (32.0, Tell.NO_ACK)
    assert bench.is_gone


def test_a_refusal_over_tcp_is_not_resent_but_timer_h_runs() -> None:
    bench = Bench(Machine.INVITE_SERVER, TCP)
    bench.fire(Trigger.SEND_300_UP, RESPONSE)
    assert bench.run(64) == [(32.0, Tell.NO_ACK)]


LINGERS = [
    # machine, what ends its work, state, seconds on UDP and on TCP
    (Machine.INVITE_CLIENT, [Trigger.GET_2XX], State.ACCEPTED, 32.0, 32.0),
    (Machine.INVITE_CLIENT, [Trigger.GET_300_UP], State.COMPLETED, 32.0, 0.0),
    (Machine.REQUEST_CLIENT, [Trigger.GET_2XX], State.COMPLETED, 5.0, 0.0),
    (Machine.REQUEST_CLIENT, [Trigger.GET_1XX, Trigger.GET_300_UP], State.COMPLETED, 5.0, 0.0),
    (Machine.INVITE_SERVER, [Trigger.SEND_2XX], State.ACCEPTED, 32.0, 32.0),
    (Machine.INVITE_SERVER, [Trigger.SEND_300_UP, Trigger.ACK], State.CONFIRMED, 5.0, 0.0),
    (Machine.REQUEST_SERVER, [Trigger.SEND_2XX], State.COMPLETED, 32.0, 0.0),
    (Machine.REQUEST_SERVER, [Trigger.SEND_1XX, Trigger.SEND_300_UP], State.COMPLETED, 32.0, 0.0),
]


@pytest.mark.parametrize(("machine", "triggers", "state", "udp_s", "tcp_s"), LINGERS)
def test_what_is_answered_lingers_as_long_as_the_rfc_says(
    machine: Machine, triggers: list[Trigger], state: State, udp_s: float, tcp_s: float
) -> None:
    bench = Bench(machine)
    for trigger in triggers:
        bench.fire(trigger, RESPONSE)
    assert bench.tx.state is state
    assert bench.store.next_deadline() == udp_s
    assert bench.run(udp_s) == []
    assert bench.is_gone


@pytest.mark.parametrize(("machine", "triggers", "state", "udp_s", "tcp_s"), LINGERS)
def test_over_tcp_it_is_gone_at_once_where_the_rfc_says_zero(
    machine: Machine, triggers: list[Trigger], state: State, udp_s: float, tcp_s: float
) -> None:
    bench = Bench(machine, TCP)
    for trigger in triggers:
        bench.fire(trigger, RESPONSE)
    bench.run(tcp_s)
    assert bench.is_gone


# ---------------------------------------------------------------- rows


def reached(machine: Machine, state: State) -> Bench:
    """A fresh transaction put into `state`."""
    bench = Bench(machine)
    bench.tx.state = state
    bench.tx.wire = WIRE
    return bench


ROWS = [(machine, *pair) for machine in Machine for pair in machine.table]
PAIRS = [
    (machine, state, trigger)
    for machine in Machine
    for state in State
    for trigger in Trigger
    if (state, trigger) not in machine.table
]


@pytest.mark.parametrize(("machine", "state", "trigger"), ROWS)
def test_every_row_leads_where_it_says(machine: Machine, state: State, trigger: Trigger) -> None:
    bench = reached(machine, state)
    bench.fire(trigger, RESPONSE)
    assert bench.tx.state is machine.table[state, trigger].state


@pytest.mark.parametrize("machine", Machine)
def test_every_other_pair_is_refused(machine: Machine) -> None:
    others = [pair for pair in PAIRS if pair[0] is machine]
    assert len(others) + len(machine.table) == len(State) * len(Trigger)
    for _, state, trigger in others:
        with pytest.raises(Misuse, match=trigger.name):
            reached(machine, state).fire(trigger)


STRANGERS = {
    Machine.INVITE_CLIENT: (Trigger.GET_1XX, Trigger.GET_2XX, Trigger.GET_300_UP),
    Machine.REQUEST_CLIENT: (Trigger.GET_1XX, Trigger.GET_2XX, Trigger.GET_300_UP),
    Machine.INVITE_SERVER: (Trigger.REQUEST_AGAIN, Trigger.ACK),
    Machine.REQUEST_SERVER: (Trigger.REQUEST_AGAIN,),
}


@pytest.mark.parametrize("machine", Machine)
def test_what_a_stranger_can_cause_is_listed_in_every_state(machine: Machine) -> None:
    states = {state for state, _ in machine.table}
    pairs = {(state, trigger) for state in states for trigger in STRANGERS[machine]}
    # An ACK cannot match before the INVITE's transaction, which is PROCEEDING from its first moment.
    assert pairs <= set(machine.table)


@pytest.mark.parametrize("machine", Machine)
def test_every_timer_that_is_started_has_a_row_where_it_can_fire(machine: Machine) -> None:
    bench = Bench(machine)
    fired = {trigger for _, trigger in machine.table if trigger.name.startswith("TIMER_")}
    assert fired == {Trigger[f"TIMER_{letter}"] for letter in _letters(bench, machine)}


def _letters(bench: Bench, machine: Machine) -> set[str]:
    letters = set()
    for step in machine.table.values():
        letters |= {do.letter.name for do in step.effects if hasattr(do, "letter")}
    return letters


def test_the_first_refusal_is_acknowledged_and_its_copies_again() -> None:
    bench = Bench(Machine.INVITE_CLIENT)
    assert bench.fire(Trigger.GET_300_UP, ACK) == ([ACK], Tell.PASS_UP)
    assert bench.fire(Trigger.GET_300_UP, b"another") == ([ACK], None)


def test_copies_of_a_2xx_to_an_invite_are_passed_up() -> None:
    bench = Bench(Machine.INVITE_CLIENT)
    assert bench.fire(Trigger.GET_2XX) == ([], Tell.PASS_UP)
    assert bench.fire(Trigger.GET_2XX) == ([], Tell.PASS_UP)
    assert bench.fire(Trigger.GET_300_UP) == ([], None)


def test_after_its_answer_a_transaction_keeps_only_what_it_resends() -> None:
    accepted, answered, asked = (
        Bench(Machine.INVITE_SERVER),
        Bench(Machine.REQUEST_SERVER),
        Bench(Machine.INVITE_CLIENT),
    )
    accepted.fire(Trigger.SEND_1XX, b"180")
    accepted.fire(Trigger.SEND_2XX, RESPONSE)
    answered.fire(Trigger.SEND_2XX, RESPONSE)
    asked.fire(Trigger.GET_2XX)
    assert (accepted.tx.wire, answered.tx.wire, asked.tx.wire) == (b"", RESPONSE, b"")


# ---------------------------------------------------------------- transport errors


def test_transport_errors_have_a_row_for_every_state_that_is_not_the_end() -> None:
    states = {(machine, state) for machine in Machine for state, _ in machine.table}
    assert set(TRANSPORT_ERROR) == states


@pytest.mark.parametrize("machine", CLIENTS)
def test_a_request_that_cannot_be_sent_is_told_and_gone(machine: Machine) -> None:
    bench = Bench(machine)
    assert bench.store.flow_failed(UDP, 0.0, bench.out) == [(bench.tx, Tell.FLOW_FAILED)]
    assert bench.is_gone


def test_an_invite_that_arrived_survives_the_end_of_its_connection() -> None:
    bench = Bench(Machine.INVITE_CLIENT, TCP)
    bench.fire(Trigger.GET_1XX)
    assert bench.store.flow_failed(TCP, 0.0, bench.out) == []
    assert bench.fire(Trigger.GET_2XX) == ([], Tell.PASS_UP)


def test_a_server_is_told_so_that_it_can_find_another_way() -> None:
    bench = Bench(Machine.REQUEST_SERVER, TCP)
    assert bench.store.flow_failed(TCP, 0.0, bench.out) == [(bench.tx, Tell.FLOW_FAILED)]
    assert bench.store.flow_failed(TCP, 0.0, bench.out) == []  # once
    other = Flow(Transport.TCP, TCP.local, ("192.0.2.10", 5060))
    bench.store.move(bench.tx, other)
    assert bench.fire(Trigger.SEND_2XX, RESPONSE)[0] == [RESPONSE]
    assert bench.is_gone


def test_a_failing_flow_concerns_nobody_else() -> None:
    bench = Bench(Machine.INVITE_CLIENT)
    assert bench.store.flow_failed(TCP, 0.0, bench.out) == []
    assert bench.tx.state is State.CALLING


def test_many_transactions_end_in_their_order() -> None:
    store, out = TransactionStore(Timers()), list[Output]()
    made: list[Transaction] = []
    for number in range(100):
        tx = store.begin_server(Machine.REQUEST_SERVER, f"key{number}", UDP)
        store.fire(tx, Trigger.SEND_2XX, number / 10, out, RESPONSE)
        made.append(tx)
    assert (store.next_deadline(), store.timers_running()) == (32.0, 100)
    store.expire(36.95, out)
    assert [tx.state for tx in made] == [State.TERMINATED] * 50 + [State.COMPLETED] * 50
    assert store.next_deadline() == 37.0
