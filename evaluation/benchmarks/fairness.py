"""Whether a detector serves groups of people alike: figures by group at one threshold for everybody, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.bootstrap import LEAST_IDENTITIES, named_units, wilson
from ..metrics.bootstrap_curves import draws, intervals, ordered, ranked_figures
from ..metrics.classification import EVEN, threshold_at
from ..metrics.ranking import Interval
from .score_file import TARGETS

ATTRIBUTES = ("gender", "ethnicity", "age", "language")
CROSSED = ("gender", "ethnicity")  # whose combinations are groups, too
TIMES = " x "  # between the names of a combination
RATE = 0.05  # share of all genuine clips above the shared threshold
LEAST = 10  # scored clips of a class, below which a group has no part in a gap
LEAST_PEOPLE = 2  # that those clips must be of
STEPS = 200  # levels of score that the rounds tell apart in an AUC
BLOCK = 100  # rounds held in memory at once
FIGURES = {  # and the classes that each is of: 0 genuine, 1 fake
    "auc": (0, 1),
    "false_alarms_even": (0,),
    "found_even": (1,),
    "false_alarms_shared": (0,),
    "found_shared": (1,),
}


def fairness(rows: pd.DataFrame, rounds: int, seed: int) -> list[dict[str, Any]]:
    """Figures of every group of people, and how far apart the groups are.

    Parameters
    ----------
    rows : pandas.DataFrame
        One fold, as :func:`avwitness.evaluation.benchmarks.evaluate.labelled` makes it: ``identity``, ``source_clip``, labels and scores
        of video, audio and the whole file, and :data:`ATTRIBUTES`, empty where they are not known.
    rounds : int
        Of the bootstrap, and of the permutations; at least 1.
    seed : int

    Returns
    -------
    list of dict
        Plain JSON values. One for each target that has labels and each attribute, the combinations of :data:`CROSSED` included:

        ``stream``, ``attribute``
            What is judged, and what people are told apart by.
        ``clips``, ``unknown``
            Clips with a label, and how many of them say nothing of the attribute. Those are no group.
        ``names``
            Of the groups that these clips are of.
        ``threshold``
            The shared one: a clip above it is called fake. No more of *all* genuine clips of the target lie above it than 5 %, the unknown
            ones included; ``None`` where none was scored. It stays the same in all rounds, as it does in use.
        ``units``
            What the bootstrap draws: identities, or source clips.
        ``groups``
            Where at least two groups have scored clips, a dict for each: ``group``; ``fakes`` and ``genuine``, clips with a label;
            ``people``, known identities; ``coverage``, the share that was scored; and :data:`FIGURES` as ``[value, low, high]``.
        ``gaps``
            By figure, where two groups have enough clips: ``gap`` as ``[value, low, high]``, ``highest`` and ``lowest`` group,
            ``chance`` and ``p``.

    Notes
    -----
    ``false_alarms`` and ``found`` are the shares of genuine and of fake clips that are called fake, at 0.5 (``even``) and at the shared
    threshold. Only scored clips count.

    Intervals hold 95 % and are percentiles of one bootstrap of all units together. Where fewer than 5 units of a class stand behind a
    group's figure, its clips count as independent instead (Wilson's interval for a share, resampled clips for an AUC); such an interval
    says nothing of other people. A share of 0 or 1, which no bootstrap can move, has Wilson's interval over units, as if each had one clip.

    A gap is the largest figure minus the smallest among the groups that have at least 10 scored clips of the class in question (of both
    classes for an AUC) from at least 2 people. Its interval is that of the difference between the two groups that are the extremes in
    the data, so it may reach below zero. They were picked for being extreme: where more than two groups are equal, it leaves out zero
    far more often than 5 % of the time. Go by ``p`` there.

    The gap itself is biased upwards, the more so the smaller and the more numerous the groups: Lum, Zhang and Bower, *De-biasing "bias"
    measurement*, FAccT 2022. Hence ``chance``, the mean gap where the names of the groups are dealt anew to people, and ``p``, the share
    of such deals (the true one counts as one of them) whose gap is at least as large: Phipson and Smyth, *Permutation p-values should
    never be zero*, Statistical Applications in Genetics and Molecular Biology 9, 2010. A person in several groups, such as languages,
    is dealt once for each, which makes ``chance`` and ``p`` larger rather than smaller. What is tested is that groups have nothing to
    do with scores, which says more than that their figures are equal: DiCiccio et al., *Evaluating fairness using permutation tests*,
    KDD 2020.

    In the rounds, though not in the figures themselves, an AUC is of at most 200 levels of score that hold equally many clips.
    """
    attributes = _attributes(rows)
    found = []
    for stream, column in TARGETS.items():
        labels = rows[f"{stream}_label"].to_numpy(dtype=float)
        asked = ~np.isnan(labels)
        if asked.any():
            target = _target(rows[asked], labels[asked] == 1, rows[column].to_numpy(dtype=float)[asked])
            for name, values in attributes.items():
                found.append({"stream": stream, "attribute": name, **_by(target, values[asked], rounds, seed)})
    return found


def _attributes(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Group of every clip as text, empty where it is not known, by attribute."""
    found = {name: rows[name].to_numpy(dtype=object) for name in ATTRIBUTES}
    first, second = (found[name] for name in CROSSED)
    return found | {TIMES.join(CROSSED): np.where((first != "") & (second != ""), first + TIMES + second, "")}


