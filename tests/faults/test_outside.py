"""Receivers and mail servers that fail: what they took comes again only when their word for it was lost."""

import random

from faults.harness import history, outside
from faults.harness.arena import Arena
from faults.harness.history import faultless

WEBHOOKS, MAILS = 16, 8


def test_a_webhook_comes_again_only_after_a_failure_and_then_under_the_same_id(arena: Arena) -> None:
    figures = faultless(outside.webhooks(arena, WEBHOOKS, random.getrandbits(32)), without=history.OF_EFFECTS)
    print(figures)
    assert figures["not_delivered"] == figures["repeated_without_a_reason"] == 0
    assert figures["ids_or_bodies_that_changed"] == 0
    assert figures["repeated"] > 0


def test_a_mail_comes_twice_only_where_its_server_hung_up_after_the_dot_and_under_the_same_id(arena: Arena) -> None:
    figures = faultless(outside.mails(arena, MAILS, random.getrandbits(32)), without=history.OF_EFFECTS)
    print(figures)
    assert figures["not_sent"] == figures["received_twice_without_a_reason"] == 0
    assert figures["message_ids_that_changed"] == 0
