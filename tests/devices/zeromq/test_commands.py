"""The acknowledged command channel: as state machines, and over sockets with a peer that is lost."""

import asyncio
import time

import numpy as np
import pytest
import zmq

from devices.errors import LocalProtocolError
from devices.messages import Acknowledgement, Command, Pose
from devices.zeromq import to_parts, topic_of
from devices.zeromq.commands import REMEMBERED, Executor, Issuer

FREE = "tcp://127.0.0.1:*"
MS = 1_000_000


def command(number: int = 1, verb: str = "STOP") -> Command:
    return Command(name="therapy", command_id=number, verb=verb, values={"power_w": 0.0}, reason="T1")


def answer(number: int = 1, verb: str = "STOP", done: bool = True) -> Acknowledgement:
    return Acknowledgement(name="therapy", command_id=number, verb=verb, done=done)


def test_a_command_is_asked_again_until_it_is_done():
    issuer = Issuer(ask_again_ms=100, give_up_ms=1000)
    issuer.ask(command(), 0)
    assert len(issuer.due(0)[0]) == 1
    assert issuer.due(99 * MS) == ([], [])
    assert len(issuer.due(100 * MS)[0]) == 1
    assert issuer.hear(answer(done=False))
    assert len(issuer.due(200 * MS)[0]) == 1, "not done yet"
    assert issuer.hear(answer())
    assert not issuer.hear(answer()), "the same again says nothing new"
    assert not issuer.waiting


def test_silence_is_told_once_and_a_wrong_verb_is_no_answer():
    issuer = Issuer(ask_again_ms=100, give_up_ms=1000)
    issuer.ask(command(), 0)
    assert issuer.hear(answer(verb="RESUME")), "the caller hears of it and judges"
    assert issuer.waiting
    _, given_up = issuer.due(1000 * MS)
    assert [each.command_id for each in given_up] == [1]
    assert issuer.due(2000 * MS) == ([], [])


def test_a_refused_command_is_not_reported_as_silence():
    issuer = Issuer(ask_again_ms=100, give_up_ms=1000)
    issuer.ask(command(), 0)
    issuer.hear(answer(done=False))
    assert issuer.due(1000 * MS) == ([], [])


def test_the_executor_hears_a_command_once_and_repeats_its_answer():
    executor = Executor()
    assert executor.hear("run-1", b"route-1", command()) == (True, None)
    assert executor.hear("run-1", b"route-1", command()) == (False, None)
    done = answer()
    assert executor.answer(done) == b"route-1"
    assert executor.hear("run-1", b"route-2", command()) == (False, done)
    assert executor.answer(done) == b"route-2", "the asker came back on another connection"
    assert executor.hear("run-2", b"route-3", command())[0], "another run of the service starts anew"
    assert executor.answer(answer(99)) is None


def test_memory_is_bounded():
    executor = Executor()
    issuer = Issuer(100, 1000)
    for number in range(3 * REMEMBERED):
        executor.hear("run", b"r", command(number))
        issuer.hear(answer(number))
    assert len(executor._answers) == len(executor._askers) == len(issuer._heard) == REMEMBERED


async def test_command_and_acknowledgement_over_sockets(start_link, wait_until):
    device = await start_link(execute=FREE)
    service = await start_link(issue=device.link.address)
    service.link.send(command(), urgent=True)  # before the connection stands: asked again until it does
    await wait_until(lambda: device.messages, "the command")
    assert (device.messages[0].verb, device.messages[0].values) == ("STOP", {"power_w": 0.0})
    device.link.send(answer(done=False))
    await wait_until(lambda: service.messages, "in progress")
    device.link.send(answer())
    await wait_until(lambda: len(service.messages) == 2, "done")
    await asyncio.sleep(0.3)
    assert [message.done for message in service.messages] == [False, True]
    assert len(device.messages) == 1
    assert service.losses == []


async def test_a_device_that_is_away_gets_the_command_when_it_is_back(start_link, wait_until):
    device = await start_link(execute=FREE)
    address = device.link.address
    service = await start_link(issue=address)
    await wait_until(lambda: service.changes, "connected")
    await device.link.stop()
    await wait_until(lambda: service.changes[-1][0] is False, "gone")
    service.link.send(command())
    await asyncio.sleep(0.3)
    device = await start_link(execute=address)
    await wait_until(lambda: device.messages, "the command")
    device.link.send(answer())
    await wait_until(lambda: service.messages, "the answer")
    assert len(device.messages) == 1
    assert service.losses == []


