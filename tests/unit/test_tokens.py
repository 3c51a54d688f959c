"""What a token looks like, so that a program can find a leaked one and a person's typo is known for one."""

import re
import string
from zlib import crc32

import pytest

from app.tokens import Scope, digest_of, is_one_of_ours, is_whole, new_token

# What the documents give to those who look for leaked secrets.
SCANNERS = re.compile(r"\bwl_[0-9A-Za-z]{49}\b")


def test_a_token_is_whole_and_a_scanner_finds_it_in_any_text() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    for token in tokens:
        assert is_whole(token)
        assert is_one_of_ours(token)
        assert SCANNERS.findall(f'curl -H "Authorization: Bearer {token}" # {token}.') == [token] * 2


def test_a_token_holds_256_random_bits() -> None:
    assert 62**43 >= 2**256
    # Every place takes every one of 62 digits: in 20,000 tokens one is missing from a place once in 10 ** 138.
    seen: list[set[str]] = [set() for _ in range(43)]
    for _ in range(20_000):
        for place, digit in enumerate(new_token()[3:46]):
            seen[place].add(digit)
    assert all(digits == set(string.digits + string.ascii_letters) for digits in seen)


def test_the_checksum_is_the_crc_of_all_before_it_in_base_62() -> None:
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    token = new_token()
    number = 0
    for digit in token[-6:]:
        number = number * 62 + digits.index(digit)
    assert number == crc32(token[:-6].encode())


def test_no_single_wrong_digit_and_no_two_exchanged_ones_are_taken_for_a_token() -> None:
    token = new_token()
    for at in range(3, len(token)):
        for digit in string.digits + string.ascii_letters:
            assert is_whole(token[:at] + digit + token[at + 1 :]) == (digit == token[at])
        exchanged = token[: at - 1] + token[at] + token[at - 1] + token[at + 1 :]
        assert is_whole(exchanged) == (exchanged == token)


@pytest.mark.parametrize(
    "text", ["", "wl_", "wl_x", "\u0661" * 52, "wl_" + "0" * 48, "wl_" + "0" * 50, "wl_" + "-" * 49, "wl_\n" + "0" * 48]
)
def test_what_has_another_shape_is_no_token(text: str) -> None:
    assert not is_whole(text)


def test_a_whole_token_with_anything_around_it_is_no_token() -> None:
    token = new_token()
    for other in (f"{token} ", f" {token}", f"{token}\n", token.lower(), token[:-1], f"x{token}"):
        assert other == token or not is_whole(other)


def test_the_digest_is_sha256_of_any_text() -> None:
    assert digest_of("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(digest_of("\udcff\u00e9")) == 32


def test_there_are_four_scopes() -> None:
    assert list(Scope) == ["enqueue", "read", "work", "admin"]
