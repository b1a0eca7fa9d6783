"""The response cache on the Prometheus page."""

from prometheus_client.parser import text_string_to_metric_families

from server.engines.embedded.answers.remembered_answers import RememberedAnswers
from server.telemetry.metrics import Metrics
from server.telemetry.response_cache_metrics import response_cache_levels


def page(facts):
    metrics = Metrics()
    metrics.watch(response_cache_levels(lambda: facts))
    body, _ = metrics.page()
    return {
        family.name: sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if "response_cache" in family.name
    }


def test_every_figure_of_the_cache_is_a_metric():
    facts = RememberedAnswers(512).facts()
    assert page({"response_cache": facts}) == {
        f"roundhouse_response_cache_{name}": float(value) for name, value in facts.items()
    }


def test_an_engine_without_a_cache_has_no_such_metrics():
    assert page({"response_cache": None}) == page({"kind": "triton"}) == {}
