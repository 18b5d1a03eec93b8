"""Lease and roles: what confirms, what does not, who is who."""

import pytest

from devices.errors import LocalProtocolError
from guidance.console.lease import Lease, digest
from guidance.console.roles import Consoles, Role, Tokens
from guidance.errors import SettingsError

GOOD = {"visible": True, "topmost": True, "frames": 30, "audio": True, "tone": None}


def asked() -> tuple[Lease, str, str]:
    lease = Lease(Consoles().join(Role.OPERATOR, "Anna"))
    shown = digest(["T1.rib=active"])
    return lease, lease.ask(shown), shown


def test_a_page_that_shows_what_it_was_sent_confirms_once() -> None:
    lease, nonce, shown = asked()
    echo = {**GOOD, "nonce": nonce, "digest": shown}
    assert lease.answer(echo)
    assert not lease.answer(echo), "a nonce counts once"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "guessed"}, {"digest": digest([])}, {"visible": False}, {"topmost": False}, {"frames": 0},
        {"frames": "30"}, {"audio": False}, {"tone": False}, {"nonce": None},
    ],
)  # fmt: skip
def test_anything_less_confirms_nothing(wrong: dict[str, object]) -> None:
    lease, nonce, shown = asked()
    assert not lease.answer({**GOOD, "nonce": nonce, "digest": shown, **wrong})


def test_old_nonces_are_forgotten() -> None:
    lease, nonce, shown = asked()
    for _ in range(4):
        lease.ask(shown)
    assert not lease.answer({**GOOD, "nonce": nonce, "digest": shown})


def test_tokens_name_roles_and_strangers_are_refused() -> None:
    tokens = Tokens()
    assert tokens.role("") is Role.VIEWER
    assert tokens.role(tokens.operator) is Role.OPERATOR
    assert tokens.role(tokens.assistant) is Role.ASSISTANT
    for stranger in ("x", tokens.operator[:-1], tokens.operator + "x", "\udcff"):
        with pytest.raises(LocalProtocolError):
            tokens.role(stranger)


def test_a_sites_token_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDANCE_OPERATOR_TOKEN", "short")
    with pytest.raises(SettingsError):
        Tokens()
