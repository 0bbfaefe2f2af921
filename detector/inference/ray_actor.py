"""The ray actor that scores files on a node of a cluster. Started by :mod:`avwitness.detector.inference.ray_cluster`."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any


def actor_class(ray: Any) -> Any:
    """The class of the actors.

    It is defined in a function so that ray serialises it by value: the package is imported on the node, in ``load``, where another
    version, or none, is reported instead of failing to unpickle.
    """
    concurrent: Callable[[Any], Any] = ray.method(concurrency_group="progress")  # runs while a file is scored

    @ray.remote(concurrency_groups={"progress": 1})
    class Scorer:
        def __init__(self, settings: dict[str, Any]) -> None:
            self.settings = settings
            self.node = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            self.detector: Any = None
            self.window: tuple[int, float, float | None] | None = None

        def load(self) -> dict[str, Any]:
            """Load the model; return the node, its version of the package, and the error if there was one."""
            folder, name = self.settings["folder"], self.settings["model"]
            reply: dict[str, Any] = {"node": self.node, "version": None, "failure": None}
            # Ray puts the caller's working directory first on the path, where a folder named like a library would replace it.
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
            try:
                from ... import __file__ as package
                from ... import __version__
            except ImportError:
                return reply
            home = os.path.dirname(package)
            sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(home)]
            reply["version"] = __version__
            if __version__ != self.settings["version"]:
                return reply
            try:
                import torch

                from ...checkpoints import list_weights
                from .detector import load

                torch.set_num_threads(int(ray.get_runtime_context().get_assigned_resources()["CPU"]))
                own = os.path.join(folder, name)
                known = name in list_weights("detector") or not os.path.isdir(own)
                self.detector = load(name if known else own, device=self.settings["device"])
            except Exception as error:  # raised again by the caller
                reply["failure"] = str(error)
            return reply

        def score(self, index: int, path: str) -> Any:
            """The verdict on one file; ``index`` is its number."""

            def hook(done: float, total: float | None) -> None:
                self.window = (index, done, total)

            full = os.path.join(self.settings["folder"], path)
            verdict = self.detector.score_guarded(full, hook=hook, **self.settings["scoring"])
            verdict = replace(verdict, path=path)
            if verdict.error is not None and not os.access(full, os.R_OK):
                message = f"{verdict.error.message} (node {self.node})"
                verdict = replace(verdict, error=replace(verdict.error, message=message))
            return verdict

        @concurrent
        def progress(self) -> tuple[int, float, float | None] | None:
            """Number of the last file, seconds done and seconds in all."""
            return self.window

    return Scorer
