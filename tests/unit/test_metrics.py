"""Metrics: what is counted, in which format, and that no client can make labels without bound."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.test_gateway import Client, a_gateway, a_revision, host
from watcherd import events
from watcherd.gateway import Gateway
from watcherd.metrics import Histogram, Metrics, State
from watcherd.problems import NO_SUCH_MODEL, NO_SUCH_PATH, Problem
from watcherd.wire import Answer, Call


async def rendered(metrics: Metrics, state: State | None = None) -> dict[tuple[str, ...], float]:
    """(name of the sample, its label values in order of label name) -> value."""
    text, content_type = await metrics.render("", state or State())
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def counted(samples: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """(model, operation, status) -> requests."""
    return {key[1:]: value for key, value in samples.items() if key[0] == "watcherd_request_seconds_count"}


async def shows_items(call: Call) -> Answer:
    if call.segments and call.segments[0] == "items":
        call.template = "/items/{id}"
        return Answer(200)
    raise Problem(NO_SUCH_PATH, "nothing here")


def a_counting_gateway(metrics: Metrics) -> Gateway:
    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(NO_SUCH_MODEL, name),
        metrics=metrics,
    )
    gateway.host = host
    gateway.swap(a_gateway(a_revision(shows_items, domain="my-shop")).table)
    return gateway


async def test_requests_are_counted_by_model_operation_and_status_and_random_paths_have_one_label() -> None:
    metrics = Metrics()
    gateway = a_counting_gateway(metrics)
    for number in range(20):
        await Client(f"/api/my_shop/items/{number}").call(gateway)
        await Client(f"/api/my-shop/{number}/x").call(gateway)
        await Client(f"/api/none{number}/items").call(gateway)
        await Client(f"/elsewhere/{number}").call(gateway)
        await Client("/api/my-shop/items/1", method=f"INVENT{number}").call(gateway)

    assert counted(await rendered(metrics)) == {
        ("my-shop", "GET /items/{id}", "200"): 20,
        ("my-shop", "-", "404"): 20,
        ("my-shop", "-", "200"): 20,  # methods that do not exist
        ("-", "-", "404"): 20,
        ("-", "-", "200"): 20,
    }


async def test_the_labels_of_an_unloaded_model_go_once_its_last_request_has_ended() -> None:
    metrics = Metrics()
    metrics.heard(events.ModelLoaded("my-shop", 1, 1, "shop.yaml", 3))
    metrics.request_ended("my-shop", "GET /items", 200, 0.01)
    metrics.heard(events.ModelUnloaded("my-shop", 2, "admin"))
    metrics.request_ended("my-shop", "GET /items", 200, 0.01)
    assert counted(await rendered(metrics)) == {("my-shop", "GET /items", "200"): 2}

    metrics.heard(events.ModelDrained("my-shop", 1, 0.1))

    assert not counted(await rendered(metrics))


async def test_a_swapped_model_keeps_its_labels_and_one_that_is_spelled_anew_gets_new_ones() -> None:
    metrics = Metrics()
    metrics.heard(events.ModelLoaded("my-shop", 1, 1, "shop.yaml", 3))
    metrics.request_ended("my-shop", "GET /items", 200, 0.01)
    metrics.heard(events.ModelSwapped("my-shop", 2, 2, "shop.yaml", 3))
    metrics.heard(events.ModelDrained("my-shop", 1, 0.1))
    assert counted(await rendered(metrics)) == {("my-shop", "GET /items", "200"): 1}

    metrics.heard(events.ModelSwapped("my_shop", 3, 3, "shop.yaml", 3))

    assert not counted(await rendered(metrics))


async def test_reloads_are_counted_by_stage_and_outcome() -> None:
    metrics = Metrics()
    metrics.heard(events.ReloadStarted("event", 1))
    metrics.heard(events.ReloadFinished("event", 2, 1, 0, 0, 0, 4.0, {"read": 1.0, "compile": 2.0}))
    metrics.heard(events.ReloadFinished("event", 2, 0, 0, 0, 1, 4.0, {"read": 1.0}))
    metrics.heard(events.ReloadFailed("event", "disk full", 7.0))
    samples = await rendered(metrics)

    assert {key[1:]: value for key, value in samples.items() if key[0] == "watcherd_reload_seconds_count"} == {
        ("changed", "all"): 1,
        ("changed", "read"): 1,
        ("changed", "compile"): 1,
        ("rejected", "all"): 1,
        ("rejected", "read"): 1,
        ("failed", "all"): 1,
    }
    assert samples["watcherd_watch_changes_total", "event"] == 1
    assert samples["watcherd_reload_seconds_sum", "changed", "compile"] == 0.002


async def test_what_can_be_looked_up_is_shown_as_it_is_and_what_never_happened_is_left_out() -> None:
    samples = await rendered(
        Metrics(),
        State(
            generation=7,
            revisions={"shop": 3},
            in_flight={"shop": 2, "-": 1},
            draining={"shop": 1},
            rejected=4,
            watch_last_event=1.5,
            database_waiting=5,
            database_waiting_max=10,
        ),
    )

    assert samples["watcherd_generation",] == 7
    assert samples["watcherd_revisions_live",] == 1
    assert samples["watcherd_model_revision", "shop"] == 3
    assert samples["watcherd_requests_in_flight", "shop"] == 2
    assert samples["watcherd_revisions_draining", "shop"] == 1
    assert samples["watcherd_models_rejected",] == 4
    assert samples["watcherd_watch_last_event_timestamp_seconds",] == 1.5
    assert ("watcherd_watch_last_reconcile_timestamp_seconds",) not in samples
    assert samples["watcherd_database_waiting",] == 5
    assert samples["process_open_fds",] > 0


async def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    text, content_type = await Metrics().render("application/openmetrics-text; version=1.0.0", State())

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_histogram_counts_each_value_in_its_bucket_and_all_above() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 9.0):
        histogram.observe(value)

    assert histogram.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]


async def test_every_metric_has_a_name_and_a_help_text_as_prometheus_wants_them() -> None:
    text, _ = await Metrics().render("", State())
    for name in re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE):
        assert re.fullmatch(r"(watcherd|process|python)_[a-z0-9_]+", name)
        assert re.search(rf"^# HELP {name} \S", text.decode(), re.MULTILINE)
