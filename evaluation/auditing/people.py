"""People who occur on both sides of a split: a leak, which face embeddings reveal."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CHIP_SIZE = 150  # pixels of the aligned face that the network expects
CHIP_PADDING = 0.25  # of the aligned face, as share of its side
FACE_SHARE = 1 / 1.5  # of a portrait's side that the box around its landmarks takes
SAME_PERSON = 0.45  # Euclidean distance; at 0.6, for pairs chosen at random, one pair in some hundreds would be wrong
INSTALL = "install them with: pip install 'avwitness[people]'"

#: Mean embedding float [128] of portraits uint8 [N, S, S, 3].
Embedder = Callable[[np.ndarray], np.ndarray]


def missing_reason() -> str:
    """Why faces cannot be embedded here; empty if they can."""
    missing = [name for name in ("dlib", "face_recognition_models") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed; {INSTALL}" if missing else ""


def load_embedder() -> Embedder:
    """The face recognition network of dlib.

    Returns
    -------
    callable
        See :data:`Embedder`.

    Raises
    ------
    RuntimeError
        If the packages are not installed.

    Notes
    -----
    A ResNet of 29 layers with embeddings of 128 values; two faces nearer than 0.6 are of one person with an accuracy of 99.38 % on
    Labeled Faces in the Wild. Source: King, *dlib_face_recognition_resnet_model_v1*, 2017.
    """
    if reason := missing_reason():
        raise RuntimeError(f"faces cannot be embedded: {reason}")
    dlib = import_module("dlib")
    spec = find_spec("face_recognition_models")  # not imported: it needs pkg_resources, which new setuptools lack
    assert spec is not None and spec.submodule_search_locations
    models = Path(spec.submodule_search_locations[0]) / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def embed(portraits: np.ndarray) -> np.ndarray:
        margin = round(portraits.shape[1] * (1.0 - FACE_SHARE) / 2.0)
        box = dlib.rectangle(margin, margin, portraits.shape[2] - margin, portraits.shape[1] - margin)
        chips = [dlib.get_face_chip(image, predictor(image, box), CHIP_SIZE, CHIP_PADDING) for image in portraits]
        return np.mean([np.array(network.compute_face_descriptor(chip)) for chip in chips], axis=0)

    return embed


def nearest(embeddings: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each embedding [N, D], the Euclidean distance to the nearest of the others [M, D], and its number: float [N], int [N]."""
    squares = (embeddings**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * embeddings @ others.T
    number = squares.argmin(axis=1)
    return np.sqrt(np.clip(squares[np.arange(len(number)), number], 0.0, None)), number
