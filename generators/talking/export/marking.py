"""Marking of exported fakes: a visible badge, a signed C2PA manifest in the file, a JSON sidecar beside it.

The certificate of the signature is created on this machine and is on no trust list. The signature proves that a file was
not altered after signing. It does not prove who made it, and a missing manifest proves nothing, since a remux or an upload
strips it.
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
LETTER_SHARE = 0.045  # height of the badge's letters, as a share of the shorter side of the frame
MIN_LETTER_HEIGHT = 8  # pixels; smaller letters do not survive the codec
OPACITY = 0.6  # of the black box: white letters have a contrast of 5.7 to 1 on a white frame
FONT_SCALE = 4.0  # at which the letters are drawn, about 85 pixels tall, before they are scaled down
FONT_THICKNESS = 10  # pixels

MEDIA_TYPE = "video/mp4"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GENERATION = "org.avwitness.generation"  # label of the assertion with the generation parameters
NO_NETWORK = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
VIDEO_OPTIONS = {"crf": "18"}

KEY_FILE = "signing.pem"
VALIDITY = timedelta(days=3650)
# Without a timestamp authority a signature is valid as long as its certificate: at least a year for every file.
RENEWAL = timedelta(days=365)
CLOCK_SKEW = timedelta(days=1)  # by which the validity of a certificate begins early, for machines with a slow clock


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
    """Draw a badge into the lower left corner of a video: white letters on a semi-transparent dark box.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
        RGB; at least 96 pixels a side for the default text.
    text : str
        Longer texts get smaller letters.

    Returns
    -------
    uint8 [T, H, W, 3]
        A copy; the box lies within the lower half.

    Raises
    ------
    ValueError
        If the shape or type is wrong, the text is blank, or the frames are too small for legible letters.
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
        # A margin of at least two pixels: encoding crops the last row of an odd side.
        pad, margin, wide = letter // 2, letter // 4, round(letter * aspect)
        tall = letter + 2 * pad + margin
        if tall <= height // 2 and wide + 2 * (pad + margin) <= width:
            return height - tall, margin, letter, wide
    raise ValueError(f"{width}x{height} pixels are too small for a legible badge {text!r}; use frames of at least 96 pixels a side")


def _text_mask(text: str) -> np.ndarray:
    """Coverage of every pixel by the letters, float32 [H, W] in [0, 1], cropped to them.

    The size is measured after drawing, because OpenCV 4 and 5 have different fonts.
    """
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, FONT_THICKNESS)
    edge = height + base + FONT_THICKNESS
    canvas = np.zeros((height + 2 * edge, width + 2 * edge), dtype=np.uint8)
    cv2.putText(canvas, text, (edge, edge + height), cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 255, FONT_THICKNESS, cv2.LINE_AA)
    rows, columns = np.nonzero(canvas)
    if not len(rows):
        raise ValueError(f"the badge's text {text!r} is blank")
    return canvas[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32) / 255.0


