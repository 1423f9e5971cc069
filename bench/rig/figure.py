"""What a part of the bench finds out: figures, most of them a ratio to a ruler measured in the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.process import Cores


@dataclass(frozen=True)
class Bench:
    """How to measure: short or long, where to put files, on which cores."""

    quick: bool
    directory: Path
    cores: Cores

    def pick(self, quick: int, full: int) -> int:
        """A size: the one of the quick form, or the other."""
        return quick if self.quick else full

    def room(self, name: str) -> Path:
        """A directory of its own for one server."""
        path = self.directory / name
        path.mkdir(parents=True)
        return path


@dataclass(frozen=True)
class Figure:
    """One line of the table. `bar` is what `ratio` must reach, or `most` what `value` must not exceed."""

    key: str
    what: str
    value: float
    unit: str
    ruler: str = ""
    against: float | None = None
    bar: float | None = None
    most: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours to the ruler's."""
        return self.value / self.against if self.against else None

    @property
    def good(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is not None and self.ratio is not None:
            return self.ratio >= self.bar
        return None if self.most is None else self.value <= self.most

    @property
    def disturbed(self) -> float:
        """The part of the time, at worst, that our server stood in line for its core: others ran there."""
        loads = self.detail.get("edgesip", ())
        return max((load["waited"] / load["seconds"] for load in loads), default=0.0)

    def report(self) -> dict[str, Any]:
        """For the JSON."""
        ratio = self.ratio
        return {
            "key": self.key,
            "what": self.what,
            "unit": self.unit,
            "edgesip": self.value,
            "ruler": self.ruler or None,
            "against": self.against,
            "ratio": None if ratio is None else round(ratio, 4),
            "bar": self.bar,
            "most": self.most,
            "good": self.good,
            "detail": self.detail,
        }


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _verdict(figure: Figure) -> str:
    if figure.good is None:
        return ""
    wanted = f">= {figure.bar:g}x" if figure.bar is not None else f"<= {figure.most:g}"
    return f"{wanted} {'yes' if figure.good else 'NO'}"


def table(figures: Sequence[Figure]) -> str:
    """The figures for a terminal."""
    rows = [("figure", "unit", "edgesip", "ruler", "", "ratio", "bar")]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
        against = _number(figure.against)
        rows.append(
            (figure.what, figure.unit, _number(figure.value), against, figure.ruler, ratio, _verdict(figure))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {2, 3, 5}
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write(path: Path, figures: Sequence[Figure], about: dict[str, Any]) -> None:
    """The figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**about, "figures": [figure.report() for figure in figures]}
    path.write_text(json.dumps(document, indent=1) + "\n")
