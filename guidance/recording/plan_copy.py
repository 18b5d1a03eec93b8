"""A plan inside a recording: its files travel along, so that a replay needs nothing else."""

import base64
import tempfile
from pathlib import Path
from typing import Any

from guidance.errors import RecordingError
from guidance.plan import Plan, load_plan

MAX_BYTES = 64 * 1024 * 1024


def embed_plan(plan: Plan, folder: Path) -> dict[str, Any]:
    """The plan's files, which lie in `folder` or below, as JSON values in base64; `first` is the plan's own file."""
    paths = {name: (folder / name).resolve() for name in plan.files}
    outside = [name for name, path in paths.items() if not path.is_relative_to(folder.resolve())]
    if outside:
        raise RecordingError(f"{folder}: files of a recorded plan must lie beside it or below, not {outside}")
    total = sum(path.stat().st_size for path in paths.values())
    if total > MAX_BYTES:
        raise RecordingError(f"{folder}: the plan's files are {total} bytes; a recording carries {MAX_BYTES} at most")
    files = {name: base64.b64encode(path.read_bytes()).decode() for name, path in paths.items()}
    return {"content_sha256": plan.content_sha256, "first": next(iter(files)), "files": files}


def restore_plan(values: dict[str, Any]) -> Plan:
    """The plan as it was; RecordingError where the copy is not what the recording says."""
    with tempfile.TemporaryDirectory(prefix="guidance-plan-") as folder:
        for name, content in values["files"].items():
            target = Path(folder, name).resolve()
            if not target.is_relative_to(Path(folder).resolve()):
                raise RecordingError(f"plan file {name!r} points outside of the plan's folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(base64.b64decode(content, validate=True))
        plan = load_plan(Path(folder, values["first"]).resolve())
    if plan.content_sha256 != values["content_sha256"]:
        raise RecordingError("the plan in the recording is not the plan that was used (content hash differs)")
    return plan
