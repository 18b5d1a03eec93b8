"""CURVE keys: reading key files, and the gate-keeper that lets in only the keys of a folder.

Make a pair with `python -m devices.zeromq.keys FOLDER NAME`: NAME.key goes to the other side,
NAME.key_secret stays and is readable by its owner only.
"""

import os
import sys
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from devices.errors import LocalProtocolError

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
DOMAIN = b"guidance"


def read_key(path: Path) -> tuple[bytes, bytes]:
    """(public, secret) of a key file; secret is empty in a public one. LocalProtocolError names a bad file."""
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as fault:
        raise LocalProtocolError(f"{path} is not a CURVE key file: {fault}") from fault
    return public, secret or b""


def read_secret(path: Path) -> tuple[bytes, bytes]:
    """(public, secret) of our own key file; LocalProtocolError where the secret is missing."""
    public, secret = read_key(path)
    if not secret:
        raise LocalProtocolError(f"{path} holds no secret key; give the .key_secret file")
    return public, secret


class GateKeeper:
    """Answers libzmq's question who may connect (ZAP, RFC 27): only keys in `folder`, read once."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path) -> None:
        files = sorted(folder.glob("*.key"))
        if not files:
            raise LocalProtocolError(f"{folder} holds no public .key file: nobody could connect")
        self._allowed = {z85.decode(read_key(path)[0]): path.stem for path in files}
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer every waiting question."""
        while self.socket.poll(0, zmq.POLLIN):
            version, request, _domain, _address, _identity, mechanism, *credentials = self.socket.recv_multipart()
            name = self._allowed.get(credentials[0]) if mechanism == b"CURVE" and credentials else None
            verdict = [b"200", b"OK", name.encode()] if name else [b"400", b"this key may not connect", b""]
            self.socket.send_multipart([version, request, *verdict, b""])


def main(arguments: list[str]) -> int:
    """Make a key pair in a folder."""
    if len(arguments) != 2:
        print("usage: python -m devices.zeromq.keys FOLDER NAME", file=sys.stderr)
        return 2
    folder, name = Path(arguments[0]), arguments[1]
    folder.mkdir(parents=True, exist_ok=True)
    public, secret = zmq.auth.create_certificates(folder, name)
    os.chmod(secret, 0o600)
    print(f"{public}\n{secret}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
