"""One target under atheris, which looks for new ways through the code: what `make test-long` runs.

    python tests/fuzz/fuzz_harness.py datagram --seconds 600 --corpus build/fuzz/datagram

What it finds breaks the rule of its target (`fuzz_targets`), raises, or takes seconds; it is printed as a
Python literal, ends the run with another exit code than 0, and stays in the corpus directory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["edgesip"]):
    from fuzz_seeds import WORDS, seeds
    from fuzz_targets import TARGETS

LONGEST = {"uri": 2000, "values": 2000, "digest": 2000, "media": 400, "stun": 700}
SLOW = 5  # seconds for one input; libFuzzer counts whole ones


def _dictionary(path: Path) -> None:
    """libFuzzer's own form of a word list."""
    lines = ("".join(f"\\x{octet:02x}" for octet in word) for word in WORDS)
    path.write_text("".join(f'"{line}"\n' for line in lines))


def _telling(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The target, which says what it was given when it fails."""

    def test_one_input(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            print(f"\nfails for {data!r}", flush=True)
            raise

    return test_one_input


def main() -> None:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a directory to begin from and to keep what is new in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        corpus = options.corpus or Path(directory) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds(options.target)):
            (corpus / f"seed-{number:04d}").write_bytes(data)
        _dictionary(Path(directory) / "words")
        arguments = [
            f"-max_total_time={options.seconds}",
            f"-max_len={LONGEST.get(options.target, 8192)}",
            f"-timeout={SLOW}",
            "-rss_limit_mb=1024",
            f"-dict={directory}/words",
            f"-artifact_prefix={corpus}/",
            "-print_final_stats=1",
            str(corpus),
        ]
        atheris.Setup([sys.argv[0], *arguments], _telling(TARGETS[options.target]))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
