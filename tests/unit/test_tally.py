"""What the workers count in batches is what they would have counted one by one."""

import random

from prometheus_client import CollectorRegistry, Histogram

from workerpool import metrics

BOUNDS = (0.001, 0.02, 0.5, 1, 60)


def _samples(histogram: Histogram) -> list[tuple[str, str, float]]:
    (family,) = histogram.collect()
    return [
        (sample.name, sample.labels.get("le", ""), sample.value)
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def test_many_observations_at_once_are_the_same_as_one_by_one() -> None:
    chance = random.Random(4)
    amounts = [*BOUNDS, 0.0, 61.0, *(chance.expovariate(0.3) for _ in range(500))]
    at_once, one_by_one = (
        Histogram("seconds", "Seconds.", buckets=BOUNDS, registry=CollectorRegistry()) for _ in range(2)
    )
    metrics.observe_all(at_once, amounts)
    for amount in amounts:
        one_by_one.observe(amount)
    *counted, (name, _, total) = _samples(at_once)
    *expected, (_, _, true_total) = _samples(one_by_one)
    assert counted == expected
    assert (name, round(total, 6)) == ("seconds_sum", round(true_total, 6))


def test_a_tally_is_written_once() -> None:
    def started() -> float:
        return metrics.jobs_started.labels("tallied")._value.get()

    def completed() -> float:
        return metrics.jobs_completed.labels("tallied", "succeeded")._value.get()

    before = started(), completed()
    tally = metrics.Tally()
    for _ in range(3):
        tally.ran("tallied", 0.1, 0.2)
        tally.completed(["tallied"], "succeeded")
    assert (started(), completed()) == before
    tally.write()
    tally.write()
    assert (started(), completed()) == (before[0] + 3, before[1] + 3)
