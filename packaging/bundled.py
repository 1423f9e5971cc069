"""What the bundle contains of others, with their licences: `bundled.py SOURCES DIRECTORY`.

SOURCES lists the files that PyInstaller put into the bundle, one path a line. Each distribution that one of
them belongs to gets a folder with its licence texts, and a line in README. Runs in the build's environment.
"""

from __future__ import annotations

import platform
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

BUILDERS = ("mypy",)
"""Its C runtime is in every bundle, although none of its files is."""
NAMES = ("licen", "copying", "notice", "authors")
HEAD = """\
edgesip comes with its own Python interpreter and libraries. These are not edgesip's, and each is under its
own licence, whose text is in the folder of its name. Libraries of Debian are not copied: the package depends
on them.

"""


def texts(one: Distribution) -> dict[Path, Path]:
    """The licence files that a distribution brought: where each shall be, and where it is."""
    found = {}
    for file in one.files or ():
        folder, *inside = file.parts
        if folder.endswith(".dist-info") and file.name.lower().startswith(NAMES):
            found[Path(*(part for part in inside if part != "licenses"))] = Path(str(file.locate()))
    return found


def licence(one: Distribution) -> str:
    """What a distribution calls its licence, in one line."""
    fields = one.metadata.json
    said = str(fields.get("license_expression") or fields.get("license") or "")
    kinds = [kind for kind in one.metadata.get_all("Classifier") or [] if kind.startswith("License ::")]
    return said.partition("\n")[0] or ", ".join(kind.rpartition(" :: ")[2] for kind in kinds)


def main(sources: Path, target: Path) -> None:
    """Write the folder; a component without any licence text is a reason not to build."""
    bundled = set(sources.read_text().splitlines())
    parts = [distribution(name) for name in BUILDERS]
    for one in distributions():
        files = {str(file.locate()) for file in one.files or ()}
        if files & bundled and one.metadata["Name"] != "edgesip":
            parts.append(one)
    lines = [f"Python {platform.python_version()}: PSF-2.0"]
    python = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    target.mkdir()
    (target / "python").mkdir()
    shutil.copy(python, target / "python")
    for part in sorted(parts, key=lambda part: part.metadata["Name"].lower()):
        name = part.metadata["Name"]
        found = texts(part)
        if not found:
            sys.exit(f"bundled.py: {name} {part.version} has no licence text")
        for place, file in found.items():
            (target / name.lower() / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / name.lower() / place)
        lines.append(f"{name} {part.version}: {licence(part)}")
    (target / "README").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
