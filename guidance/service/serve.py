"""`guidance run`: the service from a configuration file."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

from guidance.errors import SettingsError
from guidance.load import config_file, load_room
from guidance.service.room import Room
from guidance.service.session import APART, Session, on_signals
from guidance.settings import Link, RoomSettings

ServeConsole = Callable[[Room], AbstractAsyncContextManager[str]]


def with_addresses(settings: RoomSettings, addresses: Mapping[str, str]) -> RoomSettings:
    """The settings with other addresses for some links; SettingsError names unknown links.

    A ZeroMQ link that is moved publishes its images beside it, on a free port.
    """
    known = {row.id for row in settings.links}
    unknown = [f"links: there is no link {name!r} (have {sorted(known)})" for name in addresses if name not in known]
    if unknown:
        raise SettingsError("addresses", unknown)
    links = tuple(_moved(row, addresses[row.id]) if row.id in addresses else row for row in settings.links)
    return settings.model_copy(update={"links": links})


def _moved(row: Link, address: str) -> Link:
    options = dict(row.options)
    if "images" in options:
        options["images"] = f"{address.rpartition(':')[0]}:0"
    return row.model_copy(update={"address": address, "options": options})


async def serve(
    config: str,
    duration_s: float | None,
    record: Path | None,
    addresses: Mapping[str, str],
    console: ServeConsole | None = None,
) -> dict[str, Any]:
    """Run one room, with the console that `console` serves for it, and return its summary."""
    settings, plan, limits = load_room(config_file("procedures", config))
    settings = with_addresses(settings, addresses)
    async with Session(settings, plan, limits, record, lasting=True, apart=APART) as session:
        on_signals(session.end)
        for name, address in session.room.describe().items():
            print(f"link {name}: {address}", flush=True)
        async with AsyncExitStack() as stack:
            if console is not None:
                print(f"console: {await stack.enter_async_context(console(session.room))}", flush=True)
            return await session.run(duration_s)
