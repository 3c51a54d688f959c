"""The pooler between the service and PostgreSQL fails, and that costs nothing."""

from pathlib import Path

import pytest
from faults.harness import pooler
from faults.harness.clients import sound


@pytest.mark.needs_pgbouncer
def test_nothing_is_lost_and_nobody_exits_when_pgbouncer_is_killed_paused_and_reloaded(folder: Path) -> None:
    with pooler.behind_a_pooler(folder) as (service, bouncer):
        figures = sound(pooler.ill(service, bouncer, rounds=1, seed=1))
    print(figures)
    assert figures["unavailable"] > 0
