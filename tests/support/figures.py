"""What a test found out, said in a figure: shown with `-s`, published by `bench.attacks`."""

from collections.abc import Callable

import pytest

Publish = Callable[[str], None]


@pytest.fixture
def publish(request: pytest.FixtureRequest) -> Publish:
    def said(figure: str) -> None:
        print(figure)
        request.node.user_properties.append(("figure", figure))

    return said
