"""Audio of the lab: sine tones, G.711, and the judgement whether a tone was heard.

Samples are 8000 Hz mono int16 arrays throughout. Knows nothing of packets or phones.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
RATE = 8000
_WINDOW = RATE // 4  # 4 Hz a bin
_TOLERANCE = 6.0  # Hz
_ENERGY = 0.6
_LOUD = 500.0  # RMS below this is silence


def _ulaw_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _alaw_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code >> 4) & 7
    size = ((code & 0x0F) << 4) + np.where(segment > 0, 0x108, 8)
    size = size << np.maximum(segment - 1, 0)
    table: Samples = np.where(code & 0x80, size, -size).astype(np.int16)
    return table


_DECODE = {0: _ulaw_table(), 8: _alaw_table()}


def decode(payload_type: int, payload: bytes) -> Samples:
    """PCMU (0) or PCMA (8) octets as samples; KeyError for any other type."""
    heard: Samples = _DECODE[payload_type][np.frombuffer(payload, np.uint8)]
    return heard


def encode_ulaw(samples: Samples) -> bytes:
    table = _DECODE[0].astype(np.int32)
    order = np.argsort(table)
    place = np.clip(np.searchsorted(table[order], samples), 0, 255)
    return bytes(order[place].astype(np.uint8).tobytes())


def tone(frequency: float, seconds: float) -> Samples:
    """A sine at about a third of full scale."""
    time = np.arange(int(RATE * seconds)) / RATE
    return (11000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def write_wav(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())


def read_wav(path: Path) -> Samples:
    with wave.open(str(path), "rb") as source:
        assert (source.getnchannels(), source.getsampwidth(), source.getframerate()) == (1, 2, RATE), path
        return np.frombuffer(source.readframes(source.getnframes()), np.int16)


def _is_tone(window: Samples, frequency: float) -> bool:
    values = window.astype(np.float64)
    if np.sqrt(np.mean(values**2)) < _LOUD:
        return False
    power = np.abs(np.fft.rfft(values * np.hanning(len(values)))) ** 2
    peak = int(np.argmax(power))
    near = power[max(peak - 3, 0) : peak + 4].sum()
    return bool(abs(peak * RATE / len(values) - frequency) <= _TOLERANCE and near >= _ENERGY * power.sum())


def seconds_of(samples: Samples, frequency: float) -> float:
    """How long (s) `frequency` was what one heard: right to 6 Hz with 60 % of the energy."""
    count = len(samples) // _WINDOW
    windows = samples[: count * _WINDOW].reshape(count, _WINDOW)
    return sum(_is_tone(window, frequency) for window in windows) * _WINDOW / RATE


def assert_heard(who: str, samples: Samples, frequency: float, talk: float) -> None:
    """`frequency` must fill 80 % of `talk` seconds."""
    heard = seconds_of(samples, frequency)
    length = len(samples) / RATE
    assert heard >= 0.8 * talk, (
        f"{who} heard {frequency:g} Hz for {heard:.2f} of {talk:.1f} s ({length:.2f} s of audio)"
    )
