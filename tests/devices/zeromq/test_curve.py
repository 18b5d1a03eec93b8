"""CURVE: with the right keys beyond loopback, and nobody else."""

import pytest

from devices.errors import LocalProtocolError
from devices.messages import Text
from devices.zeromq import CurveKeys
from devices.zeromq.keys import main as make_keys

FREE = "tcp://127.0.0.1:*"
HELLO = Text(name="hello", text="x")


@pytest.fixture
def keys(tmp_path):
    """`keys(NAME)` is a secret key file; `allowed` holds the public keys of service and device."""
    for name in ("service", "device", "stranger"):
        assert make_keys([str(tmp_path / "keys"), name]) == 0
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "device.key").write_text((tmp_path / "keys" / "device.key").read_text())

    def of(name, server="service"):
        folder = tmp_path / "keys"
        return CurveKeys(folder / f"{name}.key_secret", allowed=allowed, server=folder / f"{server}.key")

    return of


async def test_the_right_keys_meet(start_link, wait_until, keys):
    service = await start_link(publish="tcp://0.0.0.0:*", curve=keys("service"))
    address = service.link.address.replace("0.0.0.0", "127.0.0.1")
    device = await start_link(subscribe=(address,), curve=keys("device"))

    def heard():
        service.link.send(HELLO)
        return device.messages

    await wait_until(heard, "a message through CURVE")


@pytest.mark.parametrize("case", ["a key that is not allowed", "the wrong server key", "no keys at all"])
async def test_wrong_keys_get_nothing(start_link, wait_until, keys, case):
    service = await start_link(publish=FREE, curve=keys("service"), silent_ms=300)
    curve = {
        "a key that is not allowed": keys("stranger"),
        "the wrong server key": keys("device", server="stranger"),
        "no keys at all": None,
    }[case]
    other = await start_link(subscribe=(service.link.address,), curve=curve, silent_ms=300)

    def refused():
        service.link.send(HELLO)
        return any(not up for up, _, _ in service.changes + other.changes)

    await wait_until(refused, "a refusal that is told")
    for _ in range(20):
        service.link.send(HELLO)
    assert other.messages == []
    assert not any(up for up, _, _ in service.changes + other.changes)


async def test_missing_or_bad_key_files_are_named(start_link, tmp_path, keys):
    good = keys("service")
    for curve, word in [
        (CurveKeys(tmp_path / "none", allowed=good.allowed), "not a CURVE key file"),
        (CurveKeys(tmp_path / "keys" / "service.key", allowed=good.allowed), "no secret key"),
        (CurveKeys(good.secret), "curve.allowed"),
        (CurveKeys(good.secret, allowed=tmp_path), "no public .key file"),
    ]:
        with pytest.raises(LocalProtocolError, match=word):
            await start_link(publish=FREE, curve=curve)
    with pytest.raises(LocalProtocolError, match=r"curve\.server"):
        await start_link(subscribe=("tcp://127.0.0.1:5555",), curve=CurveKeys(good.secret))


def test_the_secret_is_for_its_owner_only(tmp_path, keys):
    assert (tmp_path / "keys" / "service.key_secret").stat().st_mode & 0o077 == 0
