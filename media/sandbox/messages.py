"""Messages between this process and a decoding child: a JSON header and raw bytes, over a socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np

LENGTHS = struct.Struct("<IQ")  # bytes of the header, bytes after it
MAX_HEADER = 1 << 20  # bytes
CANCEL, JOB = b"c", b"J"  # first byte of what the parent process sends


class ProtocolError(RuntimeError):
    """The other side sent what is no message; it is damaged or taken over."""


def send(connection: socket.socket, header: dict[str, Any], payload: np.ndarray | None = None) -> None:
    """Send one message."""
    text = json.dumps(header).encode()
    connection.sendall(LENGTHS.pack(len(text), 0 if payload is None else payload.nbytes) + text)
    if payload is not None:
        connection.sendall(np.ascontiguousarray(payload).data.cast("B"))


def receive(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """The header of the next message, and the number of bytes that follow it.

    Raises
    ------
    EOFError
        If the other side has closed the connection.
    ProtocolError
        If it sent something else.
    """
    size, payload = LENGTHS.unpack(receive_bytes(connection, LENGTHS.size).tobytes())
    if size > MAX_HEADER:
        raise ProtocolError("a header of impossible length")
    try:
        header = json.loads(receive_bytes(connection, size).tobytes())
    except ValueError as error:
        raise ProtocolError("a header that is no JSON") from error
    if not isinstance(header, dict):
        raise ProtocolError("a header that is no object")
    return header, payload


def receive_bytes(connection: socket.socket, size: int) -> np.ndarray:
    """That many bytes, uint8 [size]."""
    data = np.empty(size, dtype=np.uint8)
    view, place = data.data, 0
    while place < size:
        count = connection.recv_into(view[place:])
        if not count:
            raise EOFError
        place += count
    return data
