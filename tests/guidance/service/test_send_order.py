"""In which order a step's effects leave: what is small at once, pictures one a turn of the loop behind it."""

import asyncio
from typing import Any

import numpy as np
import pytest

from devices.messages import GuidedPose, Overlay, Quality
from guidance.events import Effect, Send, Tick

SHOWN: dict[str, Any] = {"quality": Quality.OK, "evidence": {}}


def pose(name: str) -> Send:
    return Send("console", GuidedPose(name=name, tool="Pointer", ras_from_tool=np.eye(4), values={}, **SHOWN))


def picture(name: str) -> Send:
    rgba = np.zeros((2, 2, 4), np.uint8)
    return Send("console", Overlay(name=name, view="axial", rgba=rgba, ras_from_image_mm=np.eye(4), **SHOWN))


@pytest.fixture
async def sent(service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what leaves on the console's link, in order; the room says by itself nothing more."""
    room = (await service.open()).room
    names: list[str] = []
    monkeypatch.setattr(room.core, "accept", lambda event: [])
    monkeypatch.setattr(room.links["console"], "send", lambda message, urgent=False: names.append(message.name))
    return names


def say(service, monkeypatch: pytest.MonkeyPatch, *effects: Effect) -> None:
    """One step of the room with these effects."""
    room = service.session.room
    monkeypatch.setattr(room.core, "accept", lambda event: list(effects))
    room.handle(Tick(now_ns=room.clock.now_ns()))
    monkeypatch.setattr(room.core, "accept", lambda event: [])


async def test_a_step_sends_small_messages_at_once_and_its_pictures_after_them(service, sent, monkeypatch) -> None:
    say(service, monkeypatch, picture("coronal"), pose("first"), picture("axial"), pose("second"))
    assert sent == ["first", "second"]
    await asyncio.sleep(0)
    assert sent == ["first", "second", "coronal"], "one a turn"
    await asyncio.sleep(0.05)
    assert sent == ["first", "second", "coronal", "axial"]


async def test_a_pose_that_comes_between_two_pictures_goes_first(service, sent, monkeypatch) -> None:
    say(service, monkeypatch, picture("coronal"), picture("axial"))
    asyncio.get_running_loop().call_soon(say, service, monkeypatch, pose("later"), picture("sagittal"))
    await asyncio.sleep(0.05)
    assert sent == ["coronal", "later", "axial", "sagittal"]


async def test_pictures_that_wait_when_the_room_ends_still_leave(service, sent, monkeypatch) -> None:
    monkeypatch.setattr(service.session.room, "_send_picture", lambda: None)  # their turn never comes
    say(service, monkeypatch, picture("coronal"), picture("axial"))
    await asyncio.sleep(0.05)
    assert sent == []
    await service.close()
    assert sent == ["coronal", "axial"]