async def test_a_command_that_was_given_up_never_arrives_late(start_link, wait_until):
    device = await start_link(execute=FREE)
    address = device.link.address
    service = await start_link(issue=address, give_up_ms=200)
    await wait_until(lambda: service.changes, "connected")
    await device.link.stop()
    await wait_until(lambda: service.changes[-1][0] is False, "gone")
    service.link.send(command(verb="RESUME"))
    await wait_until(lambda: service.losses, "given up")
    device = await start_link(execute=address)
    await wait_until(lambda: service.changes[-1][0] is True, "back")
    await asyncio.sleep(0.2)
    assert device.messages == []


async def test_an_answer_lost_with_the_connection_is_repeated(start_link, wait_until):
    device = await start_link(execute=FREE)
    service = await start_link(issue=device.link.address)
    service.link.send(command())
    await wait_until(lambda: device.messages, "the command")
    service.link._sockets["issue"].disconnect(service.link.address)
    await wait_until(lambda: device.changes[-1][0] is False, "the service gone")
    device.link.send(answer())  # nobody is there
    assert device.link.counters["dropped"] == 1
    service.link._sockets["issue"].connect(service.link.address)
    await wait_until(lambda: service.messages, "the answer, repeated")
    assert len(device.messages) == 1


async def test_a_device_that_never_answers_is_told_once(start_link, wait_until):
    device = await start_link(execute=FREE)
    service = await start_link(issue=device.link.address, give_up_ms=300)
    service.link.send(command())
    await wait_until(lambda: service.losses, "giving up")
    assert service.losses == [("therapy", 1, "no answer to STOP #1 in 300 ms")]
    assert service.link.counters["unanswered"] == 1
    assert len(device.messages) == 1
    assert service.link._timer is None


def see_the_peer_first(watch):
    """Both wake-ups are there before the loop looks at either, and the watch goes first."""
    deadline = time.monotonic() + 30
    while not watch.peers and time.monotonic() < deadline:
        time.sleep(0.005)
        watch._read()
    time.sleep(0.05)
    watch._read()


async def test_a_command_that_comes_with_its_peer_is_heard(start_link, wait_until):
    """Looking after a socket when a peer comes uses up the one wake-up that its waiting messages gave."""
    device = await start_link(execute=FREE)
    await asyncio.sleep(0.05)
    context = zmq.Context()
    try:
        service = context.socket(zmq.DEALER)
        service.linger = 0
        service.connect(device.link.address)
        service.send_multipart(to_parts(topic_of("or-1", command()), "x", 0, command()))
        see_the_peer_first(device.link._watches[0])
        await wait_until(lambda: device.messages, "the command")
    finally:
        context.destroy(linger=0)


async def test_the_command_channel_takes_commands_only(start_link, wait_until):
    device = await start_link(execute=FREE, publish=FREE)
    service = await start_link(listen=FREE)
    with pytest.raises(LocalProtocolError, match="issue"):
        service.link.send(command())
    with pytest.raises(LocalProtocolError, match="nobody asked"):
        device.link.send(answer())
    context = zmq.Context()
    try:
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        stranger.connect(device.link.addresses["execute"])
        for message in (answer(), Pose(name="p", moving="p", fixed="q", fixed_from_moving=np.eye(4))):
            stranger.send_multipart(to_parts(topic_of("or-1", message), "x", 0, message))
        stranger.send_multipart([b"", b"", b""])
        await wait_until(lambda: device.link.counters["rejected"] == 3, "three refusals")
        publisher = context.socket(zmq.PUB)
        publisher.linger = 0
        publisher.connect(service.link.address)

        def refused():
            publisher.send_multipart(to_parts(topic_of("or-1", command()), "x", 0, command()))
            return service.link.counters["rejected"]

        await wait_until(refused, "a published command is no command")
        assert device.messages == service.messages == []
    finally:
        context.destroy(linger=0)
