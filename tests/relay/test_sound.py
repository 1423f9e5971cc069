"""WAV files of all kinds into 8 kHz mono, G.711 both ways, and the codecs that libraries have."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesip.relay import sound
from edgesip.relay.sound import RATE, WIDE_RATE, Sound, SoundError, read_wav, resampled, tracks_of

Samples = NDArray[np.float64]


def tone(frequency: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> Samples:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def pitch(samples: Samples, rate: int = RATE) -> float:
    """The strongest frequency."""
    return float(np.abs(np.fft.rfft(samples))[1:].argmax() + 1) * rate / len(samples)


def power(samples: Samples) -> float:
    return float((samples**2).mean())


def wav(data: bytes, rate: int, channels: int, bits: int, kind: int = 1, extra: bytes = b"") -> bytes:
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits) + extra
    body = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def octets(samples: Samples, bits: int) -> bytes:
    if bits == 8:
        return (samples * 127 + 128).astype(np.uint8).tobytes()
    whole = np.rint(samples * (2.0 ** (bits - 1) - 1)).astype("<i4")
    return b"".join(int(one).to_bytes(bits // 8, "little", signed=True) for one in whole)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_width(bits: int) -> None:
    wanted = tone(500, 8000)
    read = read_wav(wav(octets(wanted, bits), 8000, 1, bits))
    assert read.rate == 8000
    assert np.abs(read.samples - wanted).max() < 2.0 ** (2 - min(bits, 20))


@pytest.mark.parametrize(("bits", "form"), [(32, "<f4"), (64, "<f8")])
def test_floats(bits: int, form: str) -> None:
    wanted = tone(500, 44100, 0.1)
    read = read_wav(wav(wanted.astype(form).tobytes(), 44100, 1, bits, kind=3))
    assert np.abs(read.samples - wanted).max() < 1e-6


def test_g711_in_a_wav_file() -> None:
    wanted = tone(500, 8000, 0.1)
    assert np.abs(read_wav(wav(sound.to_ulaw(wanted), 8000, 1, 8, kind=7)).samples - wanted).max() < 0.02
    assert np.abs(read_wav(wav(sound.to_alaw(wanted), 8000, 1, 8, kind=6)).samples - wanted).max() < 0.02


def test_the_extensible_form() -> None:
    data = octets(tone(500, 48000, 0.1), 24)
    guid = struct.pack("<HHIH", 22, 24, 0, 1) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    assert pitch(read_wav(wav(data, 48000, 1, 24, kind=0xFFFE, extra=guid)).samples, 48000) == 500


def test_channels_are_mixed() -> None:
    one, other = tone(500, 8000), tone(900, 8000)
    data = octets(np.stack([one, other], axis=1).ravel(), 16)
    mixed = read_wav(wav(data, 8000, 2, 16)).samples
    assert np.abs(mixed - (one + other) / 2).max() < 1e-4


def test_other_chunks_are_passed_over() -> None:
    file = wav(octets(tone(500, 8000), 16), 8000, 1, 16)
    junk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert len(read_wav(file[:12] + junk + file[12:] + junk).samples) == 8000


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes() -> None:
    file = wav(octets(tone(500, 8000), 16), 8000, 1, 16)
    assert len(read_wav(file[:-1001]).samples) == 7499


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"ID3\x04 this is an MP3",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd",
        b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcddata\x04\0\0\0abcd",
        wav(b"", 8000, 1, 16),
        wav(b"abcd", 8000, 0, 16),
        wav(b"abcd", 0, 1, 16),
        wav(b"abcd", 8000, 1, 12),
        wav(b"abcd", 8000, 1, 16, kind=2),
        wav(np.array([np.nan], "<f4").tobytes(), 8000, 1, 32, kind=3),
        wav(b"abcd" * 40, 1_000_000_000, 1, 16),
    ],
)
def test_what_cannot_be_used_is_told(file: bytes) -> None:
    with pytest.raises(SoundError):
        read_wav(file)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_any_rate_keeps_pitch_level_and_length(rate: int) -> None:
    made = resampled(Sound(tone(1000, rate, 2.0), rate), RATE)
    assert len(made) == 2 * RATE
    assert pitch(made) == 1000
    assert power(made) == pytest.approx(power(tone(1000, RATE)), rel=0.01)


def test_what_eight_kilohertz_cannot_hold_is_taken_out() -> None:
    high = resampled(Sound(tone(5000, 44100), 44100), RATE)
    assert power(high) < power(tone(1000, RATE)) / 1e6, "no tone of 3000 Hz where there was one of 5000"


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_g711_is_as_exact_as_it_can_be(law: str) -> None:
    encode = sound.to_ulaw if law == "ulaw" else sound.to_alaw
    decode = sound.from_ulaw if law == "ulaw" else sound.from_alaw
    values = np.sort(decode(bytes(range(256))))
    samples = np.arange(-32000, 32000, 7) / 32768.0
    error = np.abs(decode(encode(samples)) - samples)
    assert (error <= np.abs(samples) / 31 + 8 / 32768).all(), "sixteen steps for each doubling"
    assert decode(encode(values)).tolist() == values.tolist()


def test_g711_as_the_recommendation_has_it() -> None:
    assert sound.to_ulaw(np.array([0.0, 1.0, -1.0])) == b"\xff\x80\x00"
    assert sound.to_alaw(np.array([0.0, 1.0, -1.0])) == b"\xd5\xaa\x2a"
    assert sound.from_ulaw(b"\xff\x7f\x80\x00").tolist() == [0.0, 0.0, 32124 / 32768, -32124 / 32768]
    assert sound.from_alaw(b"\xd5\x55").tolist() == [8 / 32768, -8 / 32768]


def test_too_loud_is_clipped_and_never_turned_round() -> None:
    assert sound.from_ulaw(sound.to_ulaw(np.array([3.0])))[0] > 0.9
    assert sound.from_alaw(sound.to_alaw(np.array([-3.0])))[0] < -0.9


def test_a_prompt_in_every_codec() -> None:
    tracks = tracks_of(Sound(tone(1000, 44100, 1.005), 44100))
    assert len(tracks[0]) == len(tracks[8]) == 51 * 160, "whole packets of 20 ms"
    assert pitch(sound.from_ulaw(tracks[0])[:8000]) == 1000
    assert pitch(sound.from_alaw(tracks[8])[:8000]) == 1000


def test_g722_has_the_upper_half_of_the_band_too() -> None:
    library = pytest.importorskip("G722")
    track = tracks_of(Sound(tone(5000, 48000), 48000))[9]
    assert len(track) == 8000
    heard = np.array(library.G722(WIDE_RATE, 64000).decode(track)) / 32768
    assert pitch(heard, WIDE_RATE) == 5000


def test_gsm_frames() -> None:
    soundfile = pytest.importorskip("soundfile")
    import io

    track = tracks_of(Sound(tone(1000, 44100), 44100))[3]
    assert len(track) == 50 * 33
    assert {track[at] >> 4 for at in range(0, len(track), 33)} == {0xD}, "the mark of RTP's framing"
    heard, _ = soundfile.read(io.BytesIO(track), samplerate=RATE, channels=1, format="RAW", subtype="GSM610")
    assert pitch(heard) == 1000
