"""Errors of the simulator. Each names what, where and what to do."""


class ScenarioError(Exception):
    """A scenario that cannot be built: which file or row, and what is wrong with it."""
