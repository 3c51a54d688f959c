"""The extractive summary: deterministic, bounded, and of any language."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.handlers import a_run

from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.summarize_text import split_sentences, summarize_text
from workerpool.outcomes import Cancelled

ARTICLE = """
The job queue keeps its jobs in PostgreSQL tables. Lunch was served at noon. Workers claim jobs from the queue under a
lease, and a lease that expires gives the job back to the queue. Jobs that fail are retried by the queue with a growing
delay. My neighbour owns a red bicycle. When a worker dies, the queue returns its jobs to other workers at once.
"""


def summary(text: str, **options: int) -> dict[str, object]:
    payload = load().check("summarize_text", {"text": text, **options})
    found = summarize_text(payload, a_run().context)
    assert isinstance(found, dict)
    return found


def test_the_sentences_that_say_most_are_chosen_and_the_odd_ones_are_not() -> None:
    found = summary(ARTICLE)
    assert found["method"] == "textrank"
    assert len(found["sentences"]) == 3  # type: ignore[arg-type]
    assert "Lunch" not in str(found["summary"])
    assert "bicycle" not in str(found["summary"])


def test_the_sentences_stand_in_the_order_of_the_text() -> None:
    positions = [" ".join(ARTICLE.split()).index(each) for each in summary(ARTICLE, sentences=4)["sentences"]]  # type: ignore[attr-defined]
    assert positions == sorted(positions)
    assert len(positions) == 4


def test_the_same_text_gives_the_same_summary() -> None:
    assert summary(ARTICLE) == summary(ARTICLE)


def test_the_order_of_python_sets_changes_nothing() -> None:
    words = [f"word{number}" for number in range(60)]
    chance = random.Random(3)
    text = ". ".join(" ".join(chance.choices(words, k=12)) for _ in range(40)) + "."
    chosen = summary(text, sentences=5)["sentences"]
    assert all(summary(text, sentences=5)["sentences"] == chosen for _ in range(3))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Pi is 3.14. See example.org. Done.", ["Pi is 3.14.", "See example.org.", "Done."]),
        ("It took approx. five minutes. Good.", ["It took approx. five minutes.", "Good."]),
        ('He said "Stop." She did.', ['He said "Stop."', "She did."]),
        ("A heading\n\nA paragraph\nover two lines.", ["A heading", "A paragraph over two lines."]),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("هل هذا سؤال؟ نعم هذا جواب.", ["هل هذا سؤال؟", "نعم هذا جواب."]),
        ("Wait... what? Yes!!! No", ["Wait... what?", "Yes!!!", "No"]),
        ("", []),
        ("   \n\n \t ", []),
        ("...", ["..."]),
        ("😀 😀. 😀", ["😀 😀.", "😀"]),
    ],
)
def test_a_text_is_split_where_its_script_ends_a_sentence(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_sentence_without_end_is_cut_at_spaces() -> None:
    parts = split_sentences("word " * 1000)
    assert all(len(part) <= 1000 and set(part.split()) == {"word"} for part in parts)
    assert " ".join(parts).split() == ["word"] * 1000


def test_a_sentence_said_twice_is_chosen_once() -> None:
    chosen = summary("The queue holds jobs. Workers take jobs. The queue holds jobs. The queue holds jobs.")[
        "sentences"
    ]
    assert chosen == ["The queue holds jobs.", "Workers take jobs."]


def test_a_text_shorter_than_the_summary_is_its_own_summary() -> None:
    assert summary("Only this.", sentences=20)["sentences"] == ["Only this."]


@given(st.text(max_size=400))
def test_any_unicode_text_has_a_summary_made_of_its_own_words(text: str) -> None:
    found = summarize_text({"text": text, "sentences": 3}, a_run().context)
    assert set(found["summary"].split()) <= set(text.split()) | set("".join(text.split()))
    assert len(found["sentences"]) <= 3


MIB = 1 << 20
HOSTILE = {
    "a megabyte of prose": "".join(
        f"Sentence {n} says that thing {n % 97} follows thing {n % 89}. " for n in range(21_000)
    ),
    "no sentence end": " ".join(f"w{n}" for n in range(160_000)),
    "no space": "x" * MIB,
    "only dots": "." * MIB,
    "dots and quotes": '."' * (MIB // 2),
    "dots, then quotes": "." * (MIB // 2) + '"' * (MIB // 2),
    "line ends": "\n " * (MIB // 2),
    "short sentences": "a. " * (MIB // 3),
    "all words in all sentences": ("the same words stand in every sentence of this text " * 15 + ". ") * 1300,
    "a script without spaces": "要約する文章はここにあります。" * 25_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_mebibyte_of_anything_is_done_in_seconds(text: str) -> None:
    started = time.monotonic()
    found = summarize_text({"text": text[:MIB], "sentences": 20}, a_run().context)
    assert time.monotonic() - started < 5
    assert len(found["summary"]) <= 20 * 1001


def test_a_cancelled_run_ends_at_its_next_step() -> None:
    looks = iter([False, False, True])
    with pytest.raises(Cancelled):
        summarize_text({"text": ARTICLE}, a_run(is_cancelled=lambda: next(looks)).context)


def test_progress_ends_at_a_hundred() -> None:
    run = a_run()
    summarize_text({"text": ARTICLE}, run.context)
    percents = [report["percent"] for report in run.reports]
    assert percents == sorted(percents)
    assert percents[-1] == 100


@pytest.mark.parametrize(
    "payload",
    [{}, {"text": ""}, {"text": None}, {"text": 5}, {"text": "a", "sentences": 0}, {"text": "a", "sentences": 21}]
    + [{"text": "a", "sentences": wrong} for wrong in (True, "3", 1.0, -1, [])]
    + [{"text": "a", "more": 1}, {"text": "a\x00b"}],
)
def test_a_payload_of_another_shape_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(PayloadInvalid):
        load().check("summarize_text", payload)


def test_null_means_the_default() -> None:
    assert len(summary(ARTICLE, sentences=None)["sentences"]) == 3  # type: ignore[arg-type]
