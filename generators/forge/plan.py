"""Who is forged how: the whole list of clips that a forge will write, drawn at once and from the seed alone."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..methods.base import Donor, Window
from ..methods.source import Facts, Origin
from .postprocess import Postprocess
from .registry import METHOD_SEPARATOR, METHODS, combinable

WINDOW = (0.72, 1.0)  # least and most of a source that a clip shows
MIN_FRAMES = 12  # 0.48 s; shorter sources are left out
FALLBACKS = 4  # methods that are tried where the first cannot be made after all
CANDIDATES = 8  # donors of whom the one that looks most alike is taken
KINDS = {"video": 0.4, "audio": 0.4, "both": 0.12, "neither": 0.08}  # which streams of a forged clip become fake, and how often
_STREAMS = {"video": {"video"}, "audio": {"audio"}, "both": {"video", "audio"}, "neither": set()}
REPLACEMENT_OFFSET = 1_000_000  # added to the slot of a genuine clip that takes the place of a fake


@dataclass(frozen=True)
class Attempt:
    """A method (two, joined by ``+``) and whose material it takes."""

    method: str
    donor: Origin | None


@dataclass(frozen=True)
class Job:
    """One clip to be written.

    Parameters
    ----------
    name : str
        Of the file; it tells nothing of what the clip is.
    source : Origin
    window : Window
    slot : int
        Counts the clips of a source. A forged and a genuine clip of one slot share their window and their postprocess.
    deal : int
        Number of the postprocess. The k-th clip of every kind gets the k-th postprocess, so what chance gives one kind it gives all: drawn
        one by one, a fifth more band-limited sound among the fakes of 2000 clips told the label (AUC 0.55).
    attempts : tuple of Attempt
        In the order in which they are tried; empty for a genuine clip.
    seed : int
        Of the whole forge.
    beside : tuple of Attempt
        Of a genuine clip beside a coarse forgery, how that is made: the clip shall be as soft.
    """

    name: str
    source: Origin
    window: Window
    slot: int
    deal: int
    attempts: tuple[Attempt, ...]
    seed: int
    beside: tuple[Attempt, ...] = ()

    @property
    def postprocess(self) -> Postprocess:
        """How the clip leaves."""
        return Postprocess.draw(np.random.default_rng((self.seed, self.deal)))

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on seed, source, slot and purpose, never on what the clip is."""
        return np.random.default_rng((self.seed, zlib.crc32(self.source.path.encode()), self.slot, zlib.crc32(purpose.encode())))


def origins(table: pd.DataFrame) -> list[Origin]:
    """The rows of :func:`avwitness.datasets.manifest.read_labels` as origins."""
    names = table["identity"].where(table["identity"] != "", table["path"])  # unnamed people are not one person
    genuine = {stream: table[f"{stream}_label"].eq(0).fillna(False) for stream in ("video", "audio")}
    columns = [table.path, table.file, names, table.corpus, table.split, table.transcript, genuine["video"], genuine["audio"]]
    return [Origin(p, str(f), i, c, s, t, bool(v), bool(a)) for p, f, i, c, s, t, v, a in zip(*columns, strict=True)]


def draw_plan(
    clips: Sequence[Origin],
    facts: Mapping[str, Facts],
    methods: Sequence[str],
    per_clip: int,
    genuine_per_clip: int,
    seed: int,
    limit: int | None = None,
) -> list[Job]:
    """Draw every clip of a forged set.

    Which streams become fake is drawn before anyone looks at the clip, so that no corpus, length or size has more fakes
    than another. A clip of which nothing of that kind can be made gives one more genuine clip instead.

    Parameters
    ----------
    facts : mapping
        Of every clip, by its path; clips without are left out.
    methods : sequence of str
        Names; of those that suit a clip, the one that was used least comes first.
    per_clip, genuine_per_clip : int
        Forged and genuine clips that every source gives.
    limit : int, optional
        Clips in all; sources are taken in random order until there are so many.
    """
    rng = np.random.default_rng(seed)
    clips = [clip for clip in clips if clip.path in facts and facts[clip.path].length >= MIN_FRAMES]
    used: Counter[str] = Counter()
    dealt: Counter[str] = Counter()
    jobs: list[Job] = []
    kinds = [kind for kind in KINDS if _can_be(kind, methods)]
    shares = np.array([KINDS[kind] for kind in kinds]) / sum(KINDS[kind] for kind in kinds)
    # What every identity is owed of each kind: dealt out evenly, because what a person looks and sounds like would
    # tell the label wherever chance gave one more fakes than another. The beginning is drawn.
    owed: dict[str, np.ndarray] = {}
    for index in rng.permutation(len(clips)):
        clip = clips[index]
        for slot in range(max(per_clip, genuine_per_clip)):
            window = _window(facts[clip.path].length, rng)
            made, kind = [], "genuine"
            beside: tuple[Attempt, ...] = ()
            if slot < per_clip:
                debt = owed.setdefault(clip.identity, rng.uniform(0.0, 1.0, len(kinds)))
                debt += shares
                due = int(np.argmax(debt))
                debt[due] -= 1.0
                kind = kinds[due]
                attempts = _attempts(kind, clip, clips, facts, methods, window, used, rng)
                made.append(_job(clip, window, slot if attempts else slot + REPLACEMENT_OFFSET, dealt[kind], attempts, seed))
                used.update(attempts[0].method.split(METHOD_SEPARATOR) if attempts else ())
                if any(METHODS[attempt.method.split(METHOD_SEPARATOR)[0]].coarse for attempt in attempts):
                    beside = attempts
            if slot < genuine_per_clip:
                made.append(replace(_job(clip, window, slot, dealt[kind], (), seed), beside=beside))
            dealt[kind] += 1
            jobs += made
            if limit is not None and len(jobs) >= limit:
                return jobs[:limit]
    return jobs


