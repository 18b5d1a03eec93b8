"""The embedded broker: for demos and rooms without one of their own, on loopback only.

amqtt is a broker in Python; it sends retained messages to clients that did not subscribe and has
no access control worth the name, so it never listens beyond this machine.
"""

import argparse
import asyncio
import signal

from amqtt.broker import Broker
from amqtt.errors import BrokerError

from devices.errors import LinkError, LocalProtocolError
from devices.mqtt.settings import is_loopback

AGAIN_S = 0.05  # between two cancellations of a reader that did not end


class EmbeddedBroker:
    """An MQTT 3.1.1 broker on loopback; `port` 0 takes a free one and is the real one after `start`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        if not is_loopback(host):
            raise LocalProtocolError(
                f"the embedded broker listens on loopback only, not on {host}; use mosquitto (config/sites/secured)"
            )
        self.host, self.port = host, port
        self._broker: Broker | None = None

    async def start(self) -> None:
        """Listen; LinkError where the port is taken."""
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await broker.start()
        except BrokerError as fault:
            raise LinkError(f"the embedded broker cannot listen on {self.host}:{self.port}: {fault}") from fault
        self._broker = broker
        self.port = broker._servers["default"].instance.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection.

        amqtt waits for its readers with `asyncio.wait_for`, which before Python 3.12 forgets a cancellation
        when a packet arrives at the same moment, and then waits for ever: they are cancelled until they end.
        """
        broker, self._broker = self._broker, None
        if broker is None:
            return
        readers = [handler._reader_task for _, handler in broker._sessions.values()]
        closing = asyncio.create_task(broker.shutdown())
        while not (await asyncio.wait({closing}, timeout=AGAIN_S))[0]:
            for reader in readers:
                if reader is not None and reader.cancelling():
                    reader.cancel()
        await closing


async def _serve(host: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    broker = EmbeddedBroker(host, port)
    await broker.start()
    print(f"broker: mqtt://{broker.host}:{broker.port}", flush=True)
    await ended.wait()
    await broker.stop()


def main() -> None:
    """Run the embedded broker as a process of its own: `python -m devices.mqtt.broker`."""
    parser = argparse.ArgumentParser(description="MQTT broker on loopback")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one, printed")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
