"""Errors of the device floor: who broke the rule decides the type."""


class DeviceError(Exception):
    """Base of every error that a device link can raise."""


class RemoteProtocolError(DeviceError):
    """The other side sent something that the protocol forbids. A decoder raises nothing else."""


class LocalProtocolError(DeviceError):
    """This side asked for something that the protocol forbids."""


class LinkError(DeviceError):
    """The transport failed: refused, reset, timed out, closed."""
