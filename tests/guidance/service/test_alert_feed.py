"""No alarm is lost: the running service, its journal, and a mosquitto that is killed, frozen and started again."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.devices.mqtt.conftest import Broker, Listener, until
from tests.guidance.service.alert_feed import Service, campaign

pytestmark = pytest.mark.peers
COUNT = 10_000


@pytest.fixture
def broker(mosquitto: Path, tmp_path: Path) -> Iterator[Any]:
    running = Broker(mosquitto, tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.mark.slow
async def test_no_alarm_is_lost(broker: Any, tmp_path: Path) -> None:
    listener = Listener(broker.port, "guidance/#", asks=True)
    service = Service(broker.port, tmp_path / "records", COUNT)
    try:
        await campaign(broker, listener, service, COUNT, partition_s=3.0, until=until)
    finally:
        await service.end(signal.SIGKILL)
        listener.close()
