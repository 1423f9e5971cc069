"""What else commands do with media: networks, prompts, recordings, numbers, and its end."""

from __future__ import annotations

import re

import pytest
from relay_talk import rtp
from rtpp_talk import ALICE, BOB, OURS, Controller

from edgesip.address import Addr
from edgesip.relay.commands import Notice
from edgesip.relay.core import MediaTimeout
from edgesip.relay.interface import Interface
from edgesip.relay.mos import Sums
from edgesip.relay.prompt import Prompt
from edgesip.relay.quality import look


def test_silence_ends_a_session_and_tells_who_asked() -> None:
    controller = Controller(notify=("unix:/t", "%%CC_SELF%%:9000"))
    controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1 unix:/t the%20call")
    controller.port(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1")
    controller.now += 61.0
    [event] = controller.core.tick(controller.now)
    assert isinstance(event, MediaTimeout)
    assert controller.commands.timed_out(event.key, controller.now)
    assert controller.commands.take_notices() == [Notice("unix:/t", b"the call\n")]
    assert controller.leased == 0
    assert controller.ask("G nsess_timeout nsess_nortp") == "1 1"
    assert not controller.commands.timed_out(("a SIP call", "tag"), controller.now)


def test_who_sent_the_command_can_be_told_at_his_own_address() -> None:
    controller = Controller(notify=("%%CC_SELF%%:9000",))
    controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1 %%CC_SELF%%:9000 x")
    controller.now += 61.0
    controller.commands.tick(controller.now)
    assert controller.commands.take_notices() == [Notice("tcp:127.0.0.1:9000", b"x\n")]
    assert controller.leased == 0


def test_nobody_is_told_who_may_not_be() -> None:
    controller = Controller(notify=("unix:/t",))
    assert controller.ask(f"Uc0 call {ALICE.host} {ALICE.port} a;1 unix:/etc/other x") == "E75"
    assert controller.leased == 0


def test_what_nobody_answers_ends_within_the_timeout() -> None:
    controller = Controller()
    controller.port(f"Uc0 one {ALICE.host} {ALICE.port} a;1")
    controller.now += 30.0
    controller.port(f"Uc0 two {ALICE.host} {ALICE.port} a;1")
    controller.port(f"Uc0 one {ALICE.host} {ALICE.port} a;1")
    controller.now += 40.0
    controller.commands.tick(controller.now)
    assert controller.leased == 8
    controller.now += 20.0
    controller.commands.tick(controller.now)
    assert controller.leased == 0


def bridge() -> Controller:
    """A relay with a foot in either network."""
    inside = Interface("internal", ("10.1.0.1", "2001:db8:1::1"), (), 20000, 20049)
    outside = Interface("external", (OURS,), ("198.51.100.1",), 20050, 20099)
    return Controller(interfaces=(inside, outside))


def test_two_networks_in_the_order_of_sender_and_receiver() -> None:
    controller = bridge()
    assert re.fullmatch(r"200[5-9]\d 198.51.100.1", controller.ask("Uiec0 call 10.1.0.7 4000 a;1"))
    assert re.fullmatch(r"200[0-4]\d 10.1.0.1", controller.ask("Lc0 call 203.0.113.20 5000 a;1 b;1"))
    assert re.fullmatch(r"200[5-9]\d 198.51.100.1", controller.ask("Ueic0 call 10.1.0.7 4000 a;1 b;1"))
    assert re.fullmatch(r"200[0-4]\d 10.1.0.1", controller.ask("Ueic0 back 203.0.113.20 4000 c;1"))
    assert re.fullmatch(r"200[0-4]\d 10.1.0.1", controller.ask("Uiic0 home 10.1.0.7 4000 d;1"))


def test_a_bridge_between_the_families() -> None:
    """x of Kamailio's flags: IPv6 is the external network's, so an IPv6 offer says EI and 6."""
    inside = Interface("internal", ("10.1.0.1",), (), 20000, 20049)
    outside = Interface("external", ("2001:db8::1",), (), 20050, 20099)
    controller = Controller(interfaces=(inside, outside))
    assert controller.ask("UEI6c0 call 2001:db8::7 4000 a;1").endswith(" 10.1.0.1")
    assert controller.ask("LIEc0 call 10.1.0.20 5000 a;1 b;1").endswith(" 2001:db8::1 6")


def test_an_interface_or_an_address_by_its_name() -> None:
    controller = bridge()
    assert controller.ask("UL{external}c0 one 203.0.113.7 4000 a;1").endswith(" 198.51.100.1")
    assert controller.ask("UL10.1.0.1c0 two 10.1.0.7 4000 a;1").endswith(" 10.1.0.1")
    assert controller.ask("UR10.9.9.9c0 three 203.0.113.7 4000 a;1").endswith(" 198.51.100.1")
    controller.ask("UL10.1.0.1c0 four 10.1.0.7 4000 a;1")
    moved = controller.ask("LL10.1.0.1c0 four 10.1.0.8 5000 a;1 b;1")
    assert moved.endswith(" 10.1.0.1")


def test_addresses_of_the_relay_that_are_not_there() -> None:
    controller = Controller()
    assert controller.ask(f"UL192.0.2.99 call {ALICE.host} {ALICE.port} a;1") == "E31"
    assert controller.ask(f"UL{{inside}} call {ALICE.host} {ALICE.port} a;1") == "E31"
    assert controller.ask(f"Uei call {ALICE.host} {ALICE.port} a;1") == "E11"
    assert controller.ask(f"Uie call {ALICE.host} {ALICE.port} a;1") == "E12"
    assert controller.leased == 0


def test_both_families_where_the_relay_has_both() -> None:
    controller = Controller(OURS, "2001:db8::1")
    assert controller.ask("Uc0 call 2001:db8::7 4000 a;1").endswith(" 2001:db8::1 6")
    assert controller.ask(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1") == "E36"


def test_packets_of_another_size() -> None:
    controller = Controller()
    assert controller.ask("VF 20071116") == "1"
    controller.port(f"UZ40c0 call {ALICE.host} {ALICE.port} a;1")
    at_alice = controller.port(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1")
    sent = [controller.send(at_alice, ALICE, rtp(number)) for number in range(6)]
    assert [len(octets) for each in sent for _, octets in each] == [12 + 320] * 3


def test_loss_and_jitter_are_those_of_the_first_tag() -> None:
    controller = Controller()
    _, at_alice = controller.call()
    for number in (1, 2, 3, 5, 5, 6):
        controller.now += 0.02
        controller.send(at_alice, ALICE, rtp(number))
    look(controller.core.watch.looks(), Sums())
    names = "rtpa_nsent rtpa_nrcvd rtpa_ndups rtpa_nlost"
    assert controller.ask(f"Q call a;1 b;1 {names}") == "6 6 1 1"
    assert controller.ask(f"Q call b;1 a;1 {names}") == "0 0 0 0"


MUSIC = Prompt("music", {0: b"\x11" * 1600, 8: b"\x22" * 1600})


def paced(controller: Controller, seconds: float) -> list[tuple[Addr, bytes]]:
    """What prompts send within this time."""
    found = []
    until = controller.now + seconds
    while controller.now < until:
        controller.now += 0.005
        found += [(to, octets) for _, to, octets in controller.core.pace(controller.now)]
    return found


def test_music_for_one_side_in_place_of_the_other() -> None:
    """What Kamailio's rtpproxy_stream2uas and rtpproxy_stop_stream2uas send: the first tag is who hears."""
    controller = Controller(prompts=(MUSIC,))
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    assert controller.ask("P-1 call music session b;1 a;1") == "0"
    heard = paced(controller, 1.0)
    assert {to for to, _ in heard} == {BOB}
    assert len(heard) in (49, 50, 51)
    assert heard[0][1][12:] == b"\x11" * 160
    assert controller.send(at_alice, ALICE, rtp(90)) == [], "covered by the music"
    assert controller.send(at_bob, BOB, rtp(90, ssrc=2))[0][0] == ALICE
    assert controller.ask("S call b;1 a;1") == "0"
    assert paced(controller, 0.1) == []
    assert controller.send(at_alice, ALICE, rtp(91))[0][0] == BOB
    assert controller.ask("G nplrs_created npkts_played") == f"1 {len(heard)}"


def test_a_prompt_plays_so_often_in_the_codec_that_was_asked_for() -> None:
    controller = Controller(prompts=(MUSIC,))
    controller.call()
    assert controller.ask("P2 call music 8 a;1") == "0"
    heard = paced(controller, 1.0)
    assert len(heard) == 20, "twice two hundred milliseconds"
    assert {octets[1] & 0x7F for _, octets in heard} == {8}
    assert controller.ask("P0 call music session a;1") == "0"


def test_a_recording_is_begun_and_ended() -> None:
    controller = Controller()
    assert controller.ask("R call a b") == "E50"
    at_bob, at_alice = controller.call()
    assert controller.ask("R call a b") == "0"
    assert controller.ask("Rs call b a") == "0"
    [sink] = controller.core.sinks.take()
    assert sink.kind == "wav"
    controller.talk(at_bob, at_alice)
    assert len(sink.take()) == 6
    assert controller.ask("N call a b") == "0"
    assert sink.ended is not None
    controller.talk(at_bob, at_alice)
    assert sink.take() == []
    assert controller.ask("C call /etc/passwd a b") == "E65"


@pytest.mark.parametrize(
    ("target", "name", "kind"),
    [("ticket-7", "ticket-7", "wav"), ("ticket.pcap", "ticket", "pcap"), ("a.b", "a.b", "wav")],
)
def test_a_copy_may_be_named(target: str, name: str, kind: str) -> None:
    controller = Controller()
    controller.call()
    for elsewhere in ("../x", "/etc/passwd.wav", "udp:192.0.2.66:4000"):
        assert controller.ask(f"C call {elsewhere} a b") == "E65"
    assert controller.core.sinks.take() == []
    assert controller.ask(f"C call {target} a b") == "0"
    [sink] = controller.core.sinks.take()
    assert (sink.name, sink.kind) == (name, kind)


def test_what_is_no_g711_is_recorded_as_packets() -> None:
    controller = Controller()
    controller.call("c9,18")
    assert controller.ask("R call a b") == "0"
    assert [sink.kind for sink in controller.core.sinks.take()] == ["pcap"]


def test_what_cannot_be_played_has_its_number() -> None:
    controller = Controller(prompts=(MUSIC,))
    assert controller.ask("P1 call music session a;1") == "E50"
    controller.call()
    assert controller.ask("P1 call nothing session a;1") == "E60"
    assert controller.ask("P1 call music 18 a;1") == "E60"
    assert controller.ask("P1 call music session a;2") == "E60"
    assert controller.ask("S call a;1") == "0", "nothing plays, nothing is wrong"
    untold = Controller(prompts=(MUSIC,))
    untold.call("")
    assert untold.ask("P1 call music session a;1") == "E35"
