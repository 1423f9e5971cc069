"""Tokens, numbers, quoted strings, lists and parameters."""

import pytest

from edgesip.signal.wire.grammar import (
    MAX_ITEMS,
    MAX_PARAMS,
    ParseError,
    digits,
    find_param,
    has_bare_nul,
    is_token,
    params_text,
    parse_params,
    quote,
    quoted_end,
    split_list,
    unquote,
)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0009", 9), ("70", 70), ("0" * 40 + "7", 7)])
def test_digits_reads_decimal_numbers_with_leading_zeros(text: str, number: int) -> None:
    assert digits(text, 100) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+5",
        "-1",
        "1_000",
        " 7",
        "7 ",
        "٣",
        "²",
        "7\x0b",
        "0x7",
        "1e3",
        "101",
        "9" * 5000,
        "0" * 30 + "9" * 30,
    ],
)
def test_digits_refuses_what_int_would_take_and_what_is_too_large(text: str) -> None:
    with pytest.raises(ParseError):
        digits(text, 100)


@pytest.mark.parametrize("text", ["a", "INVITE", "X-Foo.bar!%*_+`'~", "0"])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", " ", "a b", "a:b", "a\n", "é", "\u212a", 'a"', "a\0"])
def test_not_tokens(text: str) -> None:
    assert not is_token(text)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", [""]),
        ("a", ["a"]),
        (" a ,\tb ", ["a", "b"]),
        (",,", ["", "", ""]),
        ('"a,b" <sip:x>, <sip:y,z>', ['"a,b" <sip:x>', "<sip:y,z>"]),
        (r'"a\",b", c', [r'"a\",b"', "c"]),
        (r'"a\\", c', [r'"a\\"', "c"]),
        ('"<", ">"', ['"<"', '">"']),
    ],
)
def test_split_list_splits_outside_quotes_and_brackets(text: str, items: list[str]) -> None:
    assert split_list(text) == items


def test_split_list_by_semicolon() -> None:
    assert split_list('a="x;y";b', ";") == ['a="x;y"', "b"]


@pytest.mark.parametrize("text", ['"a,b', '"a\\",b', "<a,b", '"a" <b, "c', "," * (MAX_ITEMS + 1)])
def test_split_list_refuses_unbalanced_and_endless_lists(text: str) -> None:
    with pytest.raises(ParseError):
        split_list(text)


@pytest.mark.parametrize("text", ["", "a", 'say "hi"', "back\\slash", '\\"', "é"])
def test_unquote_undoes_quote(text: str) -> None:
    quoted = quote(text)
    assert quoted_end(quoted + ' "tail"', 0) == len(quoted)
    assert unquote(quoted) == text


def test_unquote_leaves_plain_text() -> None:
    assert unquote("plain") == "plain"
    assert unquote('"') == '"'


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("plain", False),
        ("a\0b", True),
        ('"a\0b"', True),
        ('"a\\\0b"', False),
        ('"a\\\\\0b"', True),
        ('"a\\\0b" \0', True),
        ('"a\\\0b" "\\\0"', False),
        ('"" \\\0', True),
        ('"open \\\0', True),
    ],
)
def test_a_nul_is_only_allowed_as_a_quoted_pair(text: str, bare: bool) -> None:
    assert has_bare_nul(text) is bare


def test_parameters_keep_values_and_lower_names() -> None:
    params = parse_params('Tag=aB; rport ;q = 0.5;;x="a;b=c";empty=')
    assert params == (("tag", "aB"), ("rport", None), ("q", "0.5"), ("x", '"a;b=c"'), ("empty", ""))
    assert params_text(params) == ';tag=aB;rport;q=0.5;x="a;b=c";empty='
    assert find_param(params, "tag") == "aB"
    assert find_param(params, "rport") == ""
    assert find_param(params, "branch") is None


@pytest.mark.parametrize("text", ["=x", "a b=c", "tag=1;TAG=2", "ta\u212a=1", 'x="a', ";" * (MAX_PARAMS + 1)])
def test_parameters_that_two_readers_could_read_differently_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_params(text)
