"""The servers that can be measured, each with the same job: a known trunk calls 1000, phones register.

A target takes calls from 127.0.0.10 unchallenged and sends those for 1000 to sip:1000@127.0.0.20:5080, with
the media through itself where it can. It knows the phones 20000 to 20999, which share one password.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from benchmarks.generator import CALLEE, CALLER
from benchmarks.processes import SERVER_CPU, tree, until

PHONE_NUMBERS = range(20000, 21000)
PASSWORD = "benchmark-password"
REALM = "bench.example"
HOST = "127.0.0.40"


class Unmeasurable(Exception):
    """A server that does not do its job: no figure of it means anything."""


class Target:
    """A server that is started, measured and ended, pinned to a CPU of its own."""

    name = ""
    anchors_media = True
    registers = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; "" when it can."""
        return ""

    def version(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts it, in the foreground."""
        raise NotImplementedError

    def configure(self) -> None:
        """Write its configuration into `directory`, once."""

    def start(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CPU), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            until(self._answers, 30, "it answers OPTIONS")
        except TimeoutError as error:
            raise Unmeasurable(f"{error}: {self._last_words()}") from None

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _last_words(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-800:].strip()

    def pids(self) -> list[int]:
        assert self._process is not None
        return tree(self._process.pid)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Unmeasurable(f"it ended: {self._last_words()}")
        request = (
            f"OPTIONS sip:{self.address} SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK1;rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:probe@{HOST}>;tag=1\r\nTo: <sip:{self.address}>\r\n"
            "Call-ID: probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((CALLER[0], 0))
            probe.settimeout(0.3)
            probe.connect((HOST, self.port))
            try:
                probe.send((request % "{}:{}".format(*probe.getsockname())).encode())
                return probe.recv(4096).startswith(b"SIP/2.0 ")
            except (TimeoutError, ConnectionRefusedError):
                return False


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Jackfield(Target):
    """This project, from this working copy, with its default settings but for what the load demands."""

    name = "jackfield"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._config = directory / "jackfield.toml"
        self._jackfield = str(Path(sys.executable).with_name("jackfield"))

    @classmethod
    def missing(cls) -> str:
        return (
            "" if Path(sys.executable).with_name("jackfield").exists() else "not installed beside this Python"
        )

    def version(self) -> str:
        done = subprocess.run([self._jackfield, "version"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0]

    def command(self) -> list[str]:
        return [self._jackfield, "--config", str(self._config), "run"]

    def configure(self) -> None:
        self._config.write_text(
            f"""
[paths]
var = "{self.directory / "var"}"
[sip]
listen = ["udp:{HOST}:{self.port}"]
[limits]
calls_per_s = 100000
max_calls = 100000
[media]
ports = "10000-59999"
[log]
level = "warning"
[database]
demo = false
[security]
algorithms = ["MD5"]
"""
        )
        phones = self.directory / "phones.csv"
        rows = [f"{number},{PASSWORD}," for number in PHONE_NUMBERS]
        rows.append(f"1000,{PASSWORD},sip:1000@{CALLEE[0]}:{CALLEE[1]}")
        phones.write_text("\n".join(("number,password,contact", *rows, "")))
        self._run("tenant", "add", "bench", REALM, "--default")
        self._run("extension", "import", str(phones))
        self._run("trunk", "add", "load", f"{CALLER[0]}/32")

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [self._jackfield, "--config", str(self._config), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
        )


class Asterisk(Target):
    """Asterisk with PJSIP as B2BUA: media anchored (`direct_media=no`), contacts in memory, no CDR."""

    name = "asterisk"
    MODULES = """
    res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd res_pjproject res_pjsip
    res_pjsip_session res_pjsip_pubsub res_pjsip_sdp_rtp res_pjsip_endpoint_identifier_ip
    res_pjsip_endpoint_identifier_user res_pjsip_authenticator_digest res_pjsip_registrar
    res_rtp_asterisk chan_pjsip pbx_config app_dial bridge_simple
    bridge_native_rtp bridge_builtin_features codec_ulaw
    """

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("asterisk") else "asterisk is not installed"

    def version(self) -> str:
        return subprocess.run(["asterisk", "-V"], capture_output=True, text=True, check=True).stdout.strip()

    def command(self) -> list[str]:
        return ["asterisk", "-f", "-C", str(self.directory / "asterisk.conf")]

    def configure(self) -> None:
        directories = {"astetcdir": self.directory}
        for name in ("astdbdir", "astspooldir", "astrundir", "astlogdir", "astkeydir"):
            directories[name] = self.directory / name
            directories[name].mkdir(exist_ok=True)
        paths = "\n".join(f"{name} => {path}" for name, path in directories.items())
        modules = "\n".join(f"load = {name}.so" for name in self.MODULES.split())
        files = {
            "asterisk.conf": f"[directories]\n{paths}\n[options]\nverbose = 0\n",
            "modules.conf": f"[modules]\nautoload = no\n{modules}\n",
            "logger.conf": "[general]\n[logfiles]\nconsole => error,warning\n",
            "pjproject.conf": "[startup]\n",
            "cdr.conf": "[general]\nenable=no\n",
            "cel.conf": "[general]\nenable=no\n",
            "acl.conf": "",
            "features.conf": "[general]\n",
            "udptl.conf": "[general]\n",
            "sorcery.conf": "[res_pjsip]\ncontact=memory\n",
            "rtp.conf": "[general]\nrtpstart=20000\nrtpend=29999\n",
            "extensions.conf": "[load]\nexten => 1000,1,Dial(PJSIP/callee)\n[phones]\n",
            "pjsip.conf": self._pjsip(),
        }
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def _pjsip(self) -> str:
        common = "type=endpoint\ndisallow=all\nallow=ulaw\ndirect_media=no\n"
        phones = "".join(
            f"[{number}]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\nauth={number}\naors={number}\n"
            f"[{number}]\ntype=auth\nauth_type=userpass\nusername={number}\npassword={PASSWORD}\n"
            f"[{number}]\ntype=aor\nmax_contacts=10\n"
            for number in PHONE_NUMBERS
        )
        return (
            f"[udp]\ntype=transport\nprotocol=udp\nbind={self.address}\n"
            f"[caller]\n{common}context=load\n[caller]\ntype=identify\nendpoint=caller\nmatch={CALLER[0]}\n"
            f"[callee]\n{common}context=load\naors=callee\n"
            f"[callee]\ntype=aor\ncontact=sip:1000@{CALLEE[0]}:{CALLEE[1]}\n{phones}"
        )


class Kamailio(Target):
    """Kamailio as stateful proxy: signalling only and no B2BUA, so a bound from below, not a comparison."""

    name = "kamailio (proxy, no media)"
    anchors_media = False

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("kamailio") else "kamailio is not installed"

    def version(self) -> str:
        done = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0]

    def command(self) -> list[str]:
        run = self.directory / "run"
        return [
            "kamailio",
            "-f",
            str(self.directory / "kamailio.cfg"),
            "-DD",
            "-E",
            "-Y",
            str(run),
            "-m",
            "512",
        ]

    def configure(self) -> None:
        (self.directory / "run").mkdir(exist_ok=True)
        (self.directory / "kamailio.cfg").write_text(
            f"""
debug=-1
log_stderror=yes
children=1
disable_tcp=yes
listen=udp:{self.address}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("registrar", "max_contacts", 10)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("OPTIONS") && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here"); exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_auth_check("$fd", "{PASSWORD}", "0", "1")) {{ auth_challenge("$fd", "1"); exit; }}
        save("location"); exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if ($si != "{CALLER[0]}") {{ sl_send_reply("403", "Forbidden"); exit; }}
    record_route();
    $ru = "sip:1000@{CALLEE[0]}:{CALLEE[1]}";
    t_relay();
}}
"""
        )


class Nothing(Target):
    """No server: SIPp calls SIPp. What the generator itself adds to every time."""

    name = "sipp to sipp"
    anchors_media = False
    registers = False

    @property
    def address(self) -> str:
        return f"{CALLEE[0]}:{CALLEE[1]}"

    def version(self) -> str:
        done = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False)
        return next(line.strip() for line in done.stdout.splitlines() if line.strip())

    def start(self) -> None:
        """There is nothing to start."""

    def pids(self) -> list[int]:
        return []


TARGETS: tuple[type[Target], ...] = (Jackfield, Asterisk, Kamailio)
