"""`summarize_text`: the sentences of a text that say most of it, in their order. Nothing is written, only chosen.

The method is TextRank: R. Mihalcea and P. Tarau, "TextRank: Bringing Order into Texts", EMNLP 2004. Sentences are the
nodes of a graph, an edge weighs the words two sentences share over the logarithms of their lengths, and PageRank's
power iteration over it ranks them. Ties go to the earlier sentence, so the same text gives the same summary always.

Ours, to work on any language without data of its own: a word is a run of letters and digits, or a single character
of a script that writes without spaces; words in more than half of the sentences count as stop words.

Time is bounded by what is looked at: of a text of more than 400 sentences, 400 spread evenly over it; of a sentence,
its first 1,000 characters, the rest standing as sentences of their own.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from workerpool.context import Context
from workerpool.kinds.payload import PayloadSchema, whole_number
from workerpool.kinds.payload import text as text_field
from workerpool.kinds.registry import kind

METHOD: Final = "textrank"
DEFAULT_SENTENCES: Final = 3
MOST_CONSIDERED: Final = 400

_LONGEST_SENTENCE: Final = 1_000
_DAMPING: Final = 0.85
_ITERATIONS: Final = 30
_CLOSE_ENOUGH: Final = 1e-6

# Where a sentence may end. Each alternative starts at the first mark of a run, so that a megabyte of dots is read once.
_END: Final = re.compile(
    r"""(?<![.!?…])[.!?…]+["'»”’)\]]*(?=\s) | [。！？｡।॥۔؟։။៕]+["'»”’)）」』\]]* | \n\s*\n""",  # noqa: RUF001
    re.VERBOSE,
)
_WORD: Final = re.compile(r"\w+")
# Scripts written without spaces: one character is the nearest thing to a word that a pattern can find.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
)
# With fewer sentences than this, "in more than half of them" says nothing about a word.
_ENOUGH_FOR_STOP_WORDS: Final = 8


class SummarizeText(PayloadSchema):
    """`text` required, not empty; `sentences` 1 to 20 (default 3)."""

    text = text_field(shortest=1, required=True)
    sentences = whole_number(1, 20, load_default=None, allow_none=True)


@kind("summarize_text", payload=SummarizeText)
def summarize_text(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """The result is `{"summary": text, "sentences": [text], "method": "textrank"}`."""
    # A sentence said twice would be chosen twice.
    found = list(dict.fromkeys(split_sentences(payload["text"])))
    considered = _spread(found, MOST_CONSIDERED)
    context.progress({"percent": 20, "step": f"{len(considered)} of {len(found)} sentences"})
    scores = ranks(considered, context)
    best = sorted(range(len(considered)), key=lambda index: (-scores[index], index))
    chosen = [considered[index] for index in sorted(best[: payload.get("sentences") or DEFAULT_SENTENCES])]
    context.progress({"percent": 100, "step": "done"})
    return {"summary": " ".join(chosen), "sentences": chosen, "method": METHOD}


def split_sentences(whole: str) -> list[str]:
    """The sentences of `whole`, white space inside them made single, none longer than 1,000 characters."""
    pieces: list[str] = []
    start = 0
    for found in _END.finditer(whole):
        # "approx. five" and "e.g. this" go on: after a full stop a small letter does not begin a sentence.
        if found[0].startswith(".") and whole[found.end() : found.end() + 2].strip()[:1].islower():
            continue
        pieces.append(whole[start : found.end()])
        start = found.end()
    pieces.append(whole[start:])
    return [part for piece in pieces for part in _bounded(" ".join(piece.split()))]


def ranks(sentences: list[str], context: Context) -> list[float]:
    """The TextRank score of each sentence. Raises Cancelled between steps."""
    words = [_words(sentence) for sentence in sentences]
    edges = _graph(words, context)
    strength = [sum(row.values()) for row in edges]
    count = len(sentences)
    scores = [1.0] * count
    for _ in range(_ITERATIONS):
        context.check_cancelled()
        passed_on = [score / total if total else 0.0 for score, total in zip(scores, strength, strict=True)]
        new = [
            1 - _DAMPING + _DAMPING * math.fsum(weight * passed_on[other] for other, weight in row.items())
            for row in edges
        ]
        change = max((abs(a - b) for a, b in zip(new, scores, strict=True)), default=0.0)
        scores = new
        if change < _CLOSE_ENOUGH:
            break
    # Rounded so that the last bit of a sum does not decide between sentences that are equal.
    return [round(score, 6) for score in scores]


def _graph(words: list[set[str]], context: Context) -> list[dict[int, float]]:
    """For each sentence its neighbours and the weights of the edges to them."""
    count = len(words)
    occurs: dict[str, int] = {}
    for each in words:
        for word in each:
            occurs[word] = occurs.get(word, 0) + 1
    most = count / 2 if count >= _ENOUGH_FOR_STOP_WORDS else count
    numbered = {word: bit for bit, word in enumerate(w for w, n in occurs.items() if 2 <= n <= most)}
    # One big integer per sentence, a bit per word: comparing two sentences is one AND, 80,000 pairs some 50 ms.
    masks = [sum(1 << numbered[word] for word in each if word in numbered) for each in words]
    lengths = [math.log(1 + len(each)) for each in words]
    edges: list[dict[int, float]] = [{} for _ in words]
    for one in range(count):
        context.check_cancelled()
        for other in range(one + 1, count):
            shared = (masks[one] & masks[other]).bit_count()
            if shared:
                edges[one][other] = edges[other][one] = shared / (lengths[one] + lengths[other])
    return edges


def _words(sentence: str) -> set[str]:
    spaced = _UNSPACED.sub(r" \g<0> ", sentence.casefold())
    return set(_WORD.findall(spaced))


def _bounded(sentence: str) -> list[str]:
    parts: list[str] = []
    start = 0
    while len(sentence) - start > _LONGEST_SENTENCE:
        space = sentence.rfind(" ", start + 1, start + _LONGEST_SENTENCE + 1)
        end = space if space > 0 else start + _LONGEST_SENTENCE
        parts.append(sentence[start:end])
        start = end + (sentence[end] == " ")
    if start < len(sentence):
        parts.append(sentence[start:])
    return parts


def _spread(sentences: list[str], most: int) -> list[str]:
    count = len(sentences)
    if count <= most:
        return sentences
    return [sentences[index * count // most] for index in range(most)]
