"""The settings file as one frozen, typed value: what may be set, its default, its limits, its meaning.

Each field's description is the operator's documentation: `jackfield settings --explain` and
docs/settings.md are made from it. Reading the file and the environment is `conf/load.py`'s work.
What changes while calls go on (tenants, extensions, trunks) is in the database, not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from conf.values import Listen, Listener, Network, PortRange, parse_network, words


def _listen(value: object) -> object:
    return Listen.parse(value) if isinstance(value, str) else value


def _ports(value: object) -> object:
    return PortRange.parse(value) if isinstance(value, str) else value


def _network(value: object) -> object:
    return parse_network(value) if isinstance(value, str) else value


Listens = Annotated[tuple[Annotated[Listen, BeforeValidator(_listen)], ...], BeforeValidator(words)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(words)]
Ports = Annotated[PortRange, BeforeValidator(_ports)]
Words = Annotated[tuple[str, ...], BeforeValidator(words)]
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7")
Algorithm = Literal["SHA-256", "SHA-512-256", "MD5"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Paths(Section):
    """Where Jackfield keeps what it writes."""

    var: Path = Field(
        Path("var"),
        description="Directory of everything Jackfield writes: database, secret key, registrations. "
        "A relative path starts at the settings file, or at the working directory when there is none.",
    )


class Sip(Section):
    """The SIP side: sockets, timers, sizes."""

    listen: Listens = Field(
        (Listen.parse("udp:*:5060"), Listen.parse("tcp:*:5060")),
        min_length=1,
        description='Sockets as transport:host:port. "*" is every address, IPv4 and where there is one IPv6. '
        "Transports and their ports when left out: udp 5060, tcp 5060, tls 5071, ws 8088, wss 8089.",
    )
    advertised_host: str = Field(
        "",
        description="Name or address that goes into Via, Contact and Record-Route. "
        "Empty: the local address that the far side talks to. Set it behind a NAT.",
    )
    server_name: str = Field(
        "Jackfield", description="Text of the Server and User-Agent headers; empty leaves them out."
    )
    t1_ms: int = Field(
        500, ge=50, le=5000, description="SIP timer T1, the round-trip estimate (RFC 3261 17.1.1.1)."
    )
    t2_ms: int = Field(4000, ge=500, le=60000, description="SIP timer T2, the longest resend interval.")
    t4_ms: int = Field(
        5000, ge=500, le=60000, description="SIP timer T4, how long a message stays in the network."
    )
    local_networks: Networks = Field(
        tuple(map(parse_network, PRIVATE_NETWORKS)),
        description="Networks on our side of the NAT: peers there are told our own address, "
        "all others advertised_host.",
    )
    trusted_networks: Networks = Field(
        (),
        description="Networks whose identity headers (RFC 3325) are believed, besides those of trunks.",
    )
    nat: bool = Field(
        True,
        description="Reach phones where their packets come from, whatever their Contact says (RFC 3581).",
    )
    nat_ping_s: int = Field(
        25, ge=0, le=600, description="Seconds between keep-alives to phones behind a NAT; 0 sends none."
    )
    max_message_bytes: int = Field(
        65535, ge=2048, le=1048576, description="Longest SIP message taken from a stream."
    )
    tcp_max_connections: int = Field(
        10000, ge=1, description="Connections (TCP, TLS, WebSocket) open at a time."
    )
    tcp_max_connections_per_host: int = Field(
        200, ge=1, description="The same from one address; an office behind one NAT counts as one."
    )
    tcp_idle_s: int = Field(
        900, ge=10, description="Seconds after which a silent connection without a registration is closed."
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file: the server's certificate chain. Empty: one is made in var, signed by itself.",
    )
    tls_key: Path | None = Field(None, description="PEM file with the private key of tls_certificate.")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of authorities; when set, TLS clients must have a certificate from one.",
    )
    tls_verify: bool = Field(
        True, description="Servers that Jackfield connects to by TLS must have a valid certificate."
    )
    tls_ca: Path | None = Field(
        None, description="PEM file of the authorities for tls_verify. Empty: those of the system."
    )

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Every socket that `listen` means, in its order."""
        return tuple(listener for entry in self.listen for listener in entry.listeners())

    @model_validator(mode="after")
    def _key_and_certificate_go_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be set together")
        return self


