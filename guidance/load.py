"""From names and files to what a room is made of: settings, plan, limits, and the header of its recording."""

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from guidance.errors import SettingsError
from guidance.plan import Plan, load_plan
from guidance.recording.header import make_header
from guidance.recording.plan_copy import embed_plan
from guidance.safety.limits import Limit, load_limits
from guidance.settings import RoomSettings, load_settings


def config_file(kind: str, name_or_path: str) -> Path:
    """A file, or a name in `config/<kind>` of a clone or of the installed wheel."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    folder = Path(str(resources.files("config"))) / kind
    found = folder / f"{name_or_path}.toml"
    if not found.is_file():
        have = sorted(row.stem for row in folder.glob("*.toml"))
        raise SettingsError(name_or_path, [f"is neither a .toml file nor one of {have}"])
    return found


def load_room(path: Path) -> tuple[RoomSettings, Plan | None, dict[str, Limit]]:
    """Settings, plan and limits of a room; SettingsError or PlanError with every fault."""
    settings = load_settings(path)
    plan = load_plan(Path(settings.plan)) if settings.plan else None
    return settings, plan, load_limits(config_file("safety", "limits"), settings.limits)


def recording_header(settings: RoomSettings, plan: Plan | None, limits: dict[str, Limit]) -> dict[str, Any]:
    """What a recording must carry so that a replay needs nothing else."""
    return make_header(
        settings.model_dump(mode="json"),
        limits={name: msgspec.to_builtins(limit) for name, limit in limits.items()},
        plan=embed_plan(plan, Path(settings.plan).parent) if plan and settings.plan else None,
    )
