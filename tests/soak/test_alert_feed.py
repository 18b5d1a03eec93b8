"""A hundred thousand alarms: the broker killed twice and cut off, the service killed, the reader gone for a while."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.devices.mqtt.conftest import Broker, Listener, until
from tests.guidance.service.alert_feed import Service, campaign

COUNT = int(os.environ.get("GUIDANCE_ALERTS", "100000"))


@pytest.mark.peers
async def test_no_alarm_is_lost_in_a_minute_without_broker(mosquitto: Path, tmp_path: Path) -> None:
    broker: Any = Broker(mosquitto, tmp_path)
    broker.start()
    listener = Listener(broker.port, "guidance/#", asks=True)
    service = Service(broker.port, tmp_path / "records", COUNT)
    try:
        await campaign(broker, listener, service, COUNT, partition_s=60.0, until=until)
    finally:
        await service.end(signal.SIGKILL)
        listener.close()
        broker.kill()
