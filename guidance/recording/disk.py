"""Files that are only ever added to, in one folder, under names of our own making."""

import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from guidance.errors import RecordingError

NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8,32}\.(?:mcap|journal)")
_MAX_BUFFERS = 512  # of one writev; the system allows 1024


class AppendFile:
    """A file open for adding bytes at its end. Any OSError passes through, after which `truncate` makes it whole."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Add all parts; on a full disk raises OSError with some of them written."""
        waiting = [memoryview(part).cast("B") for part in parts if len(part)]
        while waiting:
            done = os.writev(self._descriptor, waiting[:_MAX_BUFFERS])
            self.size += done
            while waiting and done >= len(waiting[0]):
                done -= len(waiting.pop(0))
            if done:
                waiting[0] = waiting[0][done:]

    def read_all(self) -> bytes:
        """The whole file."""
        return os.pread(self._descriptor, self.size, 0)

    def truncate(self, size: int) -> None:
        """Cut the file back to `size` bytes."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def sync(self) -> None:
        """Return when every written byte is on the disk."""
        os.fdatasync(self._descriptor)

    def free_bytes(self) -> int:
        """Bytes that the file system has left for us."""
        state = os.fstatvfs(self._descriptor)
        return state.f_bavail * state.f_frsize

    def fileno(self) -> int:
        """The descriptor, for locks."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor; the file must not be used again."""
        os.close(self._descriptor)


def new_name(wall_ns: int, suffix: str, kind: str = "mcap") -> str:
    """A file name: UTC time and a random suffix of 8 to 32 hexadecimal digits. ValueError on any other suffix."""
    when = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    name = f"{when:%Y%m%dT%H%M%S}.{wall_ns % 10**9 // 1000:06d}Z-{suffix}.{kind}"
    if not NAME.fullmatch(name):
        raise ValueError(f"a recording's suffix is 8 to 32 hexadecimal digits, not {suffix!r}")
    return name


def open_append(folder: Path, name: str, *, new: bool) -> AppendFile:
    """Open `name` in `folder` for adding: mode 0600, never through a link, `new` = it must not exist yet.

    The folder is made (0700) where it is absent. RecordingError says what is in the way.
    """
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise RecordingError(f"{name!r} is not a file name: a recording lies directly in {folder}")
    folder = folder.absolute()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_EXCL if new else 0)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=root)
            os.fsync(root)
        finally:
            os.close(root)
    except OSError as fault:
        raise RecordingError(f"{folder / name}: cannot be opened for writing: {fault.strerror}") from fault
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordingError(f"{folder / name}: is not a plain file")
    return AppendFile(descriptor, folder / name)


def find_recording(root: Path, name: str) -> Path:
    """The path of the recording `name` under `root`; RecordingError unless it is a plain file with a name of ours."""
    if not NAME.fullmatch(name):
        raise RecordingError(f"{name!r} is not the name of a recording (they look like {new_name(0, '0' * 8)})")
    path = root / name
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise RecordingError(f"{path}: is not a plain file (links are not followed)")
    except OSError as fault:
        raise RecordingError(f"{path}: cannot be read: {fault.strerror}") from fault
    return path


def list_recordings(root: Path) -> list[str]:
    """Names of the recordings under `root`, oldest first; what is no plain file or has another name is left out."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if NAME.fullmatch(e.name) and e.is_file(follow_symlinks=False))