class Registrar(Section):
    """How long a phone stays registered."""

    min_expires_s: int = Field(
        60, ge=1, description="Shorter registrations are refused with 423 (RFC 3261 10.2.8)."
    )
    max_expires_s: int = Field(7200, ge=60, description="Longer ones are shortened to this.")
    default_expires_s: int = Field(3600, ge=60, description="For a REGISTER that names no time.")
    max_contacts: int = Field(
        10, ge=1, le=100, description="Phones at a time for a new extension; each can be changed."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min_expires_s <= self.default_expires_s <= self.max_expires_s:
            raise ValueError("min_expires_s, default_expires_s and max_expires_s must rise in that order")
        return self


class Media(Section):
    """The sound: ports and worker threads."""

    ports: Ports = Field(
        PortRange(20000, 29999), description="UDP ports for RTP and RTCP; a stream takes two, a call four."
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Threads that move sound; 0: one less than the machine's cores, from 1 to 4.",
    )
    bind_host: str = Field(
        "", description="Local address of the RTP ports. Empty: the one that the leg's signalling uses."
    )
    advertised_host: str = Field(
        "", description="Address written into SDP. Empty: that of the port. Set it behind a NAT."
    )
    silence_s: float = Field(
        60.0, ge=1, le=86400, description="A call whose legs both fall silent this long, unheld, is ended."
    )
    orphan_s: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="How long sound goes on while the call engine is away, before ports are closed.",
    )


class Database(Section):
    """Where tenants, extensions and trunks are kept."""

    url: str = Field(
        "",
        pattern=r"^$|^(sqlite|postgresql)(\+\w+)?://",
        description="postgresql://user:password@host/name or sqlite:///path. Empty: jackfield.db in var.",
    )
    demo: bool = Field(
        True, description="A new database gets a demonstration: a tenant, four extensions, two services."
    )


class Limits(Section):
    """What the server takes on before it says 503, so that the calls it has stay well."""

    max_calls: int = Field(10000, ge=1, description="Calls at a time, all tenants together.")
    calls_per_s: int = Field(500, ge=1, description="New calls taken in a second, all tenants together.")
    shed_lag_ms: int = Field(
        100,
        ge=10,
        le=10000,
        description="New calls are refused while the engine lags this far behind its timers.",
    )
    retry_after_s: int = Field(5, ge=1, le=3600, description="Retry-After of those 503 answers.")


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is worth a line."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="json: one object a line; auto: console on a terminal, json elsewhere."
    )


class Security(Section):
    """Passwords and digest authentication."""

    key_file: Path | None = Field(
        None,
        description="Key that encrypts the secrets in the database. Empty: secret.key in var. Back it up.",
    )
    nonce_ttl_s: int = Field(300, ge=10, le=86400, description="How long a digest nonce is good (RFC 7616).")
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(words)] = Field(
        ("SHA-256", "MD5"),
        min_length=1,
        description="Digest algorithms offered, the best first (RFC 8760). Many phones know MD5 only.",
    )


class Calls(Section):
    """How two legs are joined."""

    ring_s: int = Field(
        60, ge=5, le=600, description="How long a new extension's phones ring; each can be changed."
    )
    longest_s: int = Field(43200, ge=60, description="Seconds after which any call is ended.")
    session_expires_s: int = Field(
        1800,
        ge=0,
        le=86400,
        description="Session timer (RFC 4028): a dead far side is found within it; 0: no timer.",
    )
    min_session_expires_s: int = Field(90, ge=90, description="Shorter session timers are refused with 422.")
    hold: Literal["pass", "local"] = Field(
        "pass",
        description="pass: the far side is told of a hold by re-INVITE; local: it hears nothing of it.",
    )
    pass_headers: Words = Field(
        (
            "Subject",
            "Priority",
            "Alert-Info",
            "Call-Info",
            "Accept-Language",
            "Organization",
            "User-to-User",
            "Diversion",
            "History-Info",
            "Geolocation",
            "Reason",
        ),
        description='Headers copied from one leg to the other; "X-*" means all that begin so.',
    )
    pass_bodies: Words = Field(
        ("application/dtmf-relay", "application/dtmf", "application/media_control+xml", "text/plain"),
        description="Content types, other than SDP, that are handed to the other leg unchanged.",
    )


class Settings(BaseSettings):
    """All that the settings file can say; `conf.load.load_settings` makes it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="JACKFIELD_",
        env_nested_delimiter="__",
        enable_decoding=False,
    )

    paths: Paths = Paths()
    sip: Sip = Sip()
    registrar: Registrar = Registrar()
    media: Media = Media()
    database: Database = Database()
    limits: Limits = Limits()
    log: Log = Log()
    security: Security = Security()
    calls: Calls = Calls()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before what was read from the file."""
        return (env_settings, init_settings)

    @property
    def database_url(self) -> str:
        """The URL that SQLAlchemy opens, with the asynchronous driver named."""
        url = self.database.url or f"sqlite:///{self.paths.var / 'jackfield.db'}"
        scheme, _, rest = url.partition("://")
        return (
            {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}.get(scheme, scheme)
            + "://"
            + rest
        )

    @property
    def key_file(self) -> Path:
        return self.security.key_file or self.paths.var / "secret.key"

    @property
    def tls_certificate_file(self) -> Path:
        return self.sip.tls_certificate or self.paths.var / "tls-certificate.pem"

    @property
    def tls_key_file(self) -> Path:
        return self.sip.tls_key or self.paths.var / "tls-key.pem"

    @property
    def registrations_file(self) -> Path:
        return self.paths.var / "registrations.db"

    @property
    def demo_passwords_file(self) -> Path:
        return self.paths.var / "demo-passwords.toml"
