"""Routes: which links carry what. One table from the configuration, resolved once."""

from collections.abc import Iterable

from devices.messages import AnyMessage
from guidance.events import Send
from guidance.settings import RoomSettings


class Routes:
    """Links by kind of output; `overlay` rows may name the views that they want (empty = all)."""

    def __init__(self, settings: RoomSettings) -> None:
        self._links: dict[str, tuple[str, ...]] = {}
        self._views: dict[tuple[str, str], frozenset[str]] = {}
        for output in settings.outputs:
            self._links[output.kind] = (*self._links.get(output.kind, ()), *output.to)
            for link in output.to:
                self._views[output.kind, link] = frozenset(output.views)

    def to(self, kind: str, message: AnyMessage, *, view: str = "", urgent: bool = False) -> Iterable[Send]:
        """One Send for each link that carries `kind`."""
        for link in self._links.get(kind, ()):
            wanted = self._views[kind, link]
            if not view or not wanted or view in wanted:
                yield Send(link, message, urgent)

    def carries(self, kind: str, views: Iterable[str] = ()) -> bool:
        """True when some link wants this kind, and one of `views` where given; what nobody wants is not made."""
        wanted = [self._views[kind, link] for link in self._links.get(kind, ())]
        asked = frozenset(views)
        return any(not asked or not some or asked & some for some in wanted)