@dataclass(frozen=True)
class _Target:
    """What was asked of one target: arrays [N] of the clips that have a label, arrays [M] of those that were scored, too.

    Parameters
    ----------
    labels, scored : bool [N]
        Whether fake; whether scored.
    identities : int [N]
        -1 where unknown.
    fake : int [M]
    scores : float [M]
    units, people : int [M]
        What the bootstrap draws, and what groups are dealt to: identities, or source clips of nobody known.
    drawn : str
        What the units are.
    steps : int [M]
        Level of the score, rising; there are ``levels``.
    cuts : dict of str to int
        First level that is called fake, by threshold.
    threshold : float or None
        The shared one.
    """

    labels: np.ndarray
    scored: np.ndarray
    identities: np.ndarray
    fake: np.ndarray
    scores: np.ndarray
    units: np.ndarray
    people: np.ndarray
    drawn: str
    steps: np.ndarray
    levels: int
    cuts: dict[str, int]
    threshold: float | None


def _target(part: pd.DataFrame, labels: np.ndarray, scores: np.ndarray) -> _Target:
    scored = ~np.isnan(scores)
    identity, source = part["identity"].to_numpy(dtype=str), part["source_clip"].to_numpy(dtype=str)
    identities = _codes(identity)[0]
    sources = pd.factorize(source)[0]
    units, drawn = named_units(identity[scored], source[scored])
    fake, scores = labels[scored], scores[scored]
    threshold = threshold_at(scores[~fake], RATE) if (~fake).any() else None
    # Called fake is what is above the shared threshold, and what is at least the even one.
    bounds = {"even": EVEN} | ({} if threshold is None else {"shared": float(np.nextafter(threshold, np.inf))})
    edges = np.union1d(_levels(scores), list(bounds.values()))
    return _Target(
        labels=labels,
        scored=scored,
        identities=identities,
        fake=fake.astype(int),
        scores=scores,
        units=pd.factorize(units)[0],
        people=np.where(identities >= 0, identities, len(labels) + sources)[scored],
        drawn=drawn,
        steps=np.searchsorted(edges, scores, side="right"),
        levels=len(edges) + 1,
        cuts={name: int(np.searchsorted(edges, bound)) + 1 for name, bound in bounds.items()},
        threshold=threshold,
    )


