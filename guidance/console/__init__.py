"""The operator's console: one page served by the service itself."""

from guidance.console.server import serve_console

__all__ = ["serve_console"]
