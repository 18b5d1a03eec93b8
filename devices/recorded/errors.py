"""What goes wrong with a recorded file, said so that a person can act on it."""

from pathlib import Path

from devices.errors import DeviceError


class RecordedDataError(DeviceError, ValueError):
    """A recorded file that cannot be used: names the file, the field and what is wrong with it."""

    def __init__(self, path: Path | str, field: str, problem: str) -> None:
        self.path = Path(path)
        self.field = field
        self.problem = problem
        super().__init__(f"{path}: {field}: {problem}")
