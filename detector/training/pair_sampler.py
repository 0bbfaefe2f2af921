"""Sampling of pairs, a fake and a genuine clip of the same source, balanced by method and corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...media.clip import STREAMS
from .samples import Sample, paired_real_clips, split_methods

RARE_METHOD_WEIGHT = 1.0 / 3.0  # probability of a rare method, as a share of that of the others
MISMATCH = "mismatch"  # kind, and method, of clips whose streams are genuine but belong to different moments

#: Forward passes of one training step, with the kinds of fakes that each is trained on. A pass gives the detector both streams
#: or one of them alone; a kind is the stream that is fake, or :data:`MISMATCH`.
KINDS_BY_PASS = {"both": ("audio", "video", MISMATCH), "audio": ("audio",), "video": ("video",)}
PASSES = tuple(KINDS_BY_PASS)


class PairSampler:
    """Samples pairs of a fake and its paired real clip.

    Parameters
    ----------
    samples : sequence of Sample
    exclude_methods : collection of str
        Methods that are left out.
    rare_methods : collection of str
        Methods that are sampled a third as often as the others.

    Attributes
    ----------
    pools : dict of (str, str) to dict of str to (int [N], float [N])
        By pass and kind, then by method: indices of fakes, and their probabilities.
    faces : list of int
        Genuine clips with a face.
    speakers : list of int
        Genuine clips with audio, for babble.

    Notes
    -----
    The method is drawn first, then a clip of that method; the weight of a corpus is the square root of its size.
    """

    def __init__(self, samples: Sequence[Sample], exclude_methods: Sequence[str] = (), rare_methods: Sequence[str] = ()) -> None:
        self.samples, self.rare_methods = samples, frozenset(rare_methods)
        self.paired = paired_real_clips(samples)
        count: dict[str, int] = {}
        for sample in samples:
            count[sample.corpus] = count.get(sample.corpus, 0) + 1
        weight = np.array([1.0 / np.sqrt(count[s.corpus]) for s in samples])
        excluded = set(exclude_methods)
        indices: dict[tuple[str, str], dict[str, list[int]]] = {(name, kind): {} for name in PASSES for kind in KINDS_BY_PASS[name]}
        for index, sample in enumerate(samples):
            methods = {stream: split_methods(sample.methods[stream]) for stream in STREAMS}
            if excluded & {name for group in methods.values() for name in group} or self.paired[index] is None:
                continue
            fakes = {stream: methods[stream] for stream in STREAMS if sample.fake(stream)}
            if sample.mismatch and not fakes:
                fakes[MISMATCH] = (MISMATCH,)
            for pass_name, kind in indices:
                if pass_name != "both" or (sample.mouth is not None and sample.waveform is not None):
                    for name in fakes.get(kind, ()):
                        indices[pass_name, kind].setdefault(name, []).append(index)
        self.pools = {
            key: {name: (np.array(members), weight[members] / weight[members].sum()) for name, members in sorted(by_method.items())}
            for key, by_method in indices.items()
        }
        self.faces = [i for i, s in enumerate(samples) if s.genuine and s.face is not None and s.face.any()]
        self.speakers = [i for i, s in enumerate(samples) if s.genuine and s.waveform is not None]

    def pair(self, pass_name: str, kind: str, rng: np.random.Generator) -> tuple[Sample, Sample]:
        """A fake of a kind, for a pass, and its paired real clip."""
        methods = self.pools[pass_name, kind]
        chances = np.array([RARE_METHOD_WEIGHT if name in self.rare_methods else 1.0 for name in methods])
        members, weight = methods[str(rng.choice(list(methods), p=chances / chances.sum()))]
        index = int(rng.choice(members, p=weight))
        paired = self.paired[index]
        assert paired is not None
        return self.samples[index], self.samples[paired]

    def kinds(self, pass_name: str) -> list[str]:
        """Kinds of a pass that have samples."""
        return [kind for kind in KINDS_BY_PASS[pass_name] if self.pools[pass_name, kind]]
