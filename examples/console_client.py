"""A console in a few lines: prints the phase and the highest alarm. `python console_client.py ws://127.0.0.1:PORT/feed`"""

import json
import sys

from websockets.sync.client import connect


def watch(address: str, messages: int = 0) -> None:
    """Print every state; `messages` = 0 watches until the service ends."""
    origin = address.replace("ws://", "http://").removesuffix("/feed")
    with connect(address, origin=origin, max_size=None) as socket:  # type: ignore[arg-type]
        socket.send(json.dumps({"kind": "hello", "token": ""}))
        for number, text in enumerate(row for row in socket if isinstance(row, str) and '"kind":"state"' in row[:20]):
            state = json.loads(text)
            print(state["phase"], state["alarms"][0]["text"] if state["alarms"] else "no alarm", flush=True)
            if number + 1 == messages:
                return


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
