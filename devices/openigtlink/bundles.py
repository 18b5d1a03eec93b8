"""Poses in bundles: peers that asked for the same kind at the same interval share one packet, made once."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from devices.messages import GuidedPose, Pose
from devices.openigtlink import answers
from devices.openigtlink import bodies as b
from devices.openigtlink.connection import Connection


class Wanted(NamedTuple):
    """What a peer asked for: TDATA or QTDATA, how often at most, in which header version."""

    subject: str
    interval_s: float
    version: int


class Feed:
    """The newest pose of every tool since the last bundle; a bundle goes out with the first pose after its time.

    `coalesced` counts the poses that a newer one took the place of, times the peers: they asked for that.
    """

    def __init__(self, wanted: Wanted, send: Callable[["Feed", b.Wire], None]) -> None:
        self.wanted = wanted
        self.members: set[Connection] = set()
        self.coalesced = 0
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pending: dict[str, Pose | GuidedPose] = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, pose: Pose | GuidedPose) -> None:
        """Keep a pose for the next bundle."""
        if pose.name in self._pending:
            self.coalesced += len(self.members)
        self._pending[pose.name] = pose
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._loop.time(), self._due), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._due = self._loop.time() + self.wanted.interval_s
        poses, self._pending = list(self._pending.values()), {}
        self._send(self, answers.bundle(self.wanted.subject, "Tools", poses, self.wanted.version))

    def close(self) -> None:
        """Forget what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pending.clear()


class Feeds:
    """All feeds of a link, and which of its peers get poses one by one."""

    def __init__(self, send: Callable[[Feed, b.Wire], None]) -> None:
        self.single: set[Connection] = set()
        self.coalesced = 0  # of feeds that are no more
        self._send = send
        self._feeds: dict[Wanted, Feed] = {}

    def place(self, connection: "Connection") -> None:
        """Put a peer where its subscriptions want it; call whenever they or its header version have changed."""
        self.remove(connection)
        subscriptions = connection.subscriptions
        if not subscriptions.bundle:
            self.single.add(connection)
            return
        wanted = Wanted(subscriptions.bundle, subscriptions.bundle_interval_s, connection.version)
        if wanted not in self._feeds:
            self._feeds[wanted] = Feed(wanted, self._send)
        self._feeds[wanted].members.add(connection)

    def remove(self, connection: "Connection") -> None:
        """Forget a peer; a feed without peers ends."""
        self.single.discard(connection)
        for wanted, feed in list(self._feeds.items()):
            feed.members.discard(connection)
            if not feed.members:
                feed.close()
                self.coalesced += feed.coalesced
                del self._feeds[wanted]

    def add(self, pose: Pose | GuidedPose) -> None:
        """Give a pose to every feed."""
        for feed in self._feeds.values():
            feed.add(pose)

    @property
    def all_coalesced(self) -> int:
        """Poses left out of bundles because a newer one was there, over all peers and times."""
        return self.coalesced + sum(feed.coalesced for feed in self._feeds.values())
