"""What an MQTT link is told, and the gate that keeps plain text on loopback."""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from devices.errors import LocalProtocolError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the authority that signed the broker, and our own certificate where the broker wants one."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class MqttSettings:
    """One broker and what this room tells and hears there."""

    room: str
    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password_file: Path | None = None  # its first line
    tls: TlsFiles | None = None
    follow: tuple[str, ...] = ()  # rooms whose alarms and state we want to hear
    ring: int = 512  # changes that stay retained; keep it below the broker's queue per client (mosquitto: 1000)
    keepalive_s: int = 2  # the broker tells "source lost" after 1.5 times this
    answer_s: float = 2.0  # an unanswered packet means that the broker is gone
    retry_first_s: float = 0.1
    retry_most_s: float = 2.0


def is_loopback(host: str) -> bool:
    """True where the host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_secure(settings: MqttSettings) -> None:
    """LocalProtocolError where alarms would leave this machine in plain text."""
    if settings.tls is None and not is_loopback(settings.host):
        raise LocalProtocolError(f"the broker {settings.host} is another machine: give TLS files (settings `tls`)")


def read_password(settings: MqttSettings) -> str | None:
    """First line of the password file; LocalProtocolError where it cannot be read."""
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as fault:
        raise LocalProtocolError(f"cannot read the password file {settings.password_file}: {fault}") from fault


class _ClosingSocket(ssl.SSLSocket):
    """paho-mqtt forgets the socket of a failed handshake; this one closes itself."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:  # ssl.SSLError is one
            self.close()
            raise


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """TLS that checks the broker's name and signature; LocalProtocolError names a bad file."""
    if settings.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls.authority)
        context.sslsocket_class = _ClosingSocket
        if settings.tls.certificate is not None:
            context.load_cert_chain(settings.tls.certificate, settings.tls.key)
    except OSError as fault:
        raise LocalProtocolError(f"cannot use the TLS files {settings.tls}: {fault}") from fault
    return context