def write_marked(path: str | os.PathLike[str], frames: np.ndarray, waveform: np.ndarray | None, about: Mapping[str, Any]) -> MarkedFile:
    """Write a fake as a marked MP4 (H.264/AAC): badge, signed C2PA manifest, sidecar.

    The file is signed last, since rewriting it strips the manifest. The signing key and its certificate are created on
    first use, readable by this user only; see the module docstring for what they prove. The network is not used.

    Parameters
    ----------
    path : path-like
        File to write, with suffix ``.mp4``. It is created atomically, complete and signed, after its sidecar, which has the
        suffix ``.json``.
    frames : uint8 [T, H, W, 3]
        RGB at 25 frames per second, without a badge.
    waveform : float array [S], optional
        At 16 kHz.
    about : mapping
        Generation parameters as JSON values. They are stored in manifest and sidecar, readable for everyone who has the
        file.

    Returns
    -------
    Marked

    Raises
    ------
    ValueError
        If c2pa-python is not installed, the keys cannot be read or created, ``about`` is not JSON or uses a reserved key
        of the sidecar, the frames are too small for a badge, or ``path`` is not a possible MP4 file.
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
    # Keys and badge first: encoding takes minutes, so it should not fail afterwards.
    keys = _signing_keys()
    badged = badge(frames)
    sidecar = path.with_suffix(".json")
    encoded = partial_path(path)
    try:
        write_media(encoded, badged, waveform, video_options=VIDEO_OPTIONS)
        with atomic_write(path) as signed, atomic_write(sidecar) as notes:  # the sidecar appears first
            _sign(encoded, signed, _manifest(path.name, facts), keys)
            own = _sidecar_fields(path.name, file_sha256(signed))
            notes.write_text(json.dumps({**own, **facts}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    finally:
        encoded.unlink(missing_ok=True)
    return MarkedFile(path, sidecar)


def read_marks(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The active C2PA manifest of a media file, and whether the file was altered after signing.

    Returns
    -------
    dict
        The manifest as c2pa reads it (``title``, ``claim_generator_info``, ``assertions``, ``signature_info``), with
        ``validation_state`` (``Invalid``, ``Valid``, or ``Trusted`` where the certificate is on a trust list) and
        ``validation_status``, the issues, each with a ``code``. Files of :func:`write_marked` are ``Valid`` with the one
        issue ``signingCredential.untrusted``. Remote manifests are not fetched.

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
    """Fields of every sidecar."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"synthetic": True, "tool": TOOL, "tool_version": version(TOOL), "created": created, "file": name, "sha256": sha256}


def _json_values(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` after a round trip through JSON, so that manifest and sidecar agree."""
    try:
        facts: dict[str, Any] = json.loads(json.dumps(dict(about), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its description must consist of JSON values: {error}") from None
    # Otherwise a caller could overwrite the field that marks the file as synthetic.
    if claimed := sorted(set(facts) & set(_sidecar_fields("", ""))):
        raise ValueError(f"{path}: the sidecar reserves the fields {', '.join(claimed)}; use other names in its description")
    return facts


def _manifest(title: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A C2PA manifest definition; ``created`` assertions are those made by the signer."""
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
    """Copy an MP4 with a manifest signed by ``keys`` (private key, certificates); c2pa verifies its output."""
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
            f"{manifest['title']}: could not be signed with {_key_file()} ({error}); move the keys away to create new ones"
        ) from None


def _key_file() -> Path:
    """File of this user's key: ``$AVWITNESS_KEYS``, else ``avwitness/keys`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    if named := os.environ.get("AVWITNESS_KEYS"):
        return Path(named).expanduser() / KEY_FILE
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / TOOL / "keys" / KEY_FILE


def _signing_keys() -> tuple[bytes, bytes]:
    """The private key and its certificates in PEM; created on first use, and again before they expire.

    Raises
    ------
    ValueError
        If they exist and cannot be read, or cannot be stored.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    file = _key_file()
    cure = "move it away to create new ones, or name another folder in AVWITNESS_KEYS"
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
        raise ValueError(f"{file}: its key and its certificate do not match; {cure}")
    if certificates[0].not_valid_after_utc - datetime.now(UTC) < RENEWAL:
        return _create_keys(file)
    return _to_pem(key, certificates)  # type: ignore[arg-type]


def _create_keys(file: Path) -> tuple[bytes, bytes]:
    """Create and store an ES256 key and its certificates; of two concurrent processes, the later one wins."""
    keys = _issue_certificates()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(file) as partial:  # key and certificates in one file, so that they always match
            partial.touch(mode=0o600, exist_ok=False)  # readable by its owner only, before there is a key in it
            partial.write_bytes(b"".join(keys))
    except OSError as error:
        raise ValueError(f"{file}: the signing keys cannot be stored there ({error}); name another folder in AVWITNESS_KEYS") from None
    return keys


def _issue_certificates() -> tuple[bytes, bytes]:
    """A new key and certificates as C2PA requires: a signing certificate issued by a separate authority.

    The key of the authority is discarded, so that no other certificate can be issued by it.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    certificates = [_certificate(signer, authority), _certificate(authority, authority)]
    return _to_pem(signer, certificates)


def _certificate(key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Certificate of ``key`` issued by ``authority``; self-signed if both are the same."""
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
