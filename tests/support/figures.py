"""What a test found out, said in a figure: shown with `-s`, published by `bench.attacks`."""

from collections.abc import Callable

import pytest

Publish = Callable[[str], None]


@pytest.fixture
def publish(record_property: Callable[[str, object], None]) -> Publish:
    def said(figure: str) -> None:
        print(figure)
        record_property("figure", figure)

    return said
