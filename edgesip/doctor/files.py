"""Judgements on what lies on the disk: certificates, users, bindings; and on the server that runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgesip.doctor.finding import Finding, fail, ok, warn
from edgesip.signal.net.tls_files import SOON, Shown, told_time

DAY = 86400.0
SCARCE, LITTLE = 20 << 20, 200 << 20
"""Octets free on the disk that are too few, and that are not many."""


class Disk(NamedTuple):
    """The state directory: where it is, why it cannot be used (empty: it can), octets and inodes left."""

    directory: str
    trouble: str
    octets: int
    inodes: int


class Database(NamedTuple):
    """One database: its file, what is wrong with it (empty: nothing), how many rows it has; -1: not there."""

    file: str
    trouble: str
    rows: int


def certificate(shown: Shown, now: float, chain: str) -> list[Finding]:
    """One certificate; `chain` says why a client would not believe it, empty when it would."""
    check = f"certificate {shown.domain or shown.file}"
    findings = []
    if shown.not_after <= now:
        text = f"{shown.file} has ended on {told_time(shown.not_after)}"
        findings.append(fail(check, text, "renew it: no client believes it any more"))
    elif shown.not_before > now:
        text = f"{shown.file} is good from {told_time(shown.not_before)} on only"
        findings.append(fail(check, text, "wait, or set the clock of this host right"))
    elif shown.not_after - now < SOON:
        days = int((shown.not_after - now) / DAY)
        text = f"{shown.file} ends in {days} days, on {told_time(shown.not_after)}"
        findings.append(warn(check, text, "renew it; new files are taken up by themselves"))
    if chain and not findings:
        text = f"clients will not believe {shown.file}: {chain}"
        do = "put the issuers' certificates below it in the file, or give phones your own authority"
        findings.append(warn(check, text, do))
    if not findings:
        names = ", ".join(shown.names) or "nobody"
        findings.append(ok(check, f"good until {told_time(shown.not_after)}, for {names}"))
    return findings


def names(shown: Sequence[Shown], domains: Sequence[str]) -> list[Finding]:
    """Each of our domains should be in some certificate: phones compare."""
    known = {name.lower() for one in shown for name in one.names}
    missing = [one for one in domains if one not in known and f"*.{one.partition('.')[2]}" not in known]
    if not missing:
        return []
    text = f"no certificate is for {', '.join(missing)}"
    return [warn("certificates", text, "phones set up with that domain refuse TLS: add it, or [tls.domain]")]


def disk(found: Disk) -> Finding:
    """The state directory."""
    check = "state directory"
    if found.trouble:
        return fail(
            check,
            f"{found.directory}: {found.trouble}",
            "run doctor as the server's user; chown it, or --state-dir",
        )
    free = f"{found.octets >> 20} MiB free"
    if found.octets < SCARCE or found.inodes == 0:
        what = "no inodes left" if found.inodes == 0 else free
        return fail(check, f"{found.directory}: {what}", "free some space: registrations cannot be kept")
    if found.octets < LITTLE:
        return warn(check, f"{found.directory}: {free}", "free some space before it runs out")
    return ok(check, f"{found.directory}: can be written, {free}")


def database(found: Database, what: str) -> Finding:
    """A database of ours: `what` is in it."""
    if found.trouble:
        return fail(what, found.trouble, "see docs/troubleshooting.md, The disk: move it away to start anew")
    if found.rows < 0:
        return ok(what, f"{found.file} is not there yet: made at the first start")
    return ok(what, f"{found.file}: sound, {found.rows} rows")


def users(count: int, strangers: int, realm: str, wanted: bool) -> list[Finding]:
    """Somebody should be able to log in; `strangers` are users of another realm."""
    if not wanted:
        return [
            warn("users", "auth.enabled is false: anybody registers as anybody", "right in a laboratory only")
        ]
    if strangers:
        text = f"{strangers} of {count} were stored with another realm than {realm}"
        return [
            fail("users", text, "set their passwords again (edgesip subscriber passwd), or auth.realm back")
        ]
    if not count:
        return [warn("users", "there are none", "edgesip subscriber add NAME")]
    return [ok("users", f"{count}, all of realm {realm}")]


def hashes(lacking: Sequence[tuple[str, int]]) -> list[Finding]:
    """Users of whose passwords nothing is kept by an algorithm that is asked for."""
    do = "edgesip subscriber passwd, or take it out of auth.algorithm"
    return [
        warn("users", f"{count} were stored without a hash by {algorithm}, and cannot log in by it", do)
        for algorithm, count in lacking
        if count
    ]


def server(answer: str, mine: str, pid: int) -> Finding:
    """The running server: `answer` is its version, empty when none answers at the socket."""
    check = "running server"
    if not answer:
        return ok(check, "none runs with this state directory")
    if answer != mine:
        text = f"{answer} runs (pid {pid}), and {mine} is installed"
        return warn(check, text, "edgesip restart, or systemctl restart edgesip")
    return ok(check, f"{answer} answers (pid {pid})")
