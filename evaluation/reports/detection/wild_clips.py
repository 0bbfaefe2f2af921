"""Groups of wild clips from their file names: clips with the same video, and clips of the same speaker."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

PAIRED = re.compile(r"(?P<clip>.+)_(?:gt|pred)")  # lip2speech: genuine and generated speech of one clip
NAMED = (
    re.compile(r"org__.*\.(?P<who>[a-z]+)\d*"),  # wav2lip_quiz, genuine
    re.compile(r"bucket_(?P<who>[a-z]+)_.*"),
    re.compile(r"lipread_words__(?P<who>[a-z]+)_.*"),
)
# The other names of wav2lip_quiz hold a sentence and no speaker; they were assigned by backdrop and clothes of the named clips.
BY_SENTENCE = {
    "happy_birthday": "jen",
    "here_is_your_bill": "sheri",
    "are_you_well": "sheri",
    "do_you_want_to_split_an_appetizer": "sheri",
    "how_are_you": "nicole",
    "how_would_you_like_your_steak": "jen",
    "lets_get_dessert": "jen",
    "what_are_your_hobbies": "nicole",
    "what_fish_do_you_prefer": "nicole",
    "whats_the_address": "nicole",
    "would_you_like_a_cup_of_coffee": "sheri",
    "would_you_like_something_to_drink": "garrett",
}


def speaker_of(path: str) -> str:
    """The speaker of a clip of wav2lip_quiz; empty for other clips and unknown names."""
    stem = PurePosixPath(path).stem
    for pattern in NAMED:
        if found := pattern.fullmatch(stem):
            return found["who"]
    if stem.startswith(("lipread_sentences__", "lipread_missing__")):
        return BY_SENTENCE.get(stem.split("__", 1)[1], "")
    return ""


def video_of(path: str) -> str:
    """Name shared by clips with the same video: pairs of lip2speech, and clips of mcgurk (named ``VIDEO_AUDIO``) by their video."""
    clip = PurePosixPath(path)
    if found := PAIRED.fullmatch(clip.stem):
        return f"{clip.parent}/{found['clip']}"
    if clip.parent.name == "mcgurk":
        return f"{clip.parent}/{clip.stem.split('_')[0]}"
    return str(clip)
