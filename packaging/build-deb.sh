#!/usr/bin/env bash
# Build dist/edgesip_VERSION_ARCH.deb: a PyInstaller bundle with its own Python, packaged by debhelper.
#
# Everything in between is in build/deb and made anew each time. BUNDLE_PYTHON names the interpreter to
# bundle; it is Debian's by default, so that the libraries it needs are packages that Debian keeps safe.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${BUNDLE_PYTHON:-/usr/bin/python3}
BUILD=$PWD/build/deb
TREE=$BUILD/tree

say() { echo "deb: $*" >&2; }

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# Debian packages: installed as root, else named.
install_needs() {
    local missing=() name
    for name in debhelper dpkg-dev lintian binutils python3-venv "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing Debian packages: ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
    else
        say "these Debian packages are needed: ${missing[*]}"
        say "as root: apt-get install ${missing[*]}"
        exit 1
    fi
}

install_needs gcc libc6-dev
# PyInstaller wants the interpreter as a shared library, which Debian keeps in a package of its own.
[ "$PYTHON" != /usr/bin/python3 ] || install_needs "lib$(basename "$(readlink -f "$PYTHON")")" python3-dev

VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYINSTALLER_CONFIG_DIR=$BUILD/cache

say "the bundle of edgesip $VERSION with $("$PYTHON" -V)"
rm -rf "$BUILD"
mkdir -p "$BUILD/source" "$TREE"
cp -r edgesip pyproject.toml README.md LICENSE "$BUILD/source"
"$PYTHON" -m venv "$BUILD/venv"
"$BUILD/venv/bin/pip" install --quiet "$BUILD/source" 'G722>=1.2' 'pyinstaller>=6.10,<7' 'mypy>=1.11,<3' 'setuptools>=77'

say "machine code for the way of a message"
SITE=$("$BUILD/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
mkdir "$BUILD/compiled"
cp -r "$SITE/edgesip" "$BUILD/compiled"
"$BUILD/venv/bin/python" packaging/compiled.py "$BUILD/compiled" >"$BUILD/compiled.log" 2>&1 || {
    cat "$BUILD/compiled.log" >&2
    exit 1
}
cp -r "$BUILD/compiled/." "$SITE"

say "the bundle"
cp packaging/edgesip.spec packaging/main.py "$BUILD"
"$BUILD/venv/bin/pyinstaller" --noconfirm --log-level WARN \
    --distpath "$BUILD/dist" --workpath "$BUILD/work" "$BUILD/edgesip.spec" >&2

say "the package"
cp -r packaging/debian "$TREE/debian"
cat >"$TREE/debian/changelog" <<END
edgesip ($VERSION) unstable; urgency=medium

  * Version $VERSION; CHANGELOG.md says what is new.

 -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END
mkdir "$TREE/profiles" "$TREE/share-doc" "$TREE/completions"
# PyInstaller's loader and the shared library stay behind: the interpreter's own program, which Debian links
# as a whole and optimises by a profile, does the same work in four fifths of the time.
LIBRARY=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
BUNDLE=$TREE/bundle/edgesip
mkdir -p "$BUNDLE/bin" "$BUNDLE/lib"
cp "$(readlink -f "$PYTHON")" "$BUNDLE/bin/python3"
cp packaging/launch.sh "$BUNDLE/bin/edgesip"
cp packaging/main.py "$BUNDLE"
mv "$BUILD/dist/edgesip/_internal" "$BUNDLE/lib/$LIBRARY"
mv "$BUNDLE/lib/$LIBRARY/$LIBRARY/lib-dynload" "$BUNDLE/lib/$LIBRARY"
rmdir "$BUNDLE/lib/$LIBRARY/$LIBRARY"
rm "$BUNDLE/lib/$LIBRARY"/libpython3*
cp packaging/edgesip.toml "$TREE"
cp edgesip/profiles/*.toml edgesip/profiles/*.py "$TREE/profiles"
cp README.md CHANGELOG.md "$TREE/share-doc"
mkdir "$TREE/share-doc/docs"
cp docs/*.md "$TREE/share-doc/docs"
cp -r packaging/fail2ban "$TREE/share-doc"
"$BUILD/venv/bin/python" packaging/bundled.py "$BUILD/dist/sources" "$TREE/share-doc/bundled"
"$BUILD/venv/bin/python" packaging/describe.py man >"$TREE/edgesip.1"
"$BUILD/venv/bin/python" packaging/describe.py bash >"$TREE/completions/edgesip"
(cd "$TREE" && dpkg-buildpackage --build=binary --no-sign >"$BUILD/dpkg.log" 2>&1) || {
    cat "$BUILD/dpkg.log" >&2
    exit 1
}

DEB=$(basename "$BUILD"/edgesip_*.deb)
say "lintian"
lintian --allow-root --fail-on error --tag-display-limit 0 "$BUILD/$DEB" >&2
mkdir -p dist
cp "$BUILD/$DEB" dist
echo "dist/$DEB"
