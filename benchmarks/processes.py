"""What a tree of processes has used: CPU, memory, threads, open files, as the kernel accounts for them."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVER_CPU, LOAD_CPU = 1, 0


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """What stands behind the name in /proc/PID/stat; empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_s(pids: list[int]) -> float:
    """User and system time that these processes have used so far, all threads; steps of 10 ms each."""
    return sum(int(fields[11]) + int(fields[12]) for fields in map(_stat, pids) if fields) / TICKS_PER_S


def name_of(pid: int) -> str:
    """The module that a Python process runs with -m, else the program's name."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        return words[words.index("-m") + 1] if "python" in words[0] and "-m" in words else Path(words[0]).name
    except OSError:
        return "gone"


def cpu_s_by_name(pids: list[int]) -> dict[str, float]:
    """The same as `cpu_s`, for each kind of process."""
    used: dict[str, float] = {}
    for pid in pids:
        name = name_of(pid)
        used[name] = used.get(name, 0.0) + cpu_s([pid])
    return used


def pss_kib(pids: list[int], kind: str = "Pss") -> int:
    """Proportional set size: a page that n processes share counts 1/n in each.

    `kind` "Pss_Anon" leaves out mapped files, whose share changes with what else runs on the machine.
    """
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                total += int(line.split()[1])
    return total


def count(pids: list[int], what: str) -> int:
    """How many entries /proc/PID/`what` has: "fd" open files, "task" threads."""
    return sum(len(list(Path(f"/proc/{pid}/{what}").iterdir())) for pid in pids)


def machine_busy_s() -> float:
    """CPU seconds that the whole machine has been busy with, so that strangers' work can be seen."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / TICKS_PER_S


def ended_children_s() -> float:
    """CPU seconds of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def until(answer: Callable[[], object], within_s: float, what: str) -> None:
    """Ask again until the answer is yes. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + within_s
    while not answer():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        pause(0.05)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
