"""Untrusted files: nothing else is opened, crashes and limits become sentences, and children are used again."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from makers import noise_frames

from avwitness.media.clip import MAX_GAP, SAMPLE_RATE, Damage, MediaError
from avwitness.media.decode import stream_frames, stream_samples
from avwitness.media.encode import write_media
from avwitness.media.probe import probe
from avwitness.media.sandbox import client
from avwitness.media.sandbox.decoders import _decoded
from avwitness.media.windows import MediaReader, read_clip

IN_OPEN = 0x20


@contextmanager
def opened_files(folder: Path) -> Iterator[list[str]]:
    """Names of the files of a folder that any process opens meanwhile (inotify)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        pytest.skip("needs inotify")
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_OPEN) >= 0
    names: list[str] = []
    try:
        yield names
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            data = b""
        while data:
            size = struct.unpack_from("iIII", data)[3]
            names.append(data[16 : 16 + size].rstrip(b"\0").decode())
            data = data[16 + size :]
    finally:
        os.close(descriptor)


def decode_all(file: Path) -> None:
    media = MediaReader(file)
    for _ in media.windows():
        pass
    media.check()


LISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{victim}\n#EXT-X-ENDLIST\n",
    "hidden.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{victim}\n#EXT-X-ENDLIST\n",
    "joined.mp4": "ffconcat version 1.0\nfile '{victim}'\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet><Representation '
    'id="1" bandwidth="1"><BaseURL>{victim}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "list%03d.png": "not an image",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_files_are_refused_and_nothing_else_is_opened(tmp_path: Path, name: str) -> None:
    victims = tmp_path / "victims"
    victims.mkdir()
    victim = write_media(victims / "victim.ts", noise_frames(25))
    (tmp_path / "list001.png").write_bytes(b"\x89PNG\r\n")
    file = tmp_path / name
    file.write_text(LISTS[name].format(victim=victim))
    with opened_files(victims) as names, opened_files(tmp_path) as beside, pytest.raises(MediaError) as caught:
        decode_all(file)
    assert names == []
    assert set(beside) <= {name}
    assert "is not a media file" in caught.value.cause


def wav(file: Path, channels: int, samples: np.ndarray) -> Path:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file


@pytest.mark.parametrize("channels", [2, 6, 7, 8, 9, 16, 28, 64])
def test_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    tone = 0.5 * np.sin(np.arange(SAMPLE_RATE) / 20.0)
    clip = read_clip(wav(tmp_path / "many.wav", channels, np.repeat(tone[:, None], channels, axis=1)))
    assert clip.waveform is not None
    assert np.allclose(clip.waveform, tone, atol=2e-3)


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("mkv", "aac")])
def test_seven_one(tmp_path: Path, container: str, codec: str) -> None:
    file = tmp_path / f"surround.{container}"
    tone = (0.5 * np.sin(np.arange(SAMPLE_RATE) / 20.0)).astype(np.float32)
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="7.1")
        form = stream.codec_context.format.name
        for begin in range(0, SAMPLE_RATE - 1023, 1024):
            part = np.repeat(tone[None, begin : begin + 1024], 8, axis=0)
            # Eight planes cannot be filled from an array; packed samples can, and FFmpeg converts them.
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part.T).reshape(1, -1), format="flt", layout="7.1")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
            for piece in av.AudioResampler(format=form, layout="7.1", rate=SAMPLE_RATE).resample(frame):
                out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    clip = read_clip(file)
    assert clip.waveform is not None
    assert np.abs(clip.waveform).max() == pytest.approx(0.5, abs=0.1)


