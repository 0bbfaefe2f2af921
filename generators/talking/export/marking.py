"""The marks every exported fake carries: a badge in the picture, a signed C2PA manifest in the file, a sidecar beside it.

The certificate behind the signature is made on this machine and is on no trust list. The signature proves that a file has
not been altered since it was signed. It does not prove who made it, and a manifest that is missing proves nothing at all,
for a remux or an upload strips it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ....media.encode import write_media
from ....media.files import atomic_write, file_sha256, partial_path
from ...voices.base import packages_missing_reason

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

TOOL = "avwitness"
LETTER_SHARE = 0.045  # height of the badge's letters, of the picture's shorter side
MIN_LETTER_HEIGHT = 8  # pixels; smaller letters do not survive the codec
OPACITY = 0.6  # of the black box: white letters keep a contrast of 5.7 to 1 where the picture is white
FONT_SCALE = 4.0  # of the font the letters are drawn in before they shrink to size; about 85 pixels tall
FONT_THICKNESS = 10  # pixels

MEDIA_TYPE = "video/mp4"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GENERATION = "org.avwitness.generation"  # label of the assertion that says how a file was made
NO_NETWORK = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
VIDEO = {"crf": "18"}

KEY_FILE = "signing.pem"
VALIDITY = timedelta(days=3650)
# Without a timestamp authority a signature holds only while its certificate does: every file gets a year at least.
RENEWAL = timedelta(days=365)
CLOCK_SKEW = timedelta(days=1)  # by which a certificate begins early, for machines whose clocks are behind


@dataclass(frozen=True)
class MarkedFile:
    """A marked file.

    Parameters
    ----------
    path : Path
        The MP4.
    sidecar : Path
        The JSON beside it.
    """

    path: Path
    sidecar: Path


def badge(frames: np.ndarray, text: str = "SYNTHETIC") -> np.ndarray:
    """Write what a video is into its lower left corner: white letters on a dark box through which the picture still shows.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
        RGB; at least 96 pixels a side hold the default text.
    text : str
        Longer ones get smaller letters.

    Returns
    -------
    uint8 [T, H, W, 3]
        A copy. The box lies wholly in the lower half.

    Raises
    ------
    ValueError
        If these are no frames, the text shows nothing, or the picture is too small for it to be read.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"a badge needs frames uint8 [T, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    ink = _text_mask(text)
    top, left, letter, wide = _badge_layout(frames.shape[1:3], ink.shape[1] / ink.shape[0], text)
    pad = letter // 2
    weight = cv2.resize(ink, (wide, letter), interpolation=cv2.INTER_AREA)
    weight = np.pad(weight, pad)[..., None]
    out = frames.copy()
    box = out[:, top : top + letter + 2 * pad, left : left + wide + 2 * pad]
    dark = (1.0 - OPACITY) * box.astype(np.float32)
    box[:] = (dark + weight * (255.0 - dark)).round()
    return out


def _badge_layout(size: tuple[int, ...], aspect: float, text: str) -> tuple[int, int, int, int]:
    """Top and left of the box, height and width of the letters in it, in pixels."""
    height, width = size
    for letter in range(max(MIN_LETTER_HEIGHT, round(LETTER_SHARE * min(height, width))), MIN_LETTER_HEIGHT - 1, -1):
        # Two pixels at the least: encoding an odd side cuts its last row.
        pad, margin, wide = letter // 2, letter // 4, round(letter * aspect)
        tall = letter + 2 * pad + margin
        if tall <= height // 2 and wide + 2 * (pad + margin) <= width:
            return height - tall, margin, letter, wide
    raise ValueError(
        f"{width}x{height} pixels are too small for a legible badge {text!r}; render a larger picture, 96 pixels a side at least"
    )


def _text_mask(text: str) -> np.ndarray:
    """How much of each pixel the letters cover, float32 [H, W] in [0, 1], trimmed to them.

    They are measured as drawn, because OpenCV 4 and 5 draw with different fonts.
    """
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, FONT_THICKNESS)
    edge = height + base + FONT_THICKNESS
    canvas = np.zeros((height + 2 * edge, width + 2 * edge), dtype=np.uint8)
    cv2.putText(canvas, text, (edge, edge + height), cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 255, FONT_THICKNESS, cv2.LINE_AA)
    rows, columns = np.nonzero(canvas)
    if not len(rows):
        raise ValueError(f"the badge's text {text!r} shows nothing")
    return canvas[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32) / 255.0


