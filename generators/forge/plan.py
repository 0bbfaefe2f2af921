"""Planning of a forged set: the list of all clips to write, drawn from the seed before any clip is forged."""

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

WINDOW_SHARE = (0.72, 1.0)  # range of the length of a clip, as a share of its source
MIN_FRAMES = 12  # 0.48 s; shorter sources are left out
MAX_FALLBACKS = 4  # further methods that are tried if the first fails
DONOR_CANDIDATES = 8  # donors of which the one with the most similar face is taken
STREAM_SHARES = {"video": 0.4, "audio": 0.4, "both": 0.12, "neither": 0.08}  # shares of the forged clips by which streams are fake
_STREAMS_OF_KIND = {"video": {"video"}, "audio": {"audio"}, "both": {"video", "audio"}, "neither": set()}
REPLACEMENT_OFFSET = 1_000_000  # added to the slot of a genuine clip that replaces a forged one


@dataclass(frozen=True)
class Attempt:
    """A method (or two, joined by ``+``) and the clip that is its donor."""

    method: str
    donor: Origin | None


@dataclass(frozen=True)
class Job:
    """One clip to write.

    Parameters
    ----------
    name : str
        Of the file; it does not reveal the label.
    source : Origin
    window : Window
    slot : int
        Number of the clip within its source. The forged and the genuine clip of one slot share window and postprocess.
    postprocess_number : int
        Number of the postprocess. The k-th clip of every kind gets the k-th postprocess, so all kinds have the same
        distribution: with independent draws, a fifth more band-limited audio among the fakes of 2000 clips gave an AUC of
        0.55 by itself.
    attempts : tuple of Attempt
        Methods in the order in which they are tried; empty for a genuine clip.
    seed : int
        Seed of the whole set.
    paired_attempts : tuple of Attempt
        Of a genuine clip paired with a coarse forgery: the attempts of that forgery, whose softness the clip is matched to.
    """

    name: str
    source: Origin
    window: Window
    slot: int
    postprocess_number: int
    attempts: tuple[Attempt, ...]
    seed: int
    paired_attempts: tuple[Attempt, ...] = ()

    @property
    def postprocess(self) -> Postprocess:
        """Postprocessing of the clip."""
        return Postprocess.draw(np.random.default_rng((self.seed, self.postprocess_number)))

    def rng(self, purpose: str) -> np.random.Generator:
        """Random generator that depends on seed, source, slot and purpose, not on the label."""
        return np.random.default_rng((self.seed, zlib.crc32(self.source.path.encode()), self.slot, zlib.crc32(purpose.encode())))


def origins(table: pd.DataFrame) -> list[Origin]:
    """The rows of :func:`avwitness.datasets.manifest.read_labels` as origins."""
    names = table["identity"].where(table["identity"] != "", table["path"])  # clips without a name are not one person
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
    """Draw all clips of a forged set.

    Which streams become fake is drawn independently of the clip, so that the label does not correlate with corpus, length
    or size. If no method of that kind can be applied to a clip, it gives one more genuine clip instead.

    Parameters
    ----------
    facts : mapping
        Of every clip, by its path; clips without facts are left out.
    methods : sequence of str
        Names; of those that a clip supports, the least used comes first.
    per_clip, genuine_per_clip : int
        Forged and genuine clips of every source.
    limit : int, optional
        Number of clips in total; sources are taken in random order until it is reached.
    """
    rng = np.random.default_rng(seed)
    clips = [clip for clip in clips if clip.path in facts and facts[clip.path].length >= MIN_FRAMES]
    used: Counter[str] = Counter()
    n_planned: Counter[str] = Counter()
    jobs: list[Job] = []
    kinds = [kind for kind in STREAM_SHARES if _is_possible(kind, methods)]
    shares = np.array([STREAM_SHARES[kind] for kind in kinds]) / sum(STREAM_SHARES[kind] for kind in kinds)
    # Deficit of every kind for each identity. The kinds are balanced within a person, because otherwise face and voice of
    # a person with more fakes would reveal the label. The initial value is random.
    deficits: dict[str, np.ndarray] = {}
    for index in rng.permutation(len(clips)):
        clip = clips[index]
        for slot in range(max(per_clip, genuine_per_clip)):
            window = _window(facts[clip.path].length, rng)
            new_jobs, kind = [], "genuine"
            paired_attempts: tuple[Attempt, ...] = ()
            if slot < per_clip:
                deficit = deficits.setdefault(clip.identity, rng.uniform(0.0, 1.0, len(kinds)))
                deficit += shares
                index_due = int(np.argmax(deficit))
                deficit[index_due] -= 1.0
                kind = kinds[index_due]
                attempts = _attempts(kind, clip, clips, facts, methods, window, used, rng)
                new_jobs.append(_job(clip, window, slot if attempts else slot + REPLACEMENT_OFFSET, n_planned[kind], attempts, seed))
                used.update(attempts[0].method.split(METHOD_SEPARATOR) if attempts else ())
                if any(METHODS[attempt.method.split(METHOD_SEPARATOR)[0]].coarse for attempt in attempts):
                    paired_attempts = attempts
            if slot < genuine_per_clip:
                new_jobs.append(replace(_job(clip, window, slot, n_planned[kind], (), seed), paired_attempts=paired_attempts))
            n_planned[kind] += 1
            jobs += new_jobs
            if limit is not None and len(jobs) >= limit:
                return jobs[:limit]
    return jobs


