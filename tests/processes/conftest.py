"""Pools for the tests of this folder."""

from support.pool_fixtures import effects, shared, start_pool

__all__ = ["effects", "shared", "start_pool"]
