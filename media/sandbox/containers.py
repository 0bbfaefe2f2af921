"""Opening of one media file by its descriptor, with an allow-list of container formats."""

from __future__ import annotations

import os
import stat
from typing import Any

import av
from av.stream import Disposition

from ..clip import MediaError

# Messages of libav would appear in the middle of a table; errors reach the caller as exceptions. PyAV's own log callback must not be in
# use: it takes Python's global lock in the decoder's threads, which the main thread holds while it waits for them (seen with damaged FLAC).
av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)

#: Names of FFmpeg's demuxers that read one file and no other. Playlists, manifests, patterns and devices are not among them
#: (hls, concat, dash, sdp, rtsp, imf, image2, webm_dash_manifest, lavfi, ...).
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,live_flv,ogg,nut,rm,ivr,mxf,gxf,wtv,nsv,dv,swf,ivf,obu,"
    "h261,h263,h264,hevc,vvc,av1,vc1,mjpeg,yuv4mpegpipe,wav,w64,aiff,caf,flac,mp3,aac,loas,amr,amrnb,amrwb,ac3,eac3,dts,dtshd,truehd,mlp,"
    "au,ape,tta,wv,mpc,mpc8,tak,voc,dsf,ircam,sox,nistsphere,gsm,aptx,shn,oma,qcp,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
PLAYLISTS = (  # first bytes of files that name other files, and what they are
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "a list of files to be joined (ffconcat)"),
    (b"v=0", "a session description (SDP)"),
    (b"<?xml", "an XML document (a DASH manifest, an IMF package or another list of files)"),
    (b"<MPD", "a DASH manifest"),
    (b"[playlist]", "a playlist"),
)
BUFFER = 1 << 18  # bytes that FFmpeg reads at once
MAX_SUFFIX = 6  # characters of a name's ending that FFmpeg is shown, to tell raw streams apart


class MediaFile:
    """The bytes of one open file, for :func:`av.open`.

    Parameters
    ----------
    descriptor : int
        Of a regular file; it stays open until :meth:`close`.
    path : str
        Named in errors; only its ending reaches FFmpeg.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path = descriptor, path
        suffix = os.path.splitext(path)[1]
        self.name = "media" + (suffix if len(suffix) <= MAX_SUFFIX and suffix[1:].isalnum() else "")
        self._size, self._place = os.fstat(descriptor).st_size, 0

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MediaFile:
        """Open a regular file.

        Raises
        ------
        MediaError
            If it is missing, a directory, a pipe or a device, unreadable or empty, or if its name cannot be one.
        """
        name = os.fspath(path)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MediaError(name, "no such file") from None
        except PermissionError:
            raise MediaError(name, "may not be read; check its permissions") from None
        except ValueError:
            raise MediaError(ascii(name), "is no name that a file can have") from None
        except OSError as error:
            if _is_special(name):
                raise MediaError(name, "is no regular file, but a pipe, a device or a socket") from None
            raise MediaError(name, f"cannot be read ({error.strerror or error})") from error
        try:
            cls._check(descriptor, name)
            return cls(descriptor, name)
        except BaseException:
            os.close(descriptor)
            raise

    @staticmethod
    def _check(descriptor: int, name: str) -> None:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(name, "is a directory; name a file, or pass the directory to `avwitness score`")
        if not stat.S_ISREG(mode):
            raise MediaError(name, "is no regular file, but a pipe, a device or a socket")
        try:
            empty = not os.pread(descriptor, 1, 0)
        except OSError as error:
            raise MediaError(name, f"cannot be read ({error.strerror or error})") from error
        if empty:
            raise MediaError(name, "is empty (0 bytes)")

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = os.pread(self.descriptor, size if size >= 0 else self._size - self._place, self._place)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def close(self) -> None:
        """Close the descriptor."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()


def _is_special(name: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        return False


def open_container(file: MediaFile) -> Any:
    """Open the container in a file; nothing but this file is read.

    Raises
    ------
    MediaError
        Where FFmpeg cannot, and for every format that is not in :data:`FORMATS`.
    """
    file.seek(0)
    head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    for start, kind in PLAYLISTS:
        if head.startswith(start):
            raise MediaError(file.path, f"is not a media file but {kind}, which names other files; score those")
    try:
        return av.open(
            file,
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            buffer_size=BUFFER,
            io_open=_refuse,
        )
    except (av.error.FFmpegError, ValueError, OSError, TypeError, AttributeError, IndexError) as error:
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            raise MediaError(file.path, "is a WebP image of a kind that cannot be read (animated?); convert it to a video") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(file.path, f"is not a media file that can be opened: damaged, truncated or of another kind ({reason})") from error


def _refuse(url: str, flags: int, options: dict[str, Any]) -> Any:
    raise PermissionError(f"a media file may not open {url!r}")


def video_streams(container: Any) -> list[Any]:
    """Video streams that are no cover images, undecodable ones too."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def video_stream(container: Any) -> Any:
    """The first video stream that can be decoded and is no cover image, or ``None``."""
    return next((s for s in video_streams(container) if s.codec_context is not None), None)


def audio_stream(container: Any) -> Any:
    """The first audio stream that can be decoded, or ``None``."""
    return next((s for s in container.streams.audio if s.codec_context is not None and s.codec_context.sample_rate > 0), None)
