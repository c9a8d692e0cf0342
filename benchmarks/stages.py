"""The measurements: calls at rising rates, registrations, and what a held call keeps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.generator import (
    CALLEE,
    CALLER,
    LONGER_S,
    PHONES,
    Sipp,
    answer_times_ms,
    quantile,
)
from benchmarks.processes import (
    count,
    cpu_s,
    cpu_s_by_name,
    ended_children_s,
    machine_busy_s,
    pause,
    pss_kib,
    until,
)
from benchmarks.targets import PASSWORD, PHONE_NUMBERS, REALM, Target, Unmeasurable

MOST_FAILED = 0.001
HOLD_MS = 50
WARM_UP = 50


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One rate, offered for some seconds."""

    rate: int
    offered: int
    done: int
    failed: int
    retransmissions: int
    cpu_ms_each: float | None
    """user + system time of all processes of the server, per call or registration that was done"""
    cpu_ms_by_process: dict[str, float]
    """where it went"""
    cpu_pct: float
    """the same, of one core, while the load lasted"""
    p50_ms: float | None
    p99_ms: float | None
    load_pct: float
    """CPU of SIPp, of one core: near 100 the generator is the limit"""
    others_pct: float
    """CPU of everything else on the machine, of one core: how far the step can be trusted"""

    @property
    def holds(self) -> bool:
        return self.failed <= MOST_FAILED * self.offered and self.retransmissions == 0


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Rising rates, and the highest one that held."""

    highest_rate: int
    steps: tuple[Step, ...]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What calls that are up keep of the machine, beyond what the idle server has."""

    calls: int
    idle_kib: int
    kib_per_call: float
    files_per_call: float
    threads: int
    threads_idle: int


def offer(target: Target, scenario: str, rate: int, seconds: float, *options: object) -> Step:
    """Offer `rate` calls (scenario "caller") or registrations ("register") a second, and account for them."""
    local = {"caller": CALLER, "register": PHONES}[scenario]
    method = {"caller": "INVITE", "register": "REGISTER"}[scenario]
    total = int(rate * seconds)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        busy, load_before = machine_busy_s(), ended_children_s()
        load_options = (
            "-r",
            rate,
            "-m",
            total,
            "-trace_shortmsg",
            "-shortmessage_file",
            "short.log",
            *options,
        )
        with Sipp("callee", CALLEE, target.address, place / "callee").listening(CALLEE) as callee:
            pids = target.pids()
            before, cpu, begin = cpu_s_by_name(pids), cpu_s(pids), time.monotonic()
            with Sipp(scenario, local, target.address, place / "load", *load_options) as load:
                counted = load.ended(seconds + LONGER_S)
            took_s = time.monotonic() - begin
            used_s, after = cpu_s(pids) - cpu, cpu_s_by_name(pids)
            answered = callee.stopped()
        load_s = ended_children_s() - load_before
        others_s = machine_busy_s() - busy - load_s - (cpu_s(pids) - cpu)
        times = answer_times_ms(place / "load" / "short.log", method)
    return Step(
        rate=rate,
        offered=total,
        done=counted.done,
        failed=total - counted.done,
        retransmissions=counted.retransmissions + answered.retransmissions,
        cpu_ms_each=round(1000 * used_s / counted.done, 4) if counted.done and pids else None,
        cpu_ms_by_process={
            name: round(1000 * (spent - before.get(name, 0.0)) / max(1, counted.done), 3)
            for name, spent in after.items()
        },
        cpu_pct=round(100 * used_s / took_s, 1),
        p50_ms=quantile(times, 0.5),
        p99_ms=quantile(times, 0.99),
        load_pct=round(100 * load_s / took_s, 1),
        others_pct=round(max(0.0, 100 * others_s / took_s), 1),
    )


def climb(
    step_at: Callable[[int], Step], rates: tuple[int, ...], halvings: int, after_failure: Callable[[], None]
) -> Ladder:
    """Offer `rates` up to the first that fails, then halve the gap `halvings` times."""
    steps: list[Step] = []

    def holds(rate: int) -> bool:
        steps.append(step_at(rate))
        if not steps[-1].holds:
            after_failure()
        return steps[-1].holds

    failing = next((rate for rate in rates if not holds(rate)), 0)
    best = max((step.rate for step in steps if step.holds), default=0)
    for _ in range(halvings if failing else 0):
        middle = (best + failing) // 2
        best, failing = (middle, failing) if holds(middle) else (best, middle)
    return Ladder(highest_rate=best, steps=tuple(sorted(steps, key=lambda step: step.rate)))


def warm_up(target: Target) -> None:
    """A few calls, which must all go well."""
    step = offer(target, "caller", WARM_UP, 1, "-d", HOLD_MS)
    if step.failed:
        raise Unmeasurable(f"{step.failed} of its first {step.offered} calls failed")


def calls(target: Target, rates: tuple[int, ...], seconds: float, halvings: int) -> Ladder:
    """INVITE to BYE without media packets, at rising rates."""
    target.restart()
    warm_up(target)
    return climb(
        lambda rate: offer(target, "caller", rate, seconds, "-d", HOLD_MS), rates, halvings, target.restart
    )


def registrations(target: Target, rates: tuple[int, ...]) -> Ladder:
    """REGISTER, 401, REGISTER with digest, 200: every phone once at each rate, 1000 in all."""
    target.restart()
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as users:
        rows = (f"{each};[authentication username={each} password={PASSWORD}]" for each in PHONE_NUMBERS)
        users.write("\n".join(("SEQUENTIAL", *rows, "")))
        users.flush()
        options = ("-inf", users.name, "-s", REALM, "-auth_uri", REALM)
        return climb(
            lambda rate: offer(target, "register", rate, len(PHONE_NUMBERS) / rate, *options),
            rates,
            0,
            target.restart,
        )


def held(target: Target, number: int, rate: int = 100) -> Held:
    """Bring `number` calls up on a fresh server, and look at what they keep."""
    target.restart()
    warm_up(target)
    pids = target.pids()
    idle_kib, own_kib = pss_kib(pids), pss_kib(pids, "Pss_Anon")
    files, threads = count(pids, "fd"), count(pids, "task")
    hold_ms = int(1000 * (number / rate + 5))
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        options = ("-r", rate, "-m", number, "-d", hold_ms)
        with (
            Sipp("callee", CALLEE, target.address, place / "callee").listening(CALLEE),
            Sipp("caller", CALLER, target.address, place / "load", *options) as load,
        ):
            until(lambda: load.calls_now == number, number / rate + 10, f"{number} calls are up")
            pause(1)
            pids = target.pids()
            result = Held(
                calls=number,
                idle_kib=idle_kib,
                kib_per_call=round((pss_kib(pids, "Pss_Anon") - own_kib) / number, 1),
                files_per_call=round((count(pids, "fd") - files) / number, 2),
                threads=count(pids, "task"),
                threads_idle=threads,
            )
            counted = load.ended(hold_ms / 1000 + LONGER_S)
    if counted.done != number:
        raise Unmeasurable(f"only {counted.done} of {number} held calls ended well")
    return result
