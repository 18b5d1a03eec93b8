"""Every scenario of the package can be built, and meets the room of the same name."""

import tomllib
from importlib import resources

import pytest

from devices.peer import NEVER_NS
from sim.scenario import build, load

NAMES = sorted(row.name.removesuffix(".toml") for row in (resources.files("config") / "scenarios").iterdir())
RECORDED = {name for name in NAMES if "devices.recorded" in str(load(name))}
OPPOSITE = {"listen": "connect", "connect": "listen"}


@pytest.mark.parametrize("name", NAMES)
def test_the_room_of_that_name_meets_it(name):
    room = tomllib.loads((resources.files("config") / "procedures" / f"{name}.toml").read_text())
    ours = {row["id"]: row for row in room["links"]}
    theirs = {row["id"]: row for row in load(name)["links"]}
    assert set(theirs) <= set(ours)
    for link, row in theirs.items():
        assert ours[link]["kind"] == row["kind"]
        assert ours[link].get("mode", "connect") == OPPOSITE[row.get("mode", "listen")]
        assert ours[link].get("address") == row.get("address")  # a virtual room needs none


def first_words(name, start_ns):
    room = build(load(name), seed=1, start_ns=start_ns)
    spoken = {}
    for peer in room.peers:
        for _ in range(2):
            assert peer.next_due_ns() < NEVER_NS
            for message in peer.advance(peer.next_due_ns()):
                spoken.setdefault(peer.name, set()).add(message.name)
    return spoken


def check_streams(name, start_ns):
    spoken = first_words(name, start_ns)
    room = tomllib.loads((resources.files("config") / "procedures" / f"{name}.toml").read_text())
    for stream in room["streams"]:
        assert stream.get("source", stream["name"]) in spoken[stream["link"]]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RECORDED])
def test_every_stream_of_the_room_is_spoken(name, start_ns):
    check_streams(name, start_ns)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(RECORDED))
def test_every_stream_of_the_recorded_room_is_spoken(name, start_ns, data_dir, monkeypatch):
    monkeypatch.setenv("GUIDANCE_DATA", str(data_dir))
    check_streams(name, start_ns)
