"""The ``avwitness`` command. One file per group of commands; ``app.py`` lists them all."""

from .app import app, main
from .options import expand

__all__ = ["app", "expand", "main"]
