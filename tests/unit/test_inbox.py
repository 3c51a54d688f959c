"""Rules of the inbox: a signal waits until it is taken, and ends a wait at once."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from workerpool.signals import Inbox, blocked


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    opened = Inbox()
    opened.install([signal.SIGUSR1, signal.SIGHUP], unheeded=[signal.SIGUSR2])
    yield opened
    opened.close()


def test_signals_are_taken_in_order_and_as_often_as_they_came(inbox: Inbox) -> None:
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
        signal.raise_signal(number)
    assert inbox.received
    assert inbox.take() == [signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1]
    assert not inbox.received
    assert inbox.take() == []


def test_a_signal_ends_a_wait_before_its_time(inbox: Inbox) -> None:
    sender = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    sender.start()
    before = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - before < 5
    assert inbox.take() == [signal.SIGUSR1]
    sender.join()


def test_a_signal_that_came_before_the_wait_ends_it_too(inbox: Inbox) -> None:
    signal.raise_signal(signal.SIGHUP)
    inbox.wait(0)
    before = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - before < 5
    assert inbox.take() == [signal.SIGHUP]


def test_an_unheeded_signal_ends_the_wait_and_is_not_received(inbox: Inbox) -> None:
    signal.raise_signal(signal.SIGUSR2)
    before = time.monotonic()
    assert inbox.wait(30) == set()
    assert time.monotonic() - before < 5
    assert inbox.take() == []


def test_a_quiet_wait_takes_its_time(inbox: Inbox) -> None:
    before = time.monotonic()
    assert inbox.wait(0.1) == set()
    assert time.monotonic() - before >= 0.1


def test_a_readable_descriptor_is_named_and_others_are_not(inbox: Inbox) -> None:
    quiet, loud = os.pipe(), os.pipe()
    try:
        os.write(loud[1], b"x")
        assert inbox.wait(30, quiet[0], loud[0]) == {loud[0]}
    finally:
        for descriptor in (*quiet, *loud):
            os.close(descriptor)


def test_a_flood_neither_blocks_nor_grows_nor_hides_another_signal(inbox: Inbox) -> None:
    for _ in range(70_000):
        signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGHUP)
    taken = inbox.take()
    assert len(taken) < 100
    assert taken[-1] == signal.SIGHUP
    inbox.wait(0)
    before = time.monotonic()
    inbox.wait(0.1)
    assert time.monotonic() - before >= 0.1


def test_closing_gives_the_signals_back(inbox: Inbox) -> None:
    heard = []
    former = signal.signal(signal.SIGWINCH, lambda *_: heard.append(1))
    try:
        second = Inbox()
        second.install([signal.SIGWINCH])
        signal.raise_signal(signal.SIGWINCH)
        assert second.take() == [signal.SIGWINCH]
        second.close()
        signal.raise_signal(signal.SIGWINCH)
        assert heard == [1]
        signal.raise_signal(signal.SIGHUP)
        assert inbox.take() == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGWINCH, former)


def test_closed_for_good_it_leaves_a_process_that_no_signal_ends(inbox: Inbox) -> None:
    second = Inbox()
    second.install([signal.SIGHUP])
    second.close(for_good=True)
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert inbox.take() == []


def test_a_blocked_signal_is_delivered_afterwards(inbox: Inbox) -> None:
    with blocked():
        # To this thread: a runner may have others, which block nothing.
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        assert not inbox.received
    assert inbox.take() == [signal.SIGHUP]
