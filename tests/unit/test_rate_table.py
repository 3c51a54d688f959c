"""The table of who asked how often: exact, of one size, and never wrong to a client's cost."""

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

from app.rate_table import MOST, SETS, WAYS, RateTable

WINDOW = 60_000
BUSY = b"busy"


class Clock:
    """Milliseconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 123_456

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def name(number: int) -> bytes:
    return number.to_bytes(4, "big")


def spend(table: RateTable, client: bytes, times: int) -> list[int]:
    return [table.spend(client) for _ in range(times)]


@pytest.mark.parametrize("limit", [1, 2, 60, 1000])
def test_so_many_requests_pass_as_the_limit_says_and_not_one_more(limit: int) -> None:
    table = RateTable(limit)
    assert spend(table, BUSY, limit) == [0] * limit
    assert all(1 <= wait <= 60 for wait in spend(table, BUSY, 3))


def test_the_window_begins_with_the_first_request_and_the_wait_is_what_is_left_of_it(clock: Clock) -> None:
    table = RateTable(2, clock=clock)
    began = clock.now
    assert table.spend(BUSY) == 0
    clock.now += 59_000
    assert table.spend(BUSY) == 0
    for into, wait in ((59_000, 1), (59_001, 1), (59_999, 1)):
        clock.now = began + into
        assert table.spend(BUSY) == wait
    clock.now = began + WINDOW
    assert spend(table, BUSY, 2) == [0, 0]


@pytest.mark.parametrize("into", [0, 1, 999, 1000, 1001, 30_500, 58_999, 59_000, 59_999])
def test_whoever_waits_as_long_as_told_passes_and_a_second_less_does_not_do(clock: Clock, into: int) -> None:
    table = RateTable(1, clock=clock)
    table.spend(BUSY)
    clock.now += into
    wait = table.spend(BUSY)
    clock.now += (wait - 1) * 1000
    assert table.spend(BUSY) > 0
    clock.now += 1000
    assert table.spend(BUSY) == 0


def test_what_is_refused_does_not_count_and_does_not_lengthen_the_wait(clock: Clock) -> None:
    table = RateTable(3, clock=clock)
    spend(table, BUSY, 3)
    clock.now += 50_000
    assert spend(table, BUSY, 1000) == [10] * 1000
    clock.now += 10_000
    assert spend(table, BUSY, 4) == [0, 0, 0, 60]


def test_one_client_is_never_charged_for_another() -> None:
    table = RateTable(5)
    for number in range(2000):
        assert spend(table, name(number), 5) == [0] * 5
    for number in range(2000):
        assert table.spend(name(number)) > 0


def test_a_full_set_forgets_the_client_that_asked_least_and_of_those_the_oldest(clock: Clock) -> None:
    table = RateTable(3, places=(1, 4), clock=clock)
    for client, times in ((b"three", 3), (b"old one", 1), (b"young one", 1), (b"two", 2)):
        clock.now += 1
        spend(table, client, times)
    clock.now += 1
    assert table.spend(b"newcomer") == 0
    # Forgotten: it begins anew, and in turn takes the place of the oldest that asked once.
    assert spend(table, b"old one", 3) == [0, 0, 0]
    assert table.spend(b"three") > 0
    assert spend(table, b"two", 2)[-1] > 0
    assert spend(table, b"newcomer", 3)[-1] > 0


def test_a_place_whose_window_is_over_is_given_away_before_any_other(clock: Clock) -> None:
    table = RateTable(3, places=(1, 2), clock=clock)
    spend(table, b"gone", 3)
    clock.now += WINDOW - 1
    table.spend(b"here")
    clock.now += 1
    table.spend(b"newcomer")
    assert spend(table, b"here", 3)[-1] > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_refusal_stands_on_requests_of_the_clients_own_however_full_the_table(clock: Clock, seed: int) -> None:
    table, limit, chance = RateTable(4, places=(2, 3), clock=clock), 4, random.Random(seed)
    passed: dict[int, list[int]] = defaultdict(list)
    refusals = 0
    for _ in range(20_000):
        clock.now += chance.randrange(1500)
        client = min(chance.randrange(12), chance.randrange(12))
        wait = table.spend(name(client))
        if wait == 0:
            passed[client].append(clock.now)
            continue
        refusals += 1
        recent = [at for at in passed[client] if at > clock.now - WINDOW]
        assert len(recent) >= limit
        assert 1 <= wait <= 60
    assert refusals > 1000


@pytest.mark.parametrize("seed", [1, 2])
def test_with_room_for_all_it_is_exact_to_the_request(clock: Clock, seed: int) -> None:
    table, limit, chance = RateTable(4, places=(8, 16), clock=clock), 4, random.Random(seed)
    windows: dict[int, tuple[int, int]] = {}
    for _ in range(20_000):
        clock.now += chance.randrange(1000)
        client = chance.randrange(16)
        began, count = windows.get(client, (0, 0))
        if clock.now >= began + WINDOW:
            began, count = clock.now, 0
        expected = 0 if count < limit else -(-(began + WINDOW - clock.now) // 1000)
        windows[client] = (began, min(count + 1, limit))
        assert table.spend(name(client)) == expected


def test_a_flood_of_clients_takes_no_more_memory_and_neither_harms_nor_helps_who_is_counted() -> None:
    table = RateTable(3)
    assert table.size == SETS * WAYS * 24 == 3 * 1024 * 1024
    busy = [b"busy %d" % number for number in range(100)]
    for client in busy:
        spend(table, client, 3)
    before = _resident()
    # More than twice the places there are; a million takes 8 s (bench/limits.py).
    waits = {table.spend(name(number)) for number in range(300_000)}
    assert waits == {0}
    assert _resident() - before < table.size + 1024 * 1024
    assert all(table.spend(client) > 0 for client in busy)


def test_two_tables_place_their_clients_differently() -> None:
    # What shares a set in one gunicorn says nothing about another: its secret is its own.
    shares = [_shares_a_set(RateTable(1, places=(64, 1))) for _ in range(2)]
    assert shares[0] != shares[1]


@pytest.mark.parametrize("limit", [0, -1, MOST + 1])
def test_a_limit_the_table_cannot_keep_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="from 1 to"):
        RateTable(limit)


def test_a_limit_beyond_16_bits_is_kept_exactly(clock: Clock) -> None:
    table = RateTable(70_000, clock=clock)
    assert not any(spend(table, BUSY, 70_000))
    assert table.spend(BUSY) == 60


def test_a_table_that_is_gone_leaves_no_descriptor_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        RateTable(1, places=(1, 1)).spend(BUSY)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def _shares_a_set(table: RateTable) -> frozenset[int]:
    """Which of some clients make the table forget the first."""
    found = set()
    for number in range(1, 300):
        table.spend(name(0))
        table.spend(name(number))
        if table.spend(name(0)) == 0:
            found.add(number)
    return frozenset(found)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
