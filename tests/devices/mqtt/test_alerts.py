"""Topics, payloads and the outbox, without any broker."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.mqtt import MemoryOutbox, alerts


def test_topics_escape_what_mqtt_would_read_as_structure():
    assert alerts.current_topic("or 1/+", "T1.rib-4") == "guidance/or%201%2F%2B/alerts/T1.rib-4"
    topic = alerts.current_topic("or-1", "odd/#+name\x00")
    assert not set("#+\x00") & set(topic)
    assert topic.count("/") == 3
    assert alerts.name_of(topic) == "odd/#+name\x00"
    assert [alerts.log_topic("or-1", sequence, 10).rpartition("/")[2] for sequence in (0, 9, 10)] == ["0", "9", "0"]


def test_payloads_are_plain_json(alert):
    payload = alerts.encode_alert(alert(7), "journal")
    plain = json.loads(payload)
    assert (plain["version"], plain["log"], plain["alert"]["sequence"]) == (1, "journal", 7)
    note = alerts.decode_alert(payload)
    assert (note.log, note.alert.name, note.alert.value) == ("journal", "T1.rib-4", 1.5)
    assert alerts.decode_status("or-1", alerts.encode_state("source lost", "x")).code == 13


@given(
    st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.recursive(st.none(), st.lists).map(json.dumps).map(str.encode)
)
def test_anything_else_is_a_protocol_error(payload):
    for decode in (alerts.decode_alert, alerts.decode_ask, lambda payload: alerts.decode_status("or-1", payload)):
        with contextlib.suppress(RemoteProtocolError):
            decode(payload)
            raise AssertionError(f"accepted {payload!r}")


@pytest.mark.parametrize("payload", [b"[" * 50_000, b"{" * 70_000, b"\xff"])
def test_deep_and_large_payloads(payload):
    with pytest.raises(RemoteProtocolError):
        alerts.decode_alert(payload)


def test_outbox_keeps_order_and_current_states(alert):
    outbox = MemoryOutbox(keep=3)
    for sequence in range(6):
        assert outbox.add(alert(sequence, name=f"T{sequence % 2}")) == 0
    assert [a.sequence for a in outbox.pending(4)] == [0, 1, 2, 3]
    outbox.confirm(3)
    assert [a.sequence for a in outbox.pending(9)] == [4, 5]
    assert outbox.confirmed_up_to == 3
    assert [a.sequence for a in outbox.since(-1)] == [1, 2, 3]
    assert [a.sequence for a in outbox.since(2)] == [3]
    assert {name: a.sequence for name, a in outbox.current().items()} == {"T0": 4, "T1": 5}
    with pytest.raises(LocalProtocolError, match="after 5"):
        outbox.add(alert(5))


def test_a_full_outbox_says_what_it_dropped(alert):
    outbox = MemoryOutbox(limit=2)
    assert [outbox.add(alert(sequence)) for sequence in range(4)] == [0, 0, 1, 1]
    assert [a.sequence for a in outbox.pending(9)] == [2, 3]