def _can_be(kind: str, methods: Sequence[str]) -> bool:
    """Whether some of these methods make just these streams fake."""
    streams = [METHODS[name].streams for name in methods]
    if kind == "both" and any(combinable(a, b) for a in methods for b in methods):
        return True
    return _STREAMS[kind] in streams


def _job(clip: Origin, window: Window, slot: int, deal: int, attempts: tuple[Attempt, ...], seed: int) -> Job:
    kind = "forged" if attempts else "genuine"
    name = hashlib.sha1(f"{seed}:{clip.path}:{slot}:{kind}".encode()).hexdigest()[:16]
    return Job(name, clip, window, slot, deal, attempts, seed)


def _window(length: int, rng: np.random.Generator) -> Window:
    frames = max(MIN_FRAMES, round(length * rng.uniform(*WINDOW)))
    return Window(int(rng.integers(0, length - frames + 1)), frames)


def _attempts(
    kind: str,
    clip: Origin,
    clips: Sequence[Origin],
    facts: Mapping[str, Facts],
    methods: Sequence[str],
    window: Window,
    used: Counter[str],
    rng: np.random.Generator,
) -> tuple[Attempt, ...]:
    """What is to be tried on a clip so that these streams become fake: the least used first, ties broken at random."""
    suitable = [name for name in methods if METHODS[name].supports(facts[clip.path], clip.transcript, window)]
    order = sorted(suitable, key=lambda name: (used[name], rng.random()))
    names = [name for name in order if METHODS[name].streams == _STREAMS[kind]]
    if kind == "both":
        # A cut of both streams, or a face and a voice, with equal chance; of cuts again the least used first.
        voices = [name for name in order if METHODS[name].streams == {"audio"}]
        joined = []
        for name in order:
            voice = next((v for v in voices if combinable(name, v)), None) if METHODS[name].streams == {"video"} else None
            if voice is not None:
                joined.append(f"{name}{METHOD_SEPARATOR}{voice}")
        joined = [joined[index] for index in rng.permutation(len(joined))]
        names = names + joined if rng.random() < 0.5 else joined + names
    out: list[Attempt] = []
    for name in names:
        method = METHODS[name.split(METHOD_SEPARATOR)[0]]
        donor = None
        if method.donor is not Donor.none:
            donor = _donor(method.donor, clip, clips, facts, window, method.donor_streams, rng)
            if donor is None:
                continue
        out.append(Attempt(name, donor))
        if len(out) == 1 + FALLBACKS:
            break
    return tuple(out)


def _donor(
    kind: Donor,
    clip: Origin,
    clips: Sequence[Origin],
    facts: Mapping[str, Facts],
    window: Window,
    donor_streams: frozenset[str],
    rng: np.random.Generator,
) -> Origin | None:
    """A clip of the same split to take material from; where a face is taken, of a few the one that looks most alike."""

    def fits(other: Origin) -> bool:
        same = other.identity == clip.identity
        wanted = {Donor.same: same, Donor.other: not same, Donor.any: True}[kind]
        long_enough = kind is not Donor.any or facts[other.path].length >= window.frames
        has = (facts[other.path].face or "video" not in donor_streams) and (facts[other.path].audio or "audio" not in donor_streams)
        return wanted and long_enough and has and other.split == clip.split and other.path != clip.path

    found: list[Origin] = []
    for index in rng.permutation(len(clips)):
        if fits(clips[index]):
            found.append(clips[index])
            if len(found) == (CANDIDATES if "video" in donor_streams and kind is not Donor.same else 1):
                break
    if not found:
        return clip if kind is Donor.same else None
    if "video" not in donor_streams or kind is Donor.same:
        return found[0]
    face = _likeness(facts[clip.path].portrait)
    return min(found, key=lambda other: float(np.square(_likeness(facts[other.path].portrait) - face).mean()))


def _likeness(portrait: np.ndarray) -> np.ndarray:
    """A portrait free of most of its exposure."""
    values = portrait.astype(np.float32)
    return (values - values.mean()) / (values.std() + 8.0) + 0.5 * (values.mean(axis=(0, 1)) / 64.0)
