from __future__ import annotations

from pathlib import Path

import av
import pytest
from audited import collection, late, voice
from makers import noise_frames

from avwitness.datasets.manifest import read_labels
from avwitness.evaluation.auditing.audit import NothingToAudit, audit
from avwitness.evaluation.auditing.file_statistics import TAGS
from avwitness.media.encode import write_media


def leaks(manifest: Path) -> dict[str, set[str]]:
    result = audit(read_labels(manifest))
    assert not result.unreadable
    return {stream.stream: set(stream.leaks) for stream in result.streams}


@pytest.mark.slow
def test_a_clean_set_passes(clean: Path) -> None:
    assert leaks(clean) == {"audio": set()}


@pytest.mark.slow
def test_leading_silence_is_caught(tmp_path: Path) -> None:
    found = leaks(collection(tmp_path, late, video=False, audio=True))["audio"]
    # The silence also shifts the audio relative to the 400-ms blocks of the loudness.
    assert "leading silence" in found
    assert found <= {"leading silence", "loudness"}


@pytest.mark.slow
def test_a_lower_bit_rate_is_caught(tmp_path: Path) -> None:
    def thrifty(stem: Path, clip: int, label: int) -> Path:
        return write_media(stem.with_suffix(".m4a"), waveform=voice(clip, 0.0), audio_bit_rate=32_000 if label else 64_000)

    # A lower bit rate may also change the spectrum, and no other statistic.
    found = leaks(collection(tmp_path, thrifty, video=False, audio=True))["audio"]
    assert "bit rate" in found
    assert found <= {"bit rate", "bandwidth", "spectral slope"}


@pytest.mark.slow
def test_an_encoder_tag_is_caught(tmp_path: Path) -> None:
    def signed(stem: Path, clip: int, label: int) -> Path:
        whole = write_media(stem.with_suffix(".whole.mp4"), noise_frames(10, side=64, seed=clip), voice(clip, 0.02))
        target = stem.with_suffix(".mp4")
        with av.open(str(whole)) as source, av.open(str(target), "w") as copy:
            streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
            streams[0].metadata["handler_name"] = "Forgery" if label else "VideoHandler"
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
        return target

    assert leaks(collection(tmp_path, signed, video=True, audio=True)) == {"audio": set(), "video": {TAGS}}


def test_a_single_class_is_refused(clean: Path) -> None:
    table = read_labels(clean)
    with pytest.raises(NothingToAudit, match="both genuine"):
        audit(table[table.audio_label == 0].head(2))
