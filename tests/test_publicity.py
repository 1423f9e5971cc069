"""`advertise = "auto"`: one address for Via, Contact, Record-Route and SDP, or a start that says why not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edgesip import app, profile, publicity
from edgesip.forms import AUTO, Advertised
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.nat.public import Public, Undecided

NAT = Public("203.0.113.5", "10.0.0.5", "seen by one and two")
OWN = Public("203.0.113.9", "203.0.113.9", "it is this host's own")


def read(tmp_path: Path, *sets: str) -> Profile:
    return profile.load(
        "nat-sbc",
        default_state_dir=tmp_path,
        listen=["udp:127.0.0.1:5060"],
        advertise=["auto"],
        sets=["stun.servers=stun.example.net,192.0.2.3:3479", *sets],
    )


def looks(monkeypatch: pytest.MonkeyPatch, *answers: Public | str) -> list[Any]:
    """What is found at each look, one after the other; a text is a reason why nothing is."""
    asked: list[Any] = []
    left = list(answers)

    def look(hosts: object, servers: object) -> Public:
        asked.append((hosts, servers))
        answer = left.pop(0)
        if isinstance(answer, str):
            raise Undecided(answer)
        return answer

    monkeypatch.setattr(publicity, "look", look)
    return asked


def test_auto_is_read_and_its_servers_too(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.advertise == (AUTO,)
    assert found.stun.servers == (("stun.example.net", 3478), ("192.0.2.3", 3479))
    with pytest.raises(ConfigError, match="stands alone"):
        profile.load("nat-sbc", default_state_dir=tmp_path, advertise=["auto,203.0.113.5"])
    with pytest.raises(ConfigError, match="HOST or HOST:PORT"):
        read(tmp_path, "stun.servers=sip:a")


def test_what_is_found_feeds_signalling_and_sdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch, NAT)
    settled = publicity.settled(read(tmp_path))
    assert settled.advertise == (Advertised("203.0.113.5", None),)
    assert settled.relay.advertise == ("203.0.113.5",)
    assert asked == [(["127.0.0.1"], (("stun.example.net", 3478), ("192.0.2.3", 3479)))]


def test_a_public_address_of_our_own_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, OWN)
    settled = publicity.settled(read(tmp_path))
    assert (settled.advertise, settled.relay.advertise) == ((), ())


def test_media_may_have_another_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, NAT)
    settled = publicity.settled(read(tmp_path, "relay.advertise=198.51.100.9"))
    assert settled.relay.advertise == ("198.51.100.9",)


def test_who_names_an_address_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch)
    named = profile.load("nat-sbc", default_state_dir=tmp_path, advertise=["203.0.113.5"])
    assert publicity.settled(named) is named
    assert asked == []


def test_a_start_that_would_be_a_guess_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, "the STUN servers disagree")
    with pytest.raises(ConfigError, match=r"--advertise auto: advertise: the STUN servers disagree"):
        app.provision(read(tmp_path))


def test_nobody_is_asked_for_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch)
    found = publicity.unasked(read(tmp_path))
    assert (found.advertise, found.relay.advertise, asked) == ((), (), [])


def test_a_change_is_said_once_and_so_is_that_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = NAT._replace(address="203.0.113.99")
    looks(monkeypatch, NAT, moved, moved, "no answer", "no answer", NAT, moved, OWN)
    found, said = read(tmp_path), []
    watch = publicity.Watch(
        lambda: found, "203.0.113.5", lambda level, event, fields: said.append((level, event, fields))
    )

    async def looked() -> None:
        for _ in range(8):
            await watch.look()

    asyncio.run(looked())
    assert [(level, event) for level, event, _ in said] == [
        ("warning", "public address changed"),
        ("warning", "public address unknown"),
        ("warning", "public address changed"),
        ("warning", "public address changed"),
    ]
    assert said[0][2] == {"told": "203.0.113.5", "now": "203.0.113.99", "do": "edgesip restart"}
    assert said[1][2] == {"told": "203.0.113.5", "why": "no answer"}


def test_it_looks_again_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch, NAT, NAT)
    found = read(tmp_path)

    async def told() -> None:
        watch = publicity.Watch(lambda: found, "203.0.113.5", lambda *line: None)
        running = asyncio.ensure_future(watch.run())
        watch.again()
        while not asked:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(told(), 30))
    assert len(asked) == 1
