"""Requests per second, from counts that grow."""

from __future__ import annotations

import pytest

from watcherd.admin.rates import Rate, Rates
from watcherd.metrics import Metrics, Total


class Counted:
    """Counts and a clock that a test moves."""

    def __init__(self) -> None:
        self.moment = 100.0
        self.totals: dict[str, Total] = {}
        self.rates = Rates(lambda: dict(self.totals), lambda: self.moment)

    def after(self, seconds: float, **totals: Total) -> None:
        self.moment += seconds
        self.totals |= totals


def test_the_first_look_knows_no_rate() -> None:
    counted = Counted()
    assert counted.rates.now() is None
    counted.after(0.5, shop=Total(100))
    assert counted.rates.now() is None


def test_a_rate_is_what_was_counted_since_the_oldest_look() -> None:
    counted = Counted()
    counted.after(0, shop=Total(100, 10, 1), idle=Total(5))
    counted.rates.now()
    counted.after(4, shop=Total(140, 18, 3))
    assert counted.rates.now() == {"shop": Rate(10, 2, 0.5)}


def test_a_rate_is_about_the_last_seconds_only() -> None:
    counted = Counted()
    for _ in range(30):
        counted.rates.now()
        counted.after(2, shop=Total(counted.totals.get("shop", Total()).requests + 20))
    assert counted.rates.now() == {"shop": Rate(10)}
    assert len(counted.rates._looks) <= 8

    for _ in range(6):
        counted.after(2)
        last = counted.rates.now()
    assert last == {}


def test_after_a_long_time_that_nobody_looked_the_rate_is_that_of_the_time_between() -> None:
    counted = Counted()
    counted.rates.now()
    counted.after(1000, shop=Total(1000))
    assert counted.rates.now() == {"shop": Rate(1)}


def test_a_model_that_went_and_came_back_has_no_negative_rate() -> None:
    counted = Counted()
    counted.after(0, shop=Total(100))
    counted.rates.now()
    counted.after(2, shop=Total(4))
    assert counted.rates.now() == {"shop": Rate(2)}


def test_the_counts_know_who_was_wrong() -> None:
    metrics = Metrics()
    for status in (200, 201, 404, 422, 500):
        metrics.request_ended("shop", "GET /items", status, 0.01)
    metrics.request_ended("library", "GET /books", 200, 0.01)

    assert metrics.totals() == {"shop": Total(5, 2, 1), "library": Total(1)}


@pytest.mark.parametrize("one", [Rate(1, 0.5, 0.25)])
def test_rates_add_up(one: Rate) -> None:
    assert one + one == Rate(2, 1, 0.5)
