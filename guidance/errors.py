"""Errors of the service itself. Each names what, where and what to do."""


class GuidanceError(Exception):
    """Base of the service's own errors; the command line prints them without a traceback."""


class SettingsError(GuidanceError):
    """A configuration that cannot be used; lists every fault with its path."""

    def __init__(self, where: str, faults: list[str]) -> None:
        self.where = where
        self.faults = faults
        super().__init__(f"{where}: " + "; ".join(faults))


class PlanError(SettingsError):
    """A plan that must not be armed; lists every fault with its path."""


class RecordingError(GuidanceError):
    """A recording that cannot be read, or that disagrees with its replay."""
