"""The names of our metrics, as the code that makes them has them."""

import re

from support.documents import ROOT

_MADE = re.compile(r"(?:Counter|Gauge|Histogram|GaugeMetricFamily)\(\s*\"(\w+)\"")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
# Prometheus's own, and what PromQL says besides names of metrics.
_NOT_OURS = re.compile(r"\{[^}]*\}|\"[^\"]*\"|\b(by|on|without) *\([^)]*\)|\bhistogram_quantile\b|\$__\w+|\[[^]]*\]")


def of_the_code() -> set[str]:
    """Every metric that web or pool can show."""
    return {
        name
        for file in ("app/metrics.py", "workerpool/metrics.py")
        for name in _MADE.findall((ROOT / file).read_text())
    }


def of_an_expression(expression: str) -> set[str]:
    """The metrics a PromQL expression asks for, `up` left out; of a histogram's series the histogram."""
    words = re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", _NOT_OURS.sub(" ", expression))
    return {_SUFFIX.sub("", word) if _SUFFIX.sub("", word) in of_the_code() else word for word in words}