def timed(file: Path, video_times: list[float], audio_times: list[float]) -> Path:
    """A file whose frames, and blocks of audio, have these timestamps."""
    clock = Fraction(1, 90_000)
    with av.open(str(file), "w") as out:
        video = out.add_stream("libx264", rate=25) if video_times else None
        audio = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if audio_times else None
        if video is not None:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = clock
            for moment, image in zip(video_times, noise_frames(len(video_times), 64), strict=True):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = round(moment / clock), clock
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        if audio is not None:
            for moment in audio_times:
                block = av.AudioFrame.from_ndarray(np.full((1, 1024), 0.1, np.float32), format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, round(moment * SAMPLE_RATE), Fraction(1, SAMPLE_RATE)
                out.mux(audio.encode(block))
            out.mux(audio.encode(None))
    return file


STEADY = [index / 25 for index in range(25)]
BLOCKS = [index * 1024 / SAMPLE_RATE for index in range(15)]
CLOCKS = {
    "a wall clock": (STEADY, [1.7e6 + moment for moment in BLOCKS]),
    "late audio": (STEADY, [36_000.0 + moment for moment in BLOCKS]),
    "a jump in the video": ([*STEADY, *(72_000.0 + moment for moment in STEADY)], []),
    "a jump in the audio": ([], [*BLOCKS, *(72_000.0 + moment for moment in BLOCKS)]),
    "one frame in half an hour": ([1800.0 * index for index in range(20)], []),
}


@pytest.mark.parametrize("kind", CLOCKS)
def test_gaps_of_the_clock_end_at_a_cap(tmp_path: Path, kind: str) -> None:
    file = timed(tmp_path / "clock.mkv", *CLOCKS[kind])
    begin = time.monotonic()
    with pytest.raises(MediaError, match="gap"):
        decode_all(file)
    assert time.monotonic() - begin < 20.0


def test_short_gaps_are_bridged(tmp_path: Path) -> None:
    late = MAX_GAP / 2
    clip = read_clip(timed(tmp_path / "late.mkv", STEADY, [late + moment for moment in BLOCKS]))
    assert clip.waveform is not None
    assert np.flatnonzero(np.abs(clip.waveform) > 0.01)[0] / SAMPLE_RATE == pytest.approx(late, abs=0.1)
    assert max(map(len, stream_samples(probe(tmp_path / "late.mkv"), Damage()))) <= 2 * SAMPLE_RATE


def test_the_length_that_is_decoded_is_bounded(tmp_path: Path) -> None:
    file = write_media(tmp_path / "long.mkv", noise_frames(200, 64), np.zeros(8 * SAMPLE_RATE, np.float32))
    for options in ({"video": False}, {"audio": False}):
        with pytest.raises(MediaError, match="longer than 5 s"):
            list(MediaReader(file, max_seconds=5.0, **options).windows())
    list(MediaReader(file, max_seconds=9.0).windows())


def test_a_killed_child_is_a_sentence_and_the_next_file_is_read(tmp_path: Path) -> None:
    file = write_media(tmp_path / "clip.mkv", noise_frames(600, 320))
    info = probe(file)
    for number, cause in ((signal.SIGSEGV, "crashes the decoder"), (signal.SIGKILL, "was killed"), (signal.SIGXCPU, "processor time")):
        client.stop_children()
        child = client._acquire()
        client._release(child)
        frames = stream_frames(info, Damage())
        next(frames)
        os.kill(child.process.pid, number)
        with pytest.raises(MediaError, match=cause):
            list(frames)
    assert len(list(stream_frames(info, Damage()))) == 600


def test_children_are_used_again(tmp_path: Path) -> None:
    file = write_media(tmp_path / "clip.mkv", noise_frames(300, 256), np.zeros(12 * SAMPLE_RATE, np.float32))
    client.stop_children()
    for _ in range(3):
        next(MediaReader(file).windows(1.0, 1.0))  # given up early
        decode_all(file)
    assert 1 <= len(client._idle) <= 2


def test_a_forked_process_starts_its_own_children(talk_file: Path) -> None:
    decode_all(talk_file)
    forked = os.fork()
    if not forked:
        code = 1
        try:
            decode_all(talk_file)
            code = 0
        finally:
            client.stop_children()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    decode_all(talk_file)


def test_memory_is_limited() -> None:
    child = client._acquire()
    client._release(child)
    limits = Path(f"/proc/{child.process.pid}/limits")
    if not limits.is_file():
        pytest.skip("needs /proc")
    space = next(line for line in limits.read_text().splitlines() if line.startswith("Max address space"))
    assert space.split()[3] == str(4 << 30)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300 + ".mp4", "\udcff.mp4"])
def test_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError):
        probe(f"{tmp_path}/{name}")


def test_unknown_codecs_are_named(tmp_path: Path) -> None:
    file = write_media(tmp_path / "clip.mkv", noise_frames(25, 64))
    file.write_bytes(file.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NOSUCH/CODEC1"))
    with pytest.raises(MediaError, match="neither"):
        probe(file)


def test_an_animated_webp_is_read_or_named(tmp_path: Path) -> None:
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(16)
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0, 63, 0, 0, 63, 0, 0]) + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame
    file = tmp_path / "moving.webp"
    file.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(MediaError) as caught:
        decode_all(file)
    assert "\n" not in str(caught.value)


class WithEmptyPackets:
    """A container that inserts an empty packet behind every tenth one, as Ogg does where Theora repeats a frame."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def demux(self, stream: Any) -> Iterator[Any]:
        for index, packet in enumerate(self.container.demux(stream)):
            yield packet
            if index % 10 == 9 and packet.size:
                empty = av.Packet()
                empty.stream, empty.pts, empty.dts = packet.stream, packet.pts, packet.dts
                yield empty


def test_empty_packets_are_no_damage_and_no_end(tmp_path: Path) -> None:
    file, damage = write_media(tmp_path / "clip.mkv", noise_frames(60, 64)), Damage()
    with av.open(str(file)) as container:
        frames = list(_decoded(WithEmptyPackets(container), container.streams.video[0], damage))
    assert (len(frames), damage.packets, damage.broken) == (60, 60, 0)


def test_a_few_bytes_are_not_hours_of_sound(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setparams((1, 2, 2, 0, "NONE", ""))  # two samples a second
        file.writeframes(bytes(48_000))
    with pytest.raises(MediaError, match="a sample rate of 2 Hz cannot be used"):
        probe(tmp_path / "slow.wav")


def test_threads_of_the_decoder_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoder threads that log a damaged frame once waited for Python's global lock, and the main thread for them."""
    file = tmp_path / "a.flac"
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, 8 * 2 * 48_000)).astype(np.int16)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("flac", rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="7.1")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(file.read_bytes())
    for place in range(len(data) // 2, len(data), 20_000):
        data[place : place + 100] = bytes(100)
    file.write_bytes(data)
    monkeypatch.setattr(client, "STALL", 20.0)
    client.stop_children()
    for _ in range(200):
        with pytest.raises(MediaError, match=r"could not be decoded|corrupt|truncated"):
            decode_all(file)
    client.stop_children()
