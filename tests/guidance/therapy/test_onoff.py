"""On and off of a source: damage reached, pauses with hysteresis, and nothing without sight."""

import pytest

from guidance.therapy.onoff import Expected, OnOffControl, OnOffSettings, Why


def control(**changed):
    values = {"off_above_c": 85.0, "on_below_c": 80.0, "reserve_c": 2.0, "longest_s": 60.0, "covered_share": 0.97}
    return OnOffControl(OnOffSettings(**(values | changed)))


def seen(hottest=60.0, room=20.0, covered=0.1, known=True):
    return Expected(known, hottest, room, covered)


def test_it_burns_until_the_damage_is_reached_and_never_again():
    one = control()
    assert one.update(seen(), 0.0)
    assert not one.update(seen(covered=0.98), 4.0)
    assert one.done and one.why is Why.DONE
    assert not one.update(seen(covered=0.5), 8.0)


def test_it_pauses_when_too_hot_and_comes_back_below_another_limit():
    one = control()
    assert one.update(seen(84.0), 0.0)
    assert not one.update(seen(86.0), 4.0)
    assert not one.update(seen(82.0), 8.0)
    assert one.why is Why.HOT
    assert one.update(seen(79.0), 12.0)


def test_it_keeps_away_from_the_guards_limits():
    one = control()
    assert not one.update(seen(room=1.9), 0.0)
    assert one.why is Why.GUARD
    assert not one.update(seen(room=3.0), 4.0)  # it comes back with twice the reserve
    assert one.update(seen(room=4.1), 8.0)


def test_what_is_not_seen_is_not_heated():
    one = control()
    assert not one.update(seen(known=False), 0.0)
    assert one.why is Why.UNSEEN
    assert not one.update(seen(room=float("-inf")), 4.0)


def test_the_light_has_a_longest_time_and_only_light_counts():
    one = control(longest_s=8.0)
    assert one.update(seen(), 0.0)
    assert one.update(seen(), 4.0)
    assert not one.update(seen(90.0), 6.0)
    assert one.update(seen(), 20.0)
    assert not one.update(seen(), 22.0)
    assert one.why is Why.LONG


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="on_below_c"):
        control(on_below_c=90.0)
