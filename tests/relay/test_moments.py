"""What is told of a call's media: opened, learned, refused, closed, and nothing more."""

from relay_talk import KEY, Talk

from edgesip.address import Addr
from edgesip.relay.moments import WAITING, Moments


def told(talk: Talk) -> list[tuple[str, dict[str, object]]]:
    return [(moment.event, dict(moment.fields)) for moment in talk.core.moments.take()]


def test_the_life_of_a_calls_media() -> None:
    talk = Talk()
    talk.invite()
    [(event, ports)] = told(talk)
    assert (event, list(ports)) == ("media opened", ["caller audio", "callee audio"])
    assert all(str(port).startswith("192.0.2.1:") for port in ports.values())
    talk.answer()
    assert told(talk) == []
    talk.caller.speak(3)
    [(event, learned)] = told(talk)
    assert event == "media learned"
    assert learned["caller audio"] == str(talk.caller.media)
    talk.caller.speak(3)
    assert told(talk) == []
    stranger = Addr("198.51.100.99", 9999)
    talk.caller.speak(3, source=stranger, ssrc=7)
    assert told(talk) == [("media refused", {"from": "198.51.100.99:9999", "as": "caller audio"})]
    talk.core.end(KEY, talk.now)
    assert told(talk) == [("media closed", {"caller audio": "6 packets", "callee audio": "0 packets"})]
    talk.core.end(KEY, talk.now)
    assert told(talk) == []


def test_what_settled_streams_carried_is_counted_at_the_end() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    for _ in range(5):
        talk.caller.speak(4)
        talk.callee.speak(4)
    talk.core.end(KEY, talk.now)
    assert told(talk)[-1] == ("media closed", {"caller audio": "20 packets", "callee audio": "20 packets"})


def test_moments_that_nobody_takes_are_bounded() -> None:
    moments = Moments()
    for number in range(WAITING + 5):
        moments.opened(float(number), "c", ())
    taken = moments.take()
    assert len(taken) == WAITING
    assert (taken[0].at, moments.take()) == (0.0, [])
