"""Planning of a forged set from the facts of its sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from avwitness.generators.forge.plan import MAX_FALLBACKS, MIN_FRAMES, STREAM_SHARES, WINDOW_SHARE, Job, draw_plan
from avwitness.generators.forge.registry import METHOD_SEPARATOR, METHODS, combinable
from avwitness.generators.methods.base import Donor
from avwitness.generators.methods.source import Facts, Origin, Source

WORDS = tuple((0.4 * k, 0.4 * k + 0.24) for k in range(1, 7))  # with pauses between them
FACES = ("self_blend", "mouth_replacement", "face_swap", "lower_face", "face_autoencoder")
VOICES = ("world_copy", "griffin_lim", "lpc", "vocoder")
Plan = Callable[..., list[Job]]


def corpus(people: int = 8, each: int = 6, **given: object) -> tuple[list[Origin], dict[str, Facts]]:
    """Clips of several people, half of them in each split."""
    rng = np.random.default_rng(0)
    clips, known = [], {}
    for person in range(people):
        for number in range(each):
            path = f"p{person}/{number}.mp4"
            clips.append(Origin(path, f"/data/{path}", f"p{person}", "corpus", ("train", "dev")[person % 2], "bin blue"))
            facts = {"length": int(rng.integers(60, 90)), "video": True, "audio": True, "face": True, "words": WORDS} | given
            known[path] = Facts(portrait=rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), **facts)  # type: ignore[arg-type]
    return clips, known


def plan(*methods: str, per_clip: int = 2, genuine: int = 1, seed: int = 0, limit: int | None = None, **given: object) -> list[Job]:
    return draw_plan(*corpus(**given), methods or tuple(METHODS), per_clip, genuine, seed, limit)


def forged(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job.attempts]


def test_methods_of_one_kind_are_used_equally_often() -> None:
    for methods in (FACES, VOICES):
        jobs = forged(plan(*methods, people=20, each=5))
        used = Counter(job.attempts[0].method for job in jobs)
        assert set(used) == set(methods)
        assert len(jobs) == 200
        assert max(used.values()) - min(used.values()) <= 1


def test_every_method_has_its_turn_and_kinds_come_as_often_as_they_should() -> None:
    jobs = forged(plan(people=40, each=10))
    assert set(METHODS) == {name for job in jobs for name in job.attempts[0].method.split(METHOD_SEPARATOR)}
    kinds: Counter[str] = Counter()
    for job in jobs:
        names = job.attempts[0].method.split(METHOD_SEPARATOR)
        assert len(names) == 1 or combinable(*names)
        streams = frozenset().union(*(METHODS[name].streams for name in names))
        kinds["both" if len(streams) == 2 else next(iter(streams), "neither")] += 1
        assert len({frozenset().union(*(METHODS[n].streams for n in a.method.split(METHOD_SEPARATOR))) for a in job.attempts}) == 1
        assert 1 <= len(job.attempts) <= 1 + MAX_FALLBACKS
        assert len({a.method for a in job.attempts}) == len(job.attempts)
    for kind, share in STREAM_SHARES.items():
        assert kinds[kind] / len(jobs) == pytest.approx(share, abs=0.05)


def test_every_source_gives_the_requested_number_of_clips() -> None:
    for per_clip, genuine in ((2, 1), (1, 3), (1, 0)):
        jobs = plan(*FACES, *VOICES, per_clip=per_clip, genuine=genuine)
        count = Counter((job.source.path, bool(job.attempts)) for job in jobs)
        assert len({job.source.path for job in jobs}) == 48
        assert {count[path, True] for path in {job.source.path for job in jobs}} == {per_clip}
        assert {count[path, False] for path in {job.source.path for job in jobs}} == {genuine}


def test_paired_clips_share_window_and_postprocess() -> None:
    jobs = plan(people=4)
    twins = {(job.source.path, job.slot): job for job in jobs if not job.attempts}
    pairs = [(job, twins[job.source.path, job.slot]) for job in forged(jobs) if (job.source.path, job.slot) in twins]
    assert len(pairs) >= 20
    for fake, genuine in pairs:
        assert fake.window == genuine.window
        assert fake.postprocess == genuine.postprocess
        assert fake.name != genuine.name


def test_doors_are_dealt_to_all_kinds_alike() -> None:
    jobs = forged(plan(people=20))
    deals: dict[frozenset[str], list[int]] = {}
    for job in jobs:
        streams = frozenset().union(*(METHODS[name].streams for name in job.attempts[0].method.split("+")))
        deals.setdefault(streams, []).append(job.postprocess_number)
    assert len(deals) >= 3
    for numbers in deals.values():
        assert numbers == list(range(len(numbers)))
    assert len({job.postprocess.seed for job in jobs}) == max(len(numbers) for numbers in deals.values())


def test_a_clip_that_no_method_supports_gives_genuine_clips() -> None:
    jobs = plan(*FACES, per_clip=2, genuine=1, face=False)
    assert not forged(jobs)
    assert set(Counter(job.source.path for job in jobs).values()) == {3}
    assert len({job.name for job in jobs}) == len(jobs)
    assert len({(job.postprocess.seed, job.source.path) for job in jobs}) == 2 * 48


def test_windows_lie_inside_their_clips() -> None:
    known = corpus()[1]
    shares = []
    for job in plan():
        length = known[job.source.path].length
        assert 0 <= job.window.begin <= length - job.window.frames
        shares.append(job.window.frames / length)
    assert min(shares) >= WINDOW_SHARE[0] - 0.01 and max(shares) <= 1.0
    assert np.std(shares) > 0.05


def test_clips_that_are_short_or_could_not_be_followed_are_left_out() -> None:
    assert not plan(length=MIN_FRAMES - 1)
    assert all(job.window.frames == MIN_FRAMES for job in plan(length=MIN_FRAMES))
    clips, known = corpus()
    del known["p0/0.mp4"]
    jobs = draw_plan(clips, known, FACES, 1, 1, 0)
    assert "p0/0.mp4" not in {job.source.path for job in jobs}
    assert "p0/0.mp4" not in {a.donor.path for job in jobs for a in job.attempts if a.donor}


def test_donors_are_of_the_same_split_and_of_the_right_person() -> None:
    seen = set()
    for job in forged(plan(people=10, each=4)):
        for attempt in job.attempts:
            method, donor = METHODS[attempt.method.split(METHOD_SEPARATOR)[0]], attempt.donor
            seen.add(method.donor)
            assert (donor is None) == (method.donor is Donor.none)
            if donor is None:
                continue
            assert donor.split == job.source.split
            assert donor.path != job.source.path
            assert method.donor is not Donor.same or donor.identity == job.source.identity
            assert method.donor is not Donor.other or donor.identity != job.source.identity
    assert seen == set(Donor)


def test_a_single_clip_is_its_own_donor_and_a_single_person_has_no_other_donor() -> None:
    single = forged(plan("word_replace_audio", people=6, each=1))
    assert single
    assert all(job.attempts[0].donor == job.source for job in single)
    assert not forged(plan("face_swap", people=2, each=3))  # one person in either split
    assert forged(plan("face_swap", people=4, each=3))


def test_donors_have_the_streams_that_are_used() -> None:
    clips, known = corpus(people=6, each=8)
    bare = {"face": [c.path for c in clips[::3]], "audio": [c.path for c in clips[1::3]]}
    for stream, paths in bare.items():
        for path in paths:
            known[path] = Facts(**{**vars(known[path]), stream: False, **({"video": False} if stream == "face" else {})})
    for job in forged(draw_plan(clips, known, tuple(METHODS), 3, 0, 0)):
        for attempt in job.attempts:
            name = attempt.method.split(METHOD_SEPARATOR)[0]
            if attempt.donor is None:
                continue
            if "video" in METHODS[name].streams and name.removeprefix("coarse_") != "lower_face_dubbed":
                assert known[attempt.donor.path].face, f"{name}: its donor has no face"
            if "audio" in METHODS[name].streams or name.removeprefix("coarse_") in ("foreign_audio", "lower_face_dubbed", "mfr_net"):
                assert known[attempt.donor.path].audio, f"{name}: its donor has no sound"


def test_the_most_similar_face_is_the_donor() -> None:
    clips, known = corpus(people=6, each=1)
    for number, clip in enumerate(clips):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:16] = 40 + 30 * (number // 2 % 3)
        image[:, : 4 + 10 * (number in (0, 4))] = 200  # the first and the fifth are alike
        known[clip.path] = Facts(**{**vars(known[clip.path]), "portrait": image})
    jobs = forged(draw_plan(clips, known, ("face_swap",), 1, 0, 0))
    chosen = {job.source.path: job.attempts[0].donor for job in jobs}
    assert chosen["p0/0.mp4"] == clips[4]
    assert chosen["p4/0.mp4"] == clips[0]


@pytest.mark.parametrize("limit", [1, 2, 7, 20])
def test_a_limit_is_kept(limit: int) -> None:
    jobs = plan(*FACES, *VOICES, limit=limit)
    assert limit - 1 <= len(jobs) <= limit
    assert jobs, "one clip was asked for"
    assert jobs == plan(*FACES, *VOICES)[: len(jobs)]


def test_the_seed_determines_the_result() -> None:
    first, again, other = plan(seed=1), plan(seed=1), plan(seed=2)
    assert first == again
    assert {job.name for job in first}.isdisjoint(job.name for job in other)
    assert [job.source for job in first] != [job.source for job in other]


def test_names_are_unique_and_do_not_reveal_the_label() -> None:
    jobs = plan(people=30, each=10)
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(re.fullmatch("[0-9a-f]{16}", job.name) for job in jobs)
    fake = np.array([bool(job.attempts) for job in sorted(jobs, key=lambda job: job.name)])
    digits = np.array([[int(c, 16) for c in sorted(jobs, key=lambda job: job.name)[i].name] for i in range(len(jobs))])
    assert max(abs(np.corrcoef(digits[:, k], fake)[0, 1]) for k in range(16)) < 0.15
    assert abs(np.corrcoef(np.arange(len(fake)), fake)[0, 1]) < 0.15


def test_windows_stay_full_after_deleted_words() -> None:
    clips, known = corpus(people=10, each=4)
    jobs = forged(draw_plan(clips, known, ("word_delete_both",), 2, 0, 0))
    assert len(jobs) > 10
    for job in jobs:
        length = known[job.source.path].length
        frames = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None, None], (length, 2, 2, 3))
        source = Source(job.source.path, job.source.identity, frames, np.ones(640 * length, np.float32), words=WORDS)
        made = METHODS["word_delete_both"].forge(source, source, job.window, job.rng("word_delete_both"))
        assert made.frames is not None and made.waveform is not None
        assert len(made.frames) == job.window.frames
        assert len(made.waveform) == 640 * job.window.frames
        shown = made.frames[:, 0, 0, 0].astype(int)
        after = length - job.window.begin - job.window.frames
        lost = int(np.diff(shown).max()) - 1  # frames that were cut out, in one piece
        assert lost > 0 and np.count_nonzero(np.diff(shown) != 1) == 1
        # What was lost is made up for with what follows the window, and then with what comes before it.
        assert shown[-1] == job.window.begin + job.window.frames - 1 + min(lost, after)
        assert shown[0] == job.window.begin - max(0, lost - after)