def write_marked(path: str | os.PathLike[str], frames: np.ndarray, waveform: np.ndarray | None, about: Mapping[str, Any]) -> MarkedFile:
    """Write a fake as an MP4 (H.264/AAC) that says it is one: badge, signed C2PA manifest, sidecar.

    The file is signed last, for whatever rewrites it strips the manifest. The signing key and its certificate are made on
    first use and kept for this user only; see the top of this file for what they prove. Nothing goes over the network.

    Parameters
    ----------
    path : path-like
        File to write, ending in ``.mp4``. It appears under its name only when it is complete and signed, and not before
        its sidecar, ``path`` with the ending ``.json``.
    frames : uint8 [T, H, W, 3]
        RGB at 25 frames per second, without a badge.
    waveform : float array [S], optional
        At 16 kHz.
    about : mapping
        How the fake was made, in values that JSON holds. It goes into the manifest and into the sidecar, where
        everyone who has the file can read it.

    Returns
    -------
    Marked

    Raises
    ------
    ValueError
        If c2pa-python is not installed, the keys cannot be read or made, ``about`` is not JSON or claims one of the
        sidecar's own names, the frames cannot carry a badge, or ``path`` is no place for an MP4.
    """
    path = Path(path)
    if reason := packages_missing_reason("generate", "c2pa", "cryptography"):
        raise ValueError(f"{path}: cannot be marked; {reason}")
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"{path}: marked files are MP4; end its name in .mp4")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{path}: is a folder; name a file" if path.is_dir() else f"{path}: make the folder {path.parent} first")
    facts = _json_values(path, about)
    if not len(frames):
        raise ValueError(f"{path}: no frame to write; a marked file shows its badge")
    # What can fail for want of keys or pixels fails before the encoder has worked for minutes.
    keys = _signing_keys()
    badged = badge(frames)
    sidecar = path.with_suffix(".json")
    encoded = partial_path(path)
    try:
        write_media(encoded, badged, waveform, video_options=VIDEO)
        with atomic_write(path) as signed, atomic_write(sidecar) as notes:  # the sidecar appears first
            _sign(encoded, signed, _manifest(path.name, facts), keys)
            own = _sidecar_fields(path.name, file_sha256(signed))
            notes.write_text(json.dumps({**own, **facts}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    finally:
        encoded.unlink(missing_ok=True)
    return MarkedFile(path, sidecar)


def read_marks(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The active C2PA manifest of any media file, and whether the file is still what was signed.

    Returns
    -------
    dict
        The manifest as c2pa reads it (``title``, ``claim_generator_info``, ``assertions``, ``signature_info``), with
        ``validation_state`` (``Invalid``, ``Valid``, or ``Trusted`` where the certificate is on a trust list) and
        ``validation_status``, the complaints, each with a ``code``. Files of :func:`write_marked` are ``Valid`` with
        the one complaint ``signingCredential.untrusted``. Manifests that lie elsewhere are not fetched.

    Raises
    ------
    ValueError
        If no manifest can be read from the file, or c2pa-python is not installed.
    """
    if reason := packages_missing_reason("generate", "c2pa"):
        raise ValueError(f"{path}: its marks cannot be read; {reason}")
    import c2pa

    try:
        with c2pa.Context.from_dict(NO_NETWORK) as context, c2pa.Reader(path, context=context) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise ValueError(f"{path}: no C2PA manifest can be read from it ({error}); a remux or an upload strips what was there") from None
    manifest = store["manifests"][store["active_manifest"]]
    return {**manifest, "validation_state": store["validation_state"], "validation_status": store.get("validation_status", [])}


def _sidecar_fields(name: str, sha256: str) -> dict[str, Any]:
    """What a sidecar says of every file."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"synthetic": True, "tool": TOOL, "tool_version": version(TOOL), "created": created, "file": name, "sha256": sha256}


def _json_values(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` as it reads once it went through JSON, so that manifest and sidecar say the same."""
    try:
        facts: dict[str, Any] = json.loads(json.dumps(dict(about), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: what is said about it must be plain JSON values: {error}") from None
    # Or else a caller could say that a fake is none.
    if claimed := sorted(set(facts) & set(_sidecar_fields("", ""))):
        raise ValueError(f"{path}: the sidecar itself says {', '.join(claimed)}; give what you say about the file other names")
    return facts


def _manifest(title: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A C2PA manifest definition; ``created`` assertions are those the signer vouches for."""
    tool = {"name": TOOL, "version": version(TOOL)}
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": tool}
    return {
        "title": title,
        "format": MEDIA_TYPE,
        "claim_generator_info": [tool],
        "assertions": [
            {"label": "c2pa.actions", "created": True, "data": {"actions": [action]}},
            {"label": GENERATION, "created": True, "data": facts},
        ],
    }


def _sign(source: Path, target: Path, manifest: dict[str, Any], keys: tuple[bytes, bytes]) -> None:
    """Copy an MP4 with a manifest signed by ``keys`` (the private key, the certificates); c2pa checks what it wrote."""
    import c2pa

    key, certificates = keys
    try:
        with (
            c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificates, key, None)) as signer,
            c2pa.Context.from_dict(NO_NETWORK) as context,
            c2pa.Builder(manifest, context=context) as builder,
            open(source, "rb") as unsigned,
            open(target, "w+b") as signed,
        ):
            builder.sign(signer, MEDIA_TYPE, unsigned, signed)
    except c2pa.C2paError as error:
        raise ValueError(
            f"{manifest['title']}: could not be signed with {_key_file()} ({error}); move the keys away for new ones"
        ) from None


def _key_file() -> Path:
    """Where this user's key lies: ``$AVWITNESS_KEYS``, else ``avwitness/keys`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    if named := os.environ.get("AVWITNESS_KEYS"):
        return Path(named).expanduser() / KEY_FILE
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / TOOL / "keys" / KEY_FILE


def _signing_keys() -> tuple[bytes, bytes]:
    """The private key and its certificates, in PEM; made on first use, and anew when they expire.

    Raises
    ------
    ValueError
        If they are there and cannot be read, or cannot be kept.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    file = _key_file()
    cure = "move it away for new ones, or name another folder in AVWITNESS_KEYS"
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return _create_keys(file)
    except OSError as error:
        raise ValueError(f"{file}: the signing keys cannot be read ({error.strerror}); {cure}") from None
    try:
        key = load_pem_private_key(text, password=None)
        certificates = x509.load_pem_x509_certificates(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{file}: holds no signing keys that can be read; {cure}") from None
    if key.public_key() != certificates[0].public_key():
        raise ValueError(f"{file}: its key and its certificate do not belong together; {cure}")
    if certificates[0].not_valid_after_utc - datetime.now(UTC) < RENEWAL:
        return _create_keys(file)
    return _to_pem(key, certificates)  # type: ignore[arg-type]


def _create_keys(file: Path) -> tuple[bytes, bytes]:
    """Make an ES256 key and its certificates and keep them; what two processes make at once, the later one keeps."""
    keys = _issue_certificates()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(file) as partial:  # key and certificates in one file, so that they always belong together
            partial.touch(mode=0o600, exist_ok=False)  # readable by its owner only, before there is a key in it
            partial.write_bytes(b"".join(keys))
    except OSError as error:
        raise ValueError(f"{file}: the signing keys cannot be kept there ({error}); name another folder in AVWITNESS_KEYS") from None
    return keys


def _issue_certificates() -> tuple[bytes, bytes]:
    """A new key, and certificates as C2PA wants them: one that signs files, issued by an authority that is not itself.

    The authority's key is thrown away at once, so that nothing else can be issued in its name.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    certificates = [_certificate(signer, authority), _certificate(authority, authority)]
    return _to_pem(signer, certificates)


def _certificate(key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate of ``key`` by ``authority``, which certifies itself where the two are the same."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(owner: ec.EllipticCurvePrivateKey) -> x509.Name:
        role = "avwitness local authority" if owner is authority else "avwitness local signer"
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, TOOL), x509.NameAttribute(NameOID.COMMON_NAME, role)])

    issues = key is authority
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(key))
        .issuer_name(named(authority))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=issues, path_length=0 if issues else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if not issues:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(authority, hashes.SHA256())


def _to_pem(key: ec.EllipticCurvePrivateKey, certificates: list[x509.Certificate]) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), chain