def _is_possible(kind: str, methods: Sequence[str]) -> bool:
    """Whether some of these methods forge exactly these streams."""
    streams = [METHODS[name].streams for name in methods]
    if kind == "both" and any(combinable(a, b) for a in methods for b in methods):
        return True
    return _STREAMS_OF_KIND[kind] in streams


def _job(clip: Origin, window: Window, slot: int, postprocess_number: int, attempts: tuple[Attempt, ...], seed: int) -> Job:
    kind = "forged" if attempts else "genuine"
    name = hashlib.sha1(f"{seed}:{clip.path}:{slot}:{kind}".encode()).hexdigest()[:16]
    return Job(name, clip, window, slot, postprocess_number, attempts, seed)


def _window(length: int, rng: np.random.Generator) -> Window:
    frames = max(MIN_FRAMES, round(length * rng.uniform(*WINDOW_SHARE)))
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
    """Methods to try on a clip so that exactly these streams become fake: the least used first, ties broken at random."""
    suitable = [name for name in methods if METHODS[name].supports(facts[clip.path], clip.transcript, window)]
    order = sorted(suitable, key=lambda name: (used[name], rng.random()))
    names = [name for name in order if METHODS[name].streams == _STREAMS_OF_KIND[kind]]
    if kind == "both":
        # An edit of both streams, or a face and a voice method, with equal probability.
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
        if len(out) == 1 + MAX_FALLBACKS:
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
    """A donor of the same split; if its face is used, the most similar of a few candidates."""

    def fits(other: Origin) -> bool:
        same = other.identity == clip.identity
        identity_fits = {Donor.same: same, Donor.other: not same, Donor.any: True}[kind]
        long_enough = kind is not Donor.any or facts[other.path].length >= window.frames
        has = (facts[other.path].face or "video" not in donor_streams) and (facts[other.path].audio or "audio" not in donor_streams)
        return identity_fits and long_enough and has and other.split == clip.split and other.path != clip.path

    candidates: list[Origin] = []
    for index in rng.permutation(len(clips)):
        if fits(clips[index]):
            candidates.append(clips[index])
            if len(candidates) == (DONOR_CANDIDATES if "video" in donor_streams and kind is not Donor.same else 1):
                break
    if not candidates:
        return clip if kind is Donor.same else None
    if "video" not in donor_streams or kind is Donor.same:
        return candidates[0]
    face = _normalised_portrait(facts[clip.path].portrait)
    return min(candidates, key=lambda other: float(np.square(_normalised_portrait(facts[other.path].portrait) - face).mean()))


def _normalised_portrait(portrait: np.ndarray) -> np.ndarray:
    """Thumbnail float32 [32, 32, 3] with most of its exposure normalised."""
    values = portrait.astype(np.float32)
    return (values - values.mean()) / (values.std() + 8.0) + 0.5 * (values.mean(axis=(0, 1)) / 64.0)
