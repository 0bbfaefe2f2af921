"""The registry of forgery methods by name (voice, face and editing methods), and their selection and combination."""

from __future__ import annotations

from ..faces.methods import DubbedLowerFace, FaceAutoencoding, FaceMethod, FaceSwap, LowerFaceResynthesis, MouthReplacement, SelfBlend
from ..methods.base import Method
from ..talking.methods import TALKING_METHODS
from ..voices.methods import VoiceMethod
from ..voices.resynthesis import VOICES
from .edits import BOTH_STREAMS, Desynchronised, ForeignAudio, Operation, WordEdit

GENUINE = "genuine"  # method of genuine clips in a manifest
METHOD_SEPARATOR = "+"  # between the names of the video and the audio method of one clip

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
_FACES = tuple(method() for method in _FACE_METHODS)
_COARSE_FACES = tuple(method(coarse=True) for method in _FACE_METHODS)
_EDITS = (
    Desynchronised(),
    ForeignAudio(),
    *(WordEdit(o, streams) for o in Operation for streams in (frozenset({"audio"}), frozenset({"video"}), BOTH_STREAMS)),
)
METHODS: dict[str, Method] = {method.name: method for method in (*_VOICES, *_FACES, *_EDITS, *_COARSE_FACES)}


def select_methods(names: str) -> tuple[str, ...]:
    """Names of methods from a comma-separated list, ``all`` (without the coarse ones) or ``coarse``; the latter two without missing ones.

    Raises
    ------
    ValueError
        If a name is unknown, or a listed method cannot be used on this machine.
    """
    if names in ("all", "coarse"):
        coarse = names == "coarse"
        return tuple(name for name, method in METHODS.items() if method.coarse == coarse and method.missing_reason() is None)
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        raise ValueError(f"unknown methods {', '.join(unknown) or repr(names)}; there are {', '.join(METHODS)}, all and coarse")
    for name in wanted:
        reason = METHODS[name].missing_reason()
        if reason:
            raise ValueError(f"{name}: cannot be used here: {reason}")
    return wanted


def combinable(video: str, audio: str) -> bool:
    """Whether a video and an audio method can be combined in one clip: a face method that keeps the audio, and a voice method."""
    face = METHODS[video]
    return isinstance(face, FaceMethod) and face.keeps_audio and isinstance(METHODS[audio], VoiceMethod)
