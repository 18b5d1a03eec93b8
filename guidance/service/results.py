"""Result files: what a room measured of itself and accepted, written beside its recordings as sealed, dated JSON."""

from collections.abc import Sequence
from pathlib import Path

from devices.messages import Text
from guidance.events import AnyEvent, Effect, Send

PREFIX = "result-"


class ResultFiles:
    """A watcher of a room. Each result is written once, under its name and the time it was made; never over another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """Write the results among `effects`; the text is rare and about 1 kB."""
        texts = {
            effect.message.name: effect.message.text
            for effect in effects
            if isinstance(effect, Send) and isinstance(effect.message, Text) and effect.message.name.startswith(PREFIX)
        }
        for name, text in texts.items():
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{name.removeprefix(PREFIX)}-{event.now_ns}.json"
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            self.written.append(path)
