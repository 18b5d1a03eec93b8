"""Mutual TLS for OpenIGTLink, which has no security of its own: both sides show a certificate of one authority."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devices.errors import LocalProtocolError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the authority that signed both sides, our certificate and its key."""

    authority: Path
    certificate: Path
    key: Path


def tls_context(files: TlsFiles, mode: Literal["connect", "listen"]) -> ssl.SSLContext:
    """TLS 1.2 or newer that lets in only who shows a certificate of the authority; LocalProtocolError names bad files.

    A link that connects also checks that the certificate is of the host that it connects to.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if mode == "listen" else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.authority)
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as fault:
        raise LocalProtocolError(
            f"cannot use the TLS files {files.authority}, {files.certificate}, {files.key}: {fault}"
        ) from fault
    return context
