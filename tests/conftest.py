"""Shared fixtures: real data, real peers, and the rule that nothing may be left running."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import guidance  # noqa: F401 - before numpy: it gives BLAS one thread, as in the service

ROOT = Path(__file__).resolve().parent.parent
IGTL_BUILD = ROOT / ".peers" / "igtl" / "build"


def _skip(reason: str) -> None:
    if os.environ.get("GUIDANCE_STRICT_SKIPS") and os.geteuid() == 0:
        pytest.fail(f"this test could run here and must not be skipped: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def skip() -> Callable[[str], None]:
    """Skips with a reason, or fails where a test that could run must run (GUIDANCE_STRICT_SKIPS)."""
    return _skip


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings, or a skip that says why."""
    path = Path(os.environ.get("GUIDANCE_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real recordings are not here ({path}); set GUIDANCE_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def cpp_peer() -> "type[CppPeer]":
    """Paths of the C++ OpenIGTLink examples by name."""
    if not (ROOT / ".peers" / "igtl" / ".done").exists():
        _skip("the C++ OpenIGTLink examples are not built (scripts/install-peers.sh)")
    return CppPeer


class CppPeer:
    """Finds a built C++ example: `CppPeer.path("TrackerClient")`."""

    @staticmethod
    def path(name: str) -> Path:
        found = [p for p in IGTL_BUILD.rglob(name) if p.is_file() and os.access(p, os.X_OK)]
        assert found, f"no C++ example named {name}"
        return found[0]


def _program(name: str, extra: str) -> Path:
    found = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + extra)
    if found is None:
        _skip(f"{name} is not installed (scripts/install-peers.sh)")
    return Path(str(found))


@pytest.fixture(scope="session")
def mosquitto() -> Path:
    """The real MQTT broker's executable."""
    return _program("mosquitto", "/usr/sbin")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Debian's Chromium."""
    return _program("chromium", "/usr/bin")


@pytest.fixture(autouse=True)
async def no_leaked_tasks(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A test that leaves an asyncio task running fails."""
    if "asyncio" not in request.keywords:
        yield
        return
    before = asyncio.all_tasks()
    yield
    leaked = [task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()]
    assert not leaked, f"tasks left running: {leaked}"


# What meets its time limits, or its peers, only on a machine of its own; the rest runs side by side.
LIVE = (
    "browser", "cli", "conformance", "examples", "guidance/bench", "guidance/service",
    "faults/test_sockets.py", "faults/test_stops.py", "faults/test_supervisor.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs alone; long campaigns have no time limit."""
    for item in items:
        place = item.path.relative_to(ROOT / "tests")
        if any(place.is_relative_to(name) for name in LIVE):
            item.add_marker(pytest.mark.live)
        if {"soak", "fuzz"} & set(place.parts):
            item.add_marker(pytest.mark.timeout(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long campaigns (make soak)")
    parser.addoption("--fuzz", action="store_true", help="fuzz for long (make fuzz)")
