"""Who holds a port, and what is said when one cannot be bound."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgesip.control.holder import bind_failure, holder_of


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_the_holder_is_named_with_its_pid(bound: socket.socket) -> None:
    port = bound.getsockname()[1]
    for host in ("127.0.0.1", "0.0.0.0"):
        assert holder_of("udp", host, port).endswith(f"(pid {os.getpid()})")
    assert "gone" in holder_of("udp", "127.0.0.2", port), "another address is not in the way"


def test_a_wildcard_socket_of_either_family_stands_in_the_way() -> None:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
            sock.bind((host, 0))
            assert f"(pid {os.getpid()})" in holder_of("udp", "127.0.0.1", sock.getsockname()[1])


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_each_family_and_transport_has_its_holders(kind: socket.SocketKind) -> None:
    transport = "tcp" if kind is socket.SOCK_STREAM else "udp"
    for host in ("::1", "127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family, kind)) as sock:
            sock.bind((host, 0))
            port = sock.getsockname()[1]
            if kind is socket.SOCK_STREAM:
                assert "gone" in holder_of("tcp", host, port), "bound, and not listening"
                sock.listen()
            assert f"(pid {os.getpid()})" in holder_of(transport, host, port)
            assert "gone" in holder_of(transport, "2001:db8::1" if ":" in host else "127.0.0.2", port)
    with closing(socket.socket(socket.AF_INET, kind)) as sock:
        sock.bind(("0.0.0.0", 0))
        if kind is socket.SOCK_STREAM:
            sock.listen()
        assert "gone" in holder_of(transport, "::1", sock.getsockname()[1]), "the other family"


def test_the_sentences_for_a_listener_that_cannot_be_opened(bound: socket.socket) -> None:
    port = bound.getsockname()[1]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        with pytest.raises(OSError) as taken:  # noqa: PT011
            sock.bind(("127.0.0.1", port))
        with pytest.raises(OSError) as foreign:  # noqa: PT011
            sock.bind(("198.51.100.1", 5060))
    said = bind_failure("udp", "127.0.0.1", port, taken.value)
    assert said.startswith(f"cannot listen on udp:127.0.0.1:{port}: the port is held by ")
    assert f"(pid {os.getpid()})" in said
    said = bind_failure("udp", "198.51.100.1", 5060, foreign.value)
    assert "198.51.100.1 is not an address of this host" in said
    assert said.endswith("did you mean --advertise 198.51.100.1?")
    foreign6 = bind_failure("tcp", "2001:db8::1", 5060, OSError(errno.EADDRNOTAVAIL, "x"))
    assert foreign6.startswith("cannot listen on tcp:[2001:db8::1]:5060: 2001:db8::1 is not an address")
    assert foreign6.endswith("--advertise [2001:db8::1]?"), "as it can be typed"
    assert "need root" in bind_failure("udp", "127.0.0.1", 53, OSError(errno.EACCES, "x"))
    assert bind_failure("udp", "127.0.0.1", 53, OSError(errno.ENOBUFS, "No room")).endswith(": No room")


def test_a_process_that_cannot_be_looked_into_and_one_with_an_odd_name(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(
        "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref\n"
        " 1: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 2 0 0\n"
    )
    assert "another user's process" in holder_of("udp", "127.0.0.1", 5060, tmp_path)
    (tmp_path / "99" / "fd").mkdir(parents=True)
    (tmp_path / "99" / "fd" / "3").symlink_to("socket:[4711]")
    (tmp_path / "99" / "comm").write_bytes(b"ev\x1b[2Jil\n")
    assert holder_of("udp", "127.0.0.1", 5060, tmp_path) == "ev?[2Jil (pid 99)"
    assert "gone" in holder_of("udp", "127.0.0.1", 5061, tmp_path)
