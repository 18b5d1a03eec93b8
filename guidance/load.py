"""From names and files to what a room is made of: settings, plan, limits, and the header of its recording."""

import time
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from guidance.errors import SettingsError
from guidance.plan import Plan, load_plan
from guidance.recording.header import make_header
from guidance.recording.plan_copy import embed_plan
from guidance.safety.limits import Limit, load_limits
from guidance.settings import RoomSettings, StaticTransform, Stream, Tool, load_settings
from guidance.space.results import CalibrationResult, read_result


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
    settings = with_results(_beside(load_settings(path), path.resolve().parent), path.parent, time.time_ns())
    plan = load_plan(Path(settings.plan)) if settings.plan else None
    return settings, plan, load_limits(config_file("safety", "limits"), settings.limits)


def with_results(settings: RoomSettings, folder: Path, now_ns: int) -> RoomSettings:
    """The settings with what their result files say in place of the files' names.

    SettingsError lists every file that is missing, was edited, is too old at `now_ns` (wall time), beyond
    its limits, or of something else than the row that names it.
    """
    faults: list[str] = []
    rows = [_static_from(row, folder, now_ns, faults) for row in settings.space.static]
    tools = [_tool_from(tool, folder, now_ns, faults) for tool in settings.tools]
    streams = [_stream_from(row, folder, now_ns, faults) for row in settings.streams]
    if faults:
        raise SettingsError(settings.room, faults)
    space = settings.space.model_copy(update={"static": tuple(rows)})
    return settings.model_copy(update={"space": space, "tools": tuple(tools), "streams": tuple(streams)})


def _result(
    name: str, joins: tuple[str, str | None], folder: Path, now_ns: int, faults: list[str]
) -> CalibrationResult | None:
    """The result in a file, which must be of (moving, fixed); fixed None: of any."""
    path = folder / name
    try:
        found = read_result(path.read_bytes(), str(path))
    except OSError as fault:
        faults.append(f"{path}: cannot be read: {fault.strerror}")
        return None
    except SettingsError as fault:
        faults += [f"{fault.where}: {row}" for row in fault.faults]
        return None
    wrong = found.faults(now_ns, conditions=found.conditions)
    if found.moving != joins[0] or joins[1] not in (None, found.fixed):
        wrong.append(f"is of {found.moving} to {found.fixed}, not of {joins[0]} to {joins[1] or 'a tool'}")
    faults += [f"{path}: {row}" for row in wrong]
    return None if wrong else found


def _static_from(row: StaticTransform, folder: Path, now_ns: int, faults: list[str]) -> StaticTransform:
    found = row.result and _result(row.result, (row.moving, row.fixed), folder, now_ns, faults)
    if not found:
        return row
    changed = {
        "fixed_from_moving": found.fixed_from_moving,
        "source": f"{row.result}: {found.kind}, {found.made_from}",
        "sigma_mm": found.errors.get("sigma_mm", row.sigma_mm),
        "bound_mm": found.errors.get("bound_mm", row.bound_mm),
        "conditions": {key: float(value) for key, value in found.conditions.items() if not isinstance(value, str)},
        "made_ns": found.made_ns,
        "valid_s": found.valid_s,
    }
    return row.model_copy(update=changed)


def _tool_from(tool: Tool, folder: Path, now_ns: int, faults: list[str]) -> Tool:
    found = tool.result and _result(tool.result, (f"{tool.name}Tip", tool.name), folder, now_ns, faults)
    if not found:
        return tool
    tip = tuple(row[3] for row in found.fixed_from_moving[:3])
    return tool.model_copy(update={"tip_mm": tip, "tip_sigma_mm": found.errors.get("sigma_mm", tool.tip_sigma_mm)})


def _stream_from(row: Stream, folder: Path, now_ns: int, faults: list[str]) -> Stream:
    found = row.result and _result(row.result, (row.name, None), folder, now_ns, faults)
    if not found:
        return row
    if found.kind != "temporal":
        faults.append(f"{folder / str(row.result)}: is a {found.kind} calibration, not a temporal one")
        return row
    return row.model_copy(update={"lag_ms": 1000.0 * found.errors["lag_s"]})


def _beside(settings: RoomSettings, folder: Path) -> RoomSettings:
    """The settings with every path in the links' options (`..._file`, `..._folder`) beside the room file."""
    links = []
    for row in settings.links:
        paths = {
            name: str(folder / value)
            for name, value in row.options.items()
            if name.endswith(("_file", "_folder")) and isinstance(value, str)
        }
        links.append(row.model_copy(update={"options": row.options | paths}))
    return settings.model_copy(update={"links": tuple(links)})


def recording_header(settings: RoomSettings, plan: Plan | None, limits: dict[str, Limit]) -> dict[str, Any]:
    """What a recording must carry so that a replay needs nothing else."""
    return make_header(
        settings.model_dump(mode="json"),
        limits={name: msgspec.to_builtins(limit) for name, limit in limits.items()},
        plan=embed_plan(plan, Path(settings.plan).parent) if plan and settings.plan else None,
    )
