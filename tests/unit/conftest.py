"""What tests without a database and without a fork share."""

from collections.abc import Iterator

import pytest
from support.listener import Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener on a loopback port."""
    made = Listener()
    yield made
    made.close()
