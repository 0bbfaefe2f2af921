"""Fixtures of the forge's tests: forgeries by method and seed, cached."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from forging import SOURCE, WINDOW, MakeForgery, donor_for, usable

from avwitness.generators.methods.base import Forgery, Window
from avwitness.generators.methods.source import Source


@pytest.fixture(scope="module")
def make(followed: dict[str, Source]) -> MakeForgery:
    """Forge the source by name, seed and window; results are cached."""

    @cache
    def forge(name: str, seed: int = 0, window: Window = WINDOW) -> Forgery:
        method = usable(name)
        return method.forge(followed[SOURCE], donor_for(method, followed), window, np.random.default_rng(seed))

    return forge
