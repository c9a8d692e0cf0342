"""A PostgreSQL server of the tests' own: a temporary directory, a Unix socket, no network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"


class Server:
    """One server, its data under `home`; each of `database()` is a fresh, empty one."""

    def __init__(self, binaries: Path, home: Path) -> None:
        self._binaries = binaries
        self._home = home
        self._made = 0

    def initialise(self) -> None:
        data = str(self._home / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._home} -c fsync=off"
        self._control("start", "-w", "-l", str(self._home / "log"), "-o", options)

    def stop(self) -> None:
        """End it as a crash would: all clients are thrown out."""
        self._control("stop", "-m", "immediate")

    def database(self) -> str:
        """The URL of a new database."""
        self._made += 1
        name = f"test{self._made}"
        self._run("createdb", "-h", str(self._home), "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={self._home}"

    def _control(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "-D", str(self._home / "data"), *options)

    def _run(self, program: str, *arguments: str) -> None:
        as_root = os.geteuid() == 0  # PostgreSQL refuses to run as root: then it runs as its own user
        with (self._home / "output").open("w+") as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                check=False,
                cwd=self._home,
                user=USER if as_root else None,
                group=USER if as_root else None,
                extra_groups=[] if as_root else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read()}"


@contextmanager
def running() -> Iterator[Server]:
    """A started server; stopped and removed in the end."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    assert programs is not None, "PostgreSQL is not installed: run tests/install-peers"
    home = Path(tempfile.mkdtemp(prefix="jackfield-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(home, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        server = Server(programs.parent, home)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
