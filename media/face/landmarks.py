"""Indices of the mediapipe face mesh, by part of the face."""

from __future__ import annotations

LANDMARKS = 478  # points of the mediapipe face mesh with irises
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = LIPS_OUTER + LIPS_INNER
# Around the face from the middle of the forehead, clockwise for the viewer.
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LOWER_FACE = (*OVAL[11:26], 206, 164, 426)  # the jaw from one corner to the other, and the folds under the nose
STABLE = (33, 133, 2, 362, 263)  # outer and inner eye corners and the base of the nose, which speech does not move
RIGID = (33, 133, 362, 263, 6, 168, 197, 2, 10, 151, 127, 356)  # STABLE plus forehead, nose bridge and temples
JAW_WIDTH = (234, 454)  # the two sides of the face at ear height; their distance is one face width
