from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.detector.verdict import (
    QUALITY_FLAGS,
    SCHEMA_VERSION,
    Face,
    ModelInfo,
    Segment,
    StreamVerdict,
    Sync,
    Verdict,
    error_verdict,
    schema,
)

probability = st.none() | st.floats(0, 1)
streams = st.builds(StreamVerdict, st.booleans(), probability, st.sampled_from(["genuine", "fake", "inconclusive", None]))
seconds = st.floats(0, 1e4)
verdicts = st.builds(
    Verdict,
    path=st.text(min_size=1),
    status=st.sampled_from(["ok", "inconclusive"]),
    verdict=st.sampled_from(["genuine", "fake", "inconclusive"]),
    sha256=st.none() | st.just("0" * 64),
    duration=seconds,
    p_fake=probability,
    audio=streams,
    video=streams,
    sync=st.builds(Sync, st.none() | st.floats(-600, 600), probability),
    timeline=st.lists(st.builds(Segment, seconds, seconds, probability, probability), max_size=3).map(tuple),
    faces=st.lists(
        st.builds(Face, st.text(), st.booleans(), seconds, seconds, st.floats(0, 1), st.tuples(*[st.floats(0, 1)] * 4)), max_size=2
    ).map(tuple),
    quality=st.lists(st.sampled_from(sorted(QUALITY_FLAGS)), unique=True).map(tuple),
    model=st.none() | st.just(ModelInfo("small", "1", "0")),
)


@pytest.mark.slow
@given(verdicts)
def test_every_verdict_matches_the_schema_and_survives_json(verdict: Verdict) -> None:
    jsonschema.validate(verdict.to_dict(), schema())
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_errors_match_the_schema_and_carry_no_number() -> None:
    verdict = error_verdict("a.mp4", "MediaError", "a.mp4: is empty")
    jsonschema.validate(verdict.to_dict(), schema())
    assert verdict.p_fake is None


def test_the_schema_refuses_invalid_verdicts() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    good = error_verdict("a.mp4", "MediaError", "a.mp4: is empty").to_dict()
    for change in ({"status": "fine"}, {"p_fake": 2}, {"error": None}, {"extra": 1}, {"quality": ["unheard_of"]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, **change}, schema())


def test_schema_and_flags_agree() -> None:
    assert set(schema()["properties"]["quality"]["items"]["enum"]) == set(QUALITY_FLAGS)


def test_older_versions_can_be_read() -> None:
    new = Verdict("a.mp4", "ok", "inconclusive", quality=("no_audio_stream", "video_not_validated", "audio_not_validated"))
    old = new.to_dict() | {"schema_version": "1.1", "quality": ["no_audio_stream", "video_unproven", "audio_unproven"]}
    assert Verdict.from_dict(old) == new
    oldest = old | {"schema_version": "1.0", "sync": {"offset_ms": None, "p_mismatch": None}}
    assert Verdict.from_dict(oldest) == new
    jsonschema.validate(Verdict.from_dict(oldest).to_dict(), schema())
    assert SCHEMA_VERSION == schema()["properties"]["schema_version"]["const"] == "1.3"