def _codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Text as numbers in its order, -1 where it is empty, and the names of the numbers."""
    codes, names = pd.factorize(values, sort=True)
    blank = int(len(names) > 0 and names[0] == "")  # nothing comes before it
    return codes - blank, names[blank:]


def _levels(scores: np.ndarray) -> np.ndarray:
    """All scores there are; where those are many, the ones that divide the clips evenly."""
    different = np.unique(scores)
    if len(different) <= STEPS:
        return different
    return np.unique(np.quantile(scores, np.linspace(0.0, 1.0, STEPS), method="inverted_cdf"))


def _by(target: _Target, values: np.ndarray, rounds: int, seed: int) -> dict[str, Any]:
    """All there is to say of one target and one attribute, whose values [N] are text."""
    codes, names = _codes(values)
    found: dict[str, Any] = {
        "clips": len(codes),
        "unknown": int((codes < 0).sum()),
        "names": [str(name) for name in names],
        "threshold": target.threshold,
        "units": target.drawn,
        "groups": [],
        "gaps": {},
    }
    clips = _grouped(target, codes[target.scored], len(names))
    if len(np.unique(clips.groups)) < 2:
        return found
    value, drawn = _values(clips), _drawn(clips, rounds, seed)
    spans = _spans(clips, value, drawn, rounds, seed)
    for code, name in enumerate(found["names"]):
        figures = {figure: spans[figure][code] for figure in FIGURES}
        found["groups"].append({"group": name, **_counts(target, codes == code), **figures})
    for figure, gap in _gaps(clips, value, drawn, rounds, seed).items():
        found["gaps"][figure] = gap | {end: found["names"][gap[end]] for end in ("highest", "lowest")}
    return found


def _counts(target: _Target, inside: np.ndarray) -> dict[str, Any]:
    fake, identities = target.labels[inside], target.identities[inside]
    return {
        "fakes": int(fake.sum()),
        "genuine": int((~fake).sum()),
        "people": len(np.unique(identities[identities >= 0])),
        "coverage": float(target.scored[inside].mean()),
    }


@dataclass(frozen=True)
class _Clips:
    """Scored clips [K] whose group is known, in numbers from 0; see :class:`_Target`.

    Parameters
    ----------
    number : int
        Of groups, G; some may have no clip.
    """

    groups: np.ndarray
    number: int
    fake: np.ndarray
    scores: np.ndarray
    units: np.ndarray
    people: np.ndarray
    steps: np.ndarray
    levels: int
    cuts: dict[str, int]

    @property
    def places(self) -> np.ndarray:
        """Class and level as one number [K]."""
        return self.fake * self.levels + self.steps

    @property
    def count(self) -> np.ndarray:
        """Clips by group and class, int [G, 2]."""
        return np.bincount(self.groups * 2 + self.fake, minlength=self.number * 2).reshape(-1, 2)

    def behind(self, owners: np.ndarray) -> np.ndarray:
        """How many different owners (units, people) the clips have, by group and class, int [G, 2]."""
        pairs = np.unique((self.groups * 2 + self.fake) * (owners.max(initial=0) + 1) + owners)
        return np.bincount(pairs // (owners.max(initial=0) + 1), minlength=self.number * 2).reshape(-1, 2)


def _grouped(target: _Target, groups: np.ndarray, number: int) -> _Clips:
    known = groups >= 0
    return _Clips(
        groups=groups[known],
        number=number,
        fake=target.fake[known],
        scores=target.scores[known],
        units=pd.factorize(target.units[known])[0],
        people=pd.factorize(target.people[known])[0],
        steps=target.steps[known],
        levels=target.levels,
        cuts=target.cuts,
    )


def _figures(tally: np.ndarray, cuts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """:data:`FIGURES` by group and round, [G, R], of how many clips there are by group, class, level and round, [G, 2, L, R]."""
    genuine, fakes = tally[:, 0], tally[:, 1]
    all_genuine, all_fakes = genuine.sum(axis=1), fakes.sum(axis=1)
    below = np.cumsum(genuine, axis=1) - genuine / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"auc": (fakes * below).sum(axis=1) / (all_fakes * all_genuine)}
        for name, cut in cuts.items():
            found[f"false_alarms_{name}"] = genuine[:, cut:].sum(axis=1) / all_genuine
            found[f"found_{name}"] = fakes[:, cut:].sum(axis=1) / all_fakes
    return {name: found.get(name, np.full(found["auc"].shape, np.nan)) for name in FIGURES}


def _values(clips: _Clips) -> dict[str, np.ndarray]:
    """:data:`FIGURES` by group, [G]."""
    places = clips.groups * 2 * clips.levels + clips.places
    tally = np.bincount(places, minlength=clips.number * 2 * clips.levels).reshape(clips.number, 2, clips.levels, 1)
    value = {name: figure[:, 0] for name, figure in _figures(tally, clips.cuts).items()}
    for code in np.unique(clips.groups):
        own = clips.groups == code
        value["auc"][code] = ranked_figures(ordered(clips.scores[own], clips.fake[own], clips.units[own]))["auc"]
    return value


def _drawn(clips: _Clips, rounds: int, seed: int) -> dict[str, np.ndarray]:
    """:data:`FIGURES` by group and round, [G, R], where units are drawn with replacement; NaN where nothing of a group is drawn."""
    from scipy.sparse import csr_array

    units = int(clips.units.max()) + 1
    places = clips.groups * 2 * clips.levels + clips.places
    by_unit = csr_array((np.ones(len(places)), (places, clips.units)), shape=(clips.number * 2 * clips.levels, units))
    weights, blocks = draws(units, rounds, seed), []
    while block := list(islice(weights, BLOCK)):
        tally = by_unit @ np.stack(block, axis=1)
        blocks.append(_figures(tally.reshape(clips.number, 2, clips.levels, -1), clips.cuts))
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in FIGURES}


def _spans(clips: _Clips, value: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], rounds: int, seed: int) -> dict[str, list]:
    """``[value, low, high]`` of every figure and group."""
    units, count = clips.behind(clips.units), clips.count
    found: dict[str, list] = {}
    for name, classes in FIGURES.items():
        found[name] = []
        for code, share in enumerate(value[name]):
            behind, number = int(units[code, classes].min()), int(count[code, classes].min())
            if np.isnan(share):
                span = Interval(share, np.nan, np.nan)
            elif name == "auc" and behind < LEAST_IDENTITIES:
                own = np.flatnonzero(clips.groups == code)
                span = intervals(ordered(clips.scores[own], clips.fake[own], own), rounds, seed)["auc"]
            elif name != "auc" and behind < LEAST_IDENTITIES:
                span = wilson(round(share * number), number)
            elif name != "auc" and share in (0.0, 1.0):
                span = wilson(round(share * behind), behind)
            else:
                span = Interval(share, *_ends(drawn[name][code]))
            found[name].append(_plain(span))
    return found


def _gaps(clips: _Clips, value: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], rounds: int, seed: int) -> dict[str, Any]:
    """Gap by figure; the extreme groups in numbers."""
    enough = (clips.count >= LEAST) & (clips.behind(clips.people) >= LEAST_PEOPLE)
    dealt = _dealt(clips, rounds, seed)
    found = {}
    for name, classes in FIGURES.items():
        able = np.flatnonzero(enough[:, classes].all(axis=1) & ~np.isnan(value[name]))
        if len(able) > 1:
            rising = able[np.argsort(value[name][able], kind="stable")]
            lowest, highest = int(rising[0]), int(rising[-1])
            span = Interval(value[name][highest] - value[name][lowest], *_ends(drawn[name][highest] - drawn[name][lowest]))
            chance = dealt[name][1:][~np.isnan(dealt[name][1:])]
            large = (chance >= dealt[name][0] - 1e-9).sum()
            found[name] = {
                "gap": _plain(span),
                "highest": highest,
                "lowest": lowest,
                "chance": float(chance.mean()) if len(chance) else None,
                "p": float((1 + large) / (1 + len(chance))),
            }
    return found


def _dealt(clips: _Clips, rounds: int, seed: int) -> dict[str, np.ndarray]:
    """Gap by figure and round, [1 + R], where groups are dealt anew to people; the first is that of the true groups.

    A round has the same rule on which groups take part; NaN where fewer than two do.
    """
    from scipy.sparse import csr_array

    members, member = np.unique(clips.people * clips.number + clips.groups, return_inverse=True)  # a person in a group
    own = members % clips.number
    pairs = np.unique(clips.fake * len(members) + member)  # of a class and a member that has clips of it
    rows = np.concatenate([clips.places, 2 * clips.levels + pairs // len(members)])  # clips, and below them members, by class
    columns = np.concatenate([member, pairs % len(members)])
    by_member = csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(2 * clips.levels + 2, len(members)))
    blocks = []
    for groups in _shuffles(own, rounds, seed):
        tally = np.stack([by_member @ (groups == code).astype(np.float32) for code in range(clips.number)])
        by_level, people = tally[:, :-2].reshape(clips.number, 2, clips.levels, -1).astype(float), tally[:, -2:]
        enough = (by_level.sum(axis=2) >= LEAST) & (people >= LEAST_PEOPLE)
        figures = _figures(by_level, clips.cuts)
        blocks.append({name: _spread(figures[name], enough[:, classes].all(axis=1)) for name, classes in FIGURES.items()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in FIGURES}


def _shuffles(groups: np.ndarray, rounds: int, seed: int) -> Iterator[np.ndarray]:
    """Groups [P] as they are, then ``rounds`` times in another order; [P, at most BLOCK] at a time."""
    rng = np.random.default_rng(seed)
    small = groups.astype(np.int16)
    yield small[:, None]
    for begin in range(0, rounds, BLOCK):
        rows = np.tile(small, (min(BLOCK, rounds - begin), 1))
        yield np.ascontiguousarray(rng.permuted(rows, axis=1).T)


def _spread(figures: np.ndarray, able: np.ndarray) -> np.ndarray:
    """Largest minus smallest figure [R] of the groups [G, R] that are able; NaN where those are fewer than two."""
    able = able & ~np.isnan(figures)
    two = able.sum(axis=0) > 1
    largest, smallest = np.where(able, figures, -np.inf).max(axis=0), np.where(able, figures, np.inf).min(axis=0)
    return np.where(two, np.where(two, largest, 0.0) - np.where(two, smallest, 0.0), np.nan)


def _ends(values: np.ndarray) -> tuple[float, float]:
    told = values[~np.isnan(values)]
    low, high = np.quantile(told, (0.025, 0.975)) if len(told) else (np.nan, np.nan)
    return float(low), float(high)


def _plain(interval: Interval) -> list[float | None]:
    """An interval as JSON has it."""
    return [None if np.isnan(x) else float(x) for x in (interval.value, interval.low, interval.high)]
