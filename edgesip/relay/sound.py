"""Sound as numbers: WAV files read, other rates and channels made into 8 kHz mono, G.711 both ways.

Samples are float64, full scale is 1.0. Codecs beyond G.711 come from libraries that may not be there: G.722
from `G722`, GSM from `soundfile`. Refuses to know files by their names, prompts by theirs, and packets.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 8000
WIDE_RATE = 16000
"""What G.722 encodes, whatever its RTP clock says (RFC 3551 §4.5.2)."""
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
PASS = 0.92
"""Above this part of the band the filter falls, down to nothing where the band ends."""

Samples = NDArray[np.float64]

_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


class SoundError(ValueError):
    """A file that cannot be used; the message says why."""


class Sound(NamedTuple):
    """Mono samples and how many there are in a second."""

    samples: Samples
    rate: int


def read_wav(data: bytes) -> Sound:
    """A WAV file of any rate, its channels mixed to one: PCM of 8 to 32 bits, floats, A-law, µ-law.

    SoundError when it is something else, or broken.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SoundError("not a WAV file")
    form = b""
    for name, chunk in _chunks(data):
        if name == b"fmt ":
            form = chunk
        elif name == b"data" and form:
            return _sound(form, chunk)
    raise SoundError("a WAV file without its sound")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a RIFF file; the last one may be longer than the file, as recorders leave it."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _sound(form: bytes, data: bytes) -> Sound:
    if len(form) < 16:
        raise SoundError("a WAV file whose format cannot be read")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", form)
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = int.from_bytes(form[24:26], "little")
    if not 1 <= channels <= 64 or frame != channels * (bits // 8) or not frame:
        raise SoundError(f"a WAV file of {channels} channels and {bits} bits")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise SoundError(f"a WAV file of {rate} samples a second")
    flat = _samples(kind, bits, data[: len(data) // frame * frame])
    samples = flat.reshape(-1, channels).mean(axis=1)
    if not len(samples):
        raise SoundError("a WAV file without a sample in it")
    if not np.isfinite(samples).all():
        raise SoundError("a WAV file with samples that are no numbers")
    return Sound(samples, rate)


def _samples(kind: int, bits: int, data: bytes) -> Samples:
    """Interleaved samples of one of the formats."""
    if kind == _PCM and bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if kind == _PCM and bits in (16, 32):
        return np.frombuffer(data, f"<i{bits // 8}").astype(np.float64) / 2.0 ** (bits - 1)
    if kind == _PCM and bits == 24:
        octets = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(octets), 4), np.uint8)
        wide[:, 1:] = octets
        return wide.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    if kind == _FLOAT and bits in (32, 64):
        return np.frombuffer(data, f"<f{bits // 8}").astype(np.float64)
    if kind == _ULAW and bits == 8:
        return from_ulaw(data)
    if kind == _ALAW and bits == 8:
        return from_alaw(data)
    raise SoundError(
        f"a WAV file of format {kind} with {bits} bits: only PCM, floats, A-law and µ-law are read"
    )


def resampled(sound: Sound, rate: int) -> Samples:
    """The same sound at another rate: what the new one cannot hold is filtered out (by its spectrum).

    The end joins the beginning as before, so a loop stays one.
    """
    samples = sound.samples
    length = max(1, round(len(samples) * rate / sound.rate))
    if length == len(samples):
        return samples
    spectrum = np.fft.rfft(samples)
    kept = spectrum[: min(len(samples), length) // 2 + 1].copy()
    if length < len(samples):
        falling = np.linspace(0.0, 1.0, len(kept))
        kept *= np.cos(np.clip((falling - PASS) / (1 - PASS), 0.0, 1.0) * np.pi / 2) ** 2
    return np.fft.irfft(kept, length) * (length / len(samples))


def linear(samples: Samples) -> NDArray[np.int16]:
    """As 16-bit numbers; what is louder than full scale is clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


# G.711: eight segments of sixteen steps, in octets that were turned round for the sake of old lines.


def to_ulaw(samples: Samples) -> bytes:
    """G.711 µ-law."""
    level = linear(samples).astype(np.int32)
    magnitude = np.minimum(np.abs(level), 32635) + 132
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    step = (magnitude >> (segment + 3)) & 0x0F
    sign = np.where(level < 0, 0x80, 0)
    octets: NDArray[np.uint8] = (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)
    return octets.tobytes()


def from_ulaw(data: bytes) -> Samples:
    """The samples of G.711 µ-law."""
    octets = ~np.frombuffer(data, np.uint8).astype(np.int32) & 0xFF
    magnitude = ((((octets & 0x0F) << 3) + 132) << ((octets >> 4) & 7)) - 132
    return np.where(octets & 0x80, -magnitude, magnitude) / 32768.0


def to_alaw(samples: Samples) -> bytes:
    """G.711 A-law."""
    level = linear(samples).astype(np.int32) >> 3
    sign = np.where(level < 0, 0, 0x80)
    magnitude = np.where(level < 0, -level - 1, level)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    step = (magnitude >> np.maximum(segment, 1)) & 0x0F
    octets: NDArray[np.uint8] = ((sign | segment << 4 | step) ^ 0x55).astype(np.uint8)
    return octets.tobytes()


def from_alaw(data: bytes) -> Samples:
    """The samples of G.711 A-law."""
    octets = np.frombuffer(data, np.uint8).astype(np.int32) ^ 0x55
    segment, step = (octets >> 4) & 7, octets & 0x0F
    low = (step << 1) + 1
    magnitude = np.where(segment, (low + 32) << np.maximum(segment - 1, 0), low)
    return np.where(octets & 0x80, magnitude, -magnitude) / 4096.0


def tracks_of(sound: Sound) -> dict[int, bytes]:
    """A recording in every codec there is an encoder for, by static payload type (RFC 3551 §6).

    PCMU and PCMA always; G.722 and GSM where the libraries are. Each is whole packets of 20 ms: silence
    fills the last one.
    """
    narrow, wide = _whole(resampled(sound, RATE), RATE), _whole(resampled(sound, WIDE_RATE), WIDE_RATE)
    tracks = {0: to_ulaw(narrow), 8: to_alaw(narrow)}
    more = {3: _gsm(narrow), 9: _g722(wide)}
    return tracks | {code: track for code, track in more.items() if track is not None}


def _whole(samples: Samples, rate: int) -> Samples:
    return np.pad(samples, (0, -len(samples) % (rate // 50)))


def _g722(samples: Samples) -> bytes | None:
    """G.722 at 64 kbit/s of 16 kHz; None without the library."""
    try:
        from G722 import G722
    except ImportError:
        return None
    encoder: Any = G722(WIDE_RATE, 64000)
    return bytes(encoder.encode(linear(samples)))


def _gsm(samples: Samples) -> bytes | None:
    """GSM 06.10, frames of 33 octets; None without the library."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: its own library is not there for this system
        return None
    file = io.BytesIO()
    soundfile.write(file, linear(samples), RATE, format="RAW", subtype="GSM610")
    return file.getvalue()
