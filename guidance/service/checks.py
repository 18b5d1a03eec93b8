"""`guidance check`: all faults of a configuration, its limits and its plan in one list."""

from pathlib import Path

from guidance.core import Core
from guidance.errors import GuidanceError, SettingsError
from guidance.load import config_file, load_room
from guidance.plan import load_plan
from guidance.service.options import link_faults
from guidance.settings import read_toml


def check_file(name_or_path: str) -> list[str]:
    """Faults as `path: what`; empty when the room could start (or the plan could be loaded)."""
    path = config_file("procedures", name_or_path)
    try:
        if "links" not in read_toml(path) and "streams" not in read_toml(path):
            load_plan(Path(path))
            return []
        settings, plan, limits = load_room(path)
        known = {structure.name for structure in plan.structures} if plan else set()
        missing = [
            f"guards.{guard.structure}: the plan has no such structure (have {sorted(known)})"
            for guard in settings.guards
            if guard.structure not in known
        ]
        missing += link_faults(settings)
        if not missing:
            Core(settings, plan, limits)
        return missing
    except SettingsError as fault:
        return [f"{fault.where}: {row}" for row in fault.faults]
    except GuidanceError as fault:
        return [str(fault)]
