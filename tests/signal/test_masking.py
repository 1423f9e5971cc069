"""Contacts masked and found again: whatever is put in comes out, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.address import Addr, Flow
from edgesip.signal.nat.masking import (
    Decode,
    Encode,
    ParamDecode,
    ParamEncode,
    ParamRemove,
    hidden,
    masked,
    shown,
    unmasked,
)
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import Uri, equivalent, parse_uri

FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.7", 40000))


@pytest.mark.parametrize(
    ("uri", "mask"),
    [
        ("sip:al:pw@192.168.1.10:5070;transport=tcp", "sip:enc*al*pw*192.168.1.10*5070*tcp@203.0.113.1"),
        ("sip:al@192.168.1.10", "sip:enc*al**192.168.1.10**@203.0.113.1"),
        ("sip:192.168.1.10", "sip:enc***192.168.1.10**@203.0.113.1"),
        ("sip:al@phone.example:5061", "sip:enc*al**phone.example*5061*@203.0.113.1"),
        ("sip:al@[2001:db8::7]:5060", "sip:enc*al**2001%3Adb8%3A%3A7*5060*@203.0.113.1"),
        ("sip:*97@192.168.1.10", "sip:enc*%2A97**192.168.1.10**@203.0.113.1"),
    ],
)
def test_the_parts_of_a_contact_in_the_user_of_another(uri: str, mask: str) -> None:
    assert str(masked(parse_uri(uri), "enc", "203.0.113.1")) == mask
    assert unmasked(parse_uri(mask)) == parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:alice@203.0.113.1",
        "sip:203.0.113.1",
        "sip:enc*al**192.168.1.10*5060@203.0.113.1",  # a part too few
        "sip:enc*al**192.168.1.10*5060*udp*@203.0.113.1",  # a part too many
        "sip:enc*al***5060*udp@203.0.113.1",  # no host
        "sip:enc*al**192.168.1.10*70000*@203.0.113.1",
        "sip:enc*al**192.168.1.10*x*@203.0.113.1",
        "sip:enc*al**%20*5060*@203.0.113.1",
    ],
)
def test_any_other_user_is_no_mask(uri: str) -> None:
    assert unmasked(parse_uri(uri)) is None


_USERS = st.text("abcAZ09-_.!~*'()&=+$,;?/", min_size=1, max_size=12) | st.none()


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    user=_USERS,
    host=st.ip_addresses().map(str) | st.just("phone.example"),
    port=st.integers(1, 65535) | st.none(),
    transport=st.sampled_from(["udp", "tcp", "tls", ""]),
    more=st.lists(st.sampled_from([("ob", None), ("x", "1"), ("line", "abc-.~")]), max_size=2, unique=True),
)
def test_whatever_went_in_comes_out(
    user: str | None, host: str, port: int | None, transport: str, more: list[tuple[str, str | None]]
) -> None:
    params = (("transport", transport),) if transport else ()
    uri = parse_uri(str(Uri("sip", user, None, host, port, params)))
    back = unmasked(parse_uri(str(masked(uri, "p", "203.0.113.1"))))
    assert back is not None
    assert equivalent(back, uri)
    whole = uri.with_params((*params, *more))
    assert shown(parse_uri(str(hidden(whole, "oct", parse_uri("sip:203.0.113.1:5060")))), "oct") == whole


@pytest.mark.parametrize(
    "uri",
    ["sip:h", "sip:h;oct", "sip:h;oct=", "sip:h;oct=*", "sip:h;oct=abcde", "sip:h;oct=bm8gdXJp", "sip:h;a=b"],
)
def test_another_parameter_is_no_contact(uri: str) -> None:
    assert shown(parse_uri(uri), "oct") is None


def test_every_contact_is_masked_and_their_own_parameters_stay() -> None:
    before = Headers([("Contact", '"Al" <sip:al@10.0.0.1>;expires=60, <sip:al@10.0.0.2:5070>'), ("X", "y")])
    after = Encode("e", "203.0.113.1").apply(before, FLOW)
    assert after.values("Contact") == [
        '"Al" <sip:e*al**10.0.0.1**@203.0.113.1>;expires=60',
        "<sip:e*al**10.0.0.2*5070*@203.0.113.1>",
    ]
    assert Decode().apply(after, FLOW).values("Contact") == before.values("Contact")
    inside = ParamEncode("oct", "sip:203.0.113.1").apply(before, FLOW)
    assert {one.uri.host for one in inside.contacts} == {"203.0.113.1"}
    assert ParamDecode("oct").apply(inside, FLOW).values("Contact") == before.values("Contact")
    bare = ParamRemove("oct").apply(inside, FLOW)
    assert [str(one.uri) for one in bare.contacts] == ["sip:203.0.113.1"] * 2


@pytest.mark.parametrize("contact", [[], ["*"], ["<sip:a"]])
@pytest.mark.parametrize("change", [Encode("e", "h"), Decode(), ParamEncode("p", "sip:h"), ParamRemove("p")])
def test_where_there_is_no_contact_nothing_changes(
    contact: list[str], change: Encode | Decode | ParamEncode | ParamRemove
) -> None:
    headers = Headers([("Contact", one) for one in contact])
    assert change.apply(headers, FLOW) is headers


def test_what_was_not_masked_is_left_as_it_stood() -> None:
    headers = Headers([("Contact", "<sip:a@h>")])
    assert Decode().apply(headers, FLOW) is headers
    assert ParamDecode("x").apply(headers, FLOW) is headers
