"""What a recording says of itself: the settings it ran with, and the code and machine that ran it."""

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("guidance", "numpy", "scipy", "numba", "llvmlite", "opencv-python-headless", "msgspec", "mcap", "lz4")


def make_header(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The header of a recording: `settings` (JSON values), code hash, versions, machine, and `more` beside them."""
    return {
        "format": 1,
        "settings": settings,
        "code_sha256": code_sha256(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": machine(),
        **more,
    }


def machine() -> dict[str, Any]:
    """Processor, system and Python: a replay on the same processor must compute the same bits."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def code_sha256() -> str:
    """SHA-256 over the sources of `devices` and `guidance` (path and content, sorted)."""
    root = Path(__file__).resolve().parents[2]
    whole = hashlib.sha256()
    for path in sorted(p for part in ("devices", "guidance") for p in (root / part).rglob("*.py")):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
