"""The ``avwitness`` command: parses, calls, prints. One file per subject; ``commands.py`` lists them all."""

from .app import app, main
from .inputs import expand

__all__ = ["app", "expand", "main"]
