from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.media.face.mean_face import derive_mean_face


def test_the_mean_face_of_a_corpus_is_a_face(talk_file: Path) -> None:
    mean = derive_mean_face(pd.DataFrame({"speaker": ["a", "b"], "file": [talk_file, talk_file]}), clips=1)
    assert mean.shape == (478, 3)
    assert np.linalg.norm(mean[263] - mean[33]) == pytest.approx(1.0, abs=1e-4)
    assert mean[152, 1] > mean[14, 1] > mean[1, 1] > 0  # chin below mouth below nose below eyes
