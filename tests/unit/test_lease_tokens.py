"""A lease token names one lease of one job, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.leases import fence_of, token_of

JOB = "01a200c6-e47b-72f2-a97e-1600febf64d7"
OTHER = "01a200c6-e47b-72f2-a97e-1600febf64d8"


@given(st.uuids(), st.integers(1, 10**18 - 1))
def test_a_token_gives_back_the_fence_it_was_made_of(job: object, fence: int) -> None:
    assert fence_of(str(job), token_of(str(job), fence)) == fence


def test_the_letters_of_an_id_do_not_matter() -> None:
    assert fence_of(JOB.upper(), token_of(JOB, 7)) == 7


def test_a_token_of_another_job_is_none_of_this_one() -> None:
    assert fence_of(JOB, token_of(OTHER, 7)) is None


@given(st.text(max_size=40))
def test_any_other_text_is_no_token(text: str) -> None:
    fence = fence_of(JOB, text)
    assert fence is None or text == token_of(JOB, fence)


def test_a_fence_has_one_spelling() -> None:
    check = token_of(JOB, 7).removeprefix("7")
    assert fence_of(JOB, f"7{check}") == 7
    for spelling in ("07", "+7", "-7", " 7", "7 ", "7.0", "7_0", "\uff17", "\u0667", "0", "", "1" * 19, "1" * 5000):
        assert fence_of(JOB, f"{spelling}{check}") is None
    for around in ("{}\n", "\n{}", "{} ", "{}x", "{}\x00"):
        assert fence_of(JOB, around.format(f"7{check}")) is None
    assert fence_of(JOB, f"7{check.upper()}") in (None, 7 if check == check.upper() else None)


@pytest.mark.parametrize("text", ["", "-", "7", "7-", "-00000000", "null", "true"])
def test_half_a_token_is_none(text: str) -> None:
    assert fence_of(JOB, text) is None
