"""The registry of forgeries: every voice, every face, every cut, by name."""

from __future__ import annotations

from ..faces.methods import DubbedLowerFace, FaceAutoencoding, FaceMethod, FaceSwap, LowerFaceResynthesis, MouthReplacement, SelfBlend
from ..methods.base import Method
from ..talking.methods import TALKING_METHODS
from ..voices.methods import VoiceMethod
from ..voices.resynthesis import VOICES
from .edits import ALL, Desynchronised, ForeignAudio, Operation, WordEdit

GENUINE = "genuine"
METHOD_SEPARATOR = "+"  # between the names of two methods that forge one clip's picture and sound

_VOICES = tuple(VoiceMethod(voice) for voice in VOICES.values())
_FACE_METHODS: tuple[type[FaceMethod], ...] = (
    SelfBlend,
    MouthReplacement,
    FaceSwap,
    LowerFaceResynthesis,
    DubbedLowerFace,
    FaceAutoencoding,
    *TALKING_METHODS,
)
_FACES = tuple(painter() for painter in _FACE_METHODS)
_COARSE = tuple(painter(coarse=True) for painter in _FACE_METHODS)
_CUTS = (
    Desynchronised(),
    ForeignAudio(),
    *(WordEdit(o, streams) for o in Operation for streams in (frozenset({"audio"}), frozenset({"video"}), ALL)),
)
METHODS: dict[str, Method] = {method.name: method for method in (*_VOICES, *_FACES, *_CUTS, *_COARSE)}


def select_methods(names: str) -> tuple[str, ...]:
    """Names of methods from a list with commas, ``all`` (but the coarse ones) or ``coarse``; of these, what can be used here.

    Raises
    ------
    ValueError
        If a name is unknown, or a method that is named cannot be used here.
    """
    if names in ("all", "coarse"):
        coarse = names == "coarse"
        return tuple(name for name, method in METHODS.items() if method.coarse == coarse and method.missing_reason() is None)
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        raise ValueError(f"unknown methods {', '.join(unknown) or repr(names)}; there are {', '.join(METHODS)}, all and coarse")
    for name in wanted:
        cause = METHODS[name].missing_reason()
        if cause:
            raise ValueError(f"{name}: cannot be used here: {cause}")
    return wanted


def combinable(video: str, audio: str) -> bool:
    """Whether a face and a voice may be forged in one clip: the face keeps the clip's own sound, the voice its timing."""
    face = METHODS[video]
    return isinstance(face, FaceMethod) and face.keeps_audio and isinstance(METHODS[audio], VoiceMethod)
