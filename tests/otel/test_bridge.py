"""The bridge to OpenTelemetry, with the real SDK: metrics, spans and links."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    Event,
    EventKind,
    Limits,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
)
from batcher.otel import OpenTelemetry
from tests.api import Api, gather

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
POISON = "hunter2-in-the-payload"


class Telemetry:
    """Providers that keep in memory what they are given."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracers.get_tracer("application")

    def bridge(self, **arguments: Any) -> OpenTelemetry:
        return OpenTelemetry(self.meters, self.tracers, **arguments)

    def collect(self) -> dict[str, Any]:
        """Return the metrics by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Return the points of a metric by the values of their attributes; a histogram's as count and sum."""
        metric = self.collect().get(name)
        return {
            tuple(point.attributes.values()): (point.count, point.sum) if hasattr(point, "count") else point.value
            for point in (metric.data.data_points if metric else ())
        }

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans of batches that have ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == "batcher.batch"]

    async def submit_in_span(self, batcher: Batcher[Any, Any], record: Any, contexts: list[Any]) -> Any:
        with self.tracer.start_as_current_span("request") as span:
            contexts.append(span.get_span_context())
            return await batcher.submit(record)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def linked(span: ReadableSpan) -> set[tuple[int, int]]:
    return set(map(ids, (link.context for link in span.links)))


def ids(context: Any) -> tuple[int, int]:
    return context.trace_id, context.span_id


async def test_the_figures_add_up(telemetry):
    """Records, outcomes, retries, sizes, reasons and times: those that the script implies, and no others."""
    api = Api(["x", Retry("429", after=7), ValueError(), "y"], list, ConnectionError(), seconds=2)
    policy = AutoBatchPolicy(max_delay=1)
    async with Batcher(api, on_event=telemetry.bridge(), size_of=len, auto_batch=policy) as batcher:
        for record in ("a", "bb", "ccc", "d"):
            batcher.submit_nowait(record)
        await anyio.sleep(20)
        await batcher.submit_all(["dddd"])
        statistics = batcher.statistics()

    assert telemetry.points("batcher.records") == {("written",): 3, ("rejected",): 1, ("unknown",): 1}
    assert sum(telemetry.points("batcher.records").values()) == statistics.settled == statistics.accepted
    assert telemetry.points("batcher.retries") == {(): 1}
    assert telemetry.points("batcher.calls") == {("delay",): 1, ("retry",): 1, ("submit_all",): 1}
    records = {("delay",): (1, 4), ("retry",): (1, 1), ("submit_all",): (1, 1)}
    assert telemetry.points("batcher.batch.records") == records
    assert telemetry.points("batcher.batch.size") == {("delay",): (1, 7), ("retry",): (1, 2), ("submit_all",): (1, 4)}
    assert telemetry.points("batcher.call.duration") == {(): (2, 4), ("ConnectionError",): (1, 2)}
    waited = telemetry.points("batcher.queue.duration")
    assert (waited["delay",], waited["submit_all",]) == ((1, 1), (1, 0))
    assert waited["retry",][1] >= 1 + 2 + 7


async def test_sizes_that_nobody_counts_are_not_measured(telemetry):
    """A histogram full of zeros would say that records are empty."""
    async with Batcher(Api(), on_event=telemetry.bridge()) as batcher:
        await batcher.submit("a")
    assert telemetry.points("batcher.batch.size") == {}
    assert "batcher.batch.size" not in telemetry.spans[0].attributes


async def test_a_batch_has_a_span_with_links_to_its_submitters(telemetry):
    """Three requests, three links. It is nobody's child, not even of the request that filled it."""
    contexts: list[Any] = []
    policy = AutoBatchPolicy(max_records=3, max_delay=60)
    async with Batcher(Api(["x", ValueError(), "z"]), on_event=telemetry.bridge(), auto_batch=policy) as batcher:
        await gather(*(partial(telemetry.submit_in_span, batcher, n, contexts) for n in range(3)))

    (span,) = telemetry.spans
    assert len(contexts) == len(span.links) == 3
    assert linked(span) == set(map(ids, contexts))
    assert span.parent is None
    assert span.context.trace_id not in {context.trace_id for context in contexts}
    assert span.kind is trace.SpanKind.CLIENT
    assert span.start_time <= span.end_time
    assert span.status.status_code is trace.StatusCode.UNSET
    assert dict(span.attributes) == {
        "batcher.batch.records": 3,
        "batcher.queue.duration": 0.0,
        "batcher.flush_reason": "records",
        "batcher.outcome.written": 2,
        "batcher.outcome.rejected": 1,
        "batcher.codes": ("ValueError",),
    }


async def test_only_a_span_that_is_sampled_is_linked(telemetry):
    """What was submitted in no span, or in one that nobody will see, has no link; nor is the batch its child."""
    unseen = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("application")
    contexts: list[Any] = []
    async with Batcher(Api(), on_event=telemetry.bridge(), auto_batch=AutoBatchPolicy(max_records=3)) as batcher:
        batcher.submit_nowait("a")
        with unseen.start_as_current_span("request"):
            batcher.submit_nowait("b")
        await telemetry.submit_in_span(batcher, "c", contexts)
    (span,) = telemetry.spans
    assert linked(span) == set(map(ids, contexts))
    assert span.parent is None


async def test_every_attempt_has_its_span_and_all_lead_to_the_submitter(telemetry):
    """A call that failed as a whole is an error, by the name of what was raised and no word more."""
    contexts: list[Any] = []
    api = Api(Retry(ConnectionError(POISON)), list)
    async with Batcher(api, on_event=telemetry.bridge()) as batcher:
        await telemetry.submit_in_span(batcher, "a", contexts)
    failed, again = telemetry.spans
    assert linked(failed) == linked(again) == set(map(ids, contexts))
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.status.description is None
    assert (failed.attributes["error.type"], failed.attributes["batcher.retried"]) == ("ConnectionError", 1)
    assert again.status.status_code is trace.StatusCode.UNSET
    assert again.attributes["batcher.flush_reason"] == "retry"


async def test_spans_of_the_call_itself_are_children_of_the_batch(telemetry):
    """Such as those of an HTTP client: each of its own batch, with several out at once, and none afterwards."""
    tracer, left_over = telemetry.tracer, []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        with tracer.start_as_current_span(f"http {key}"):
            await anyio.sleep(key)
        if key == 2:
            raise ConnectionError
        return records

    class Beside:
        def __call__(self, event: Event) -> None:
            if event.kind is EventKind.ANSWERED:
                left_over.append(trace.get_current_span())

    bridge = telemetry.bridge(lane_label=str)
    async with Batcher(write, on_event=[Beside(), bridge], auto_batch=NOW) as batcher:
        await gather(*(partial(batcher.submit, "a", key=key) for key in (1, 2, 3)))
        await batcher.submit("b", key=4)
    children = {span.name: span for span in telemetry._exporter.get_finished_spans() if span.name.startswith("http")}
    assert len(children) == len(telemetry.spans) == 4
    for span in telemetry.spans:
        child = children[f"http {span.attributes['batcher.lane']}"]
        assert ids(child.parent) == ids(span.context)
        assert span.events == ()
    assert left_over == [trace.INVALID_SPAN] * 4


async def test_spans_of_a_question_are_children_of_its_batch(telemetry):
    """A call that asks what became of records is a call like any other, with the span of its own batch around it."""
    tracer = telemetry.tracer

    async def write(key: Any, records: list[Any]) -> list[Any]:
        with tracer.start_as_current_span("http write"):
            await anyio.sleep(1)
        return [Unknown("lost")] * len(records)

    async def verify(key: Any, records: list[Any]) -> list[Any]:
        with tracer.start_as_current_span("http verify"):
            await anyio.sleep(1)
        return records

    retry = RetryPolicy(on_unknown="verify")
    async with Batcher(write, verify=verify, retry=retry, on_event=telemetry.bridge(), auto_batch=NOW) as batcher:
        assert await batcher.submit("a") == "a"
    children = {span.name: span for span in telemetry._exporter.get_finished_spans() if span.name.startswith("http")}
    first, question = telemetry.spans
    assert question.attributes["batcher.flush_reason"] == "verify"
    assert ids(children["http write"].parent) == ids(first.context)
    assert ids(children["http verify"].parent) == ids(question.context)


async def test_the_span_of_a_call_that_is_cut_off_ends(telemetry):
    """When the batcher ends before its answer has come."""
    limits = Limits(shutdown_timeout=3)
    async with Batcher(Api(seconds=60), on_event=telemetry.bridge(), limits=limits, auto_batch=NOW) as batcher:
        batcher.submit_nowait("a")
        await anyio.sleep(1)
    (span,) = telemetry.spans
    assert (span.attributes["error.type"], span.attributes["batcher.outcome.unknown"]) == ("BatcherClosed", 1)
    assert telemetry.points("batcher.records") == {("unknown",): 1}


async def test_batchers_that_share_a_bridge_do_not_mix_their_spans(telemetry):
    """Calls that are out at the same time end their own."""
    bridge = telemetry.bridge()
    slow, fast = Api(ConnectionError(), seconds=5), Api(seconds=1)
    async with Batcher(slow, on_event=bridge) as one, Batcher(fast, on_event=bridge) as other:
        await gather(partial(one.submit_all, ["a"] * 2), partial(other.submit_all, ["b"] * 3))
    ended = [(span.attributes["batcher.batch.records"], span.status.is_ok) for span in telemetry.spans]
    assert ended == [(3, True), (2, False)]


async def test_outcomes_that_a_cancelled_caller_did_not_see_are_counted(telemetry):
    """Next to the record's own count."""
    async with Batcher(Api(seconds=2), on_event=telemetry.bridge(), auto_batch=NOW) as batcher:
        with anyio.move_on_after(1):
            await batcher.submit("a")
    assert telemetry.points("batcher.detached") == {("written",): 1}
    assert telemetry.points("batcher.records") == {("written",): 1}


def test_breakers_that_move_are_counted(telemetry):
    """By what they guard and what they have become; the destination has no lane."""
    bridge = telemetry.bridge(lane_label=str.upper)  # which None would not survive
    for state in ("open", "half_open", "open"):
        bridge(Event(kind=EventKind.BREAKER, key="contacts", scope="lane", state=state))
    bridge(Event(kind=EventKind.BREAKER, scope="destination", state="closed"))
    assert telemetry.points("batcher.breaker.transitions") == {
        ("CONTACTS", "lane", "open"): 2,
        ("CONTACTS", "lane", "half_open"): 1,
        ("destination", "closed"): 1,
    }


async def test_lanes_are_named_only_by_label_and_only_so_many(telemetry):
    """The first hundred labels count, and whoever comes later shares one; several lanes may share one, too."""
    bridge = telemetry.bridge(lane_label=lambda key: f"tenant {key // 2}", name="crm")
    async with Batcher(Api(), on_event=bridge, auto_batch=NOW) as batcher:
        await gather(*(partial(batcher.submit, "a", key=key) for key in range(240)))
    records = telemetry.points("batcher.records")
    assert records.pop(("crm", "other", "written")) == 40
    assert list(records.values()) == [2] * 100
    assert len(telemetry.points("batcher.queue.duration")) == 101
    assert {span.attributes["batcher.name"] for span in telemetry.spans} == {"crm"}
    assert len({span.attributes["batcher.lane"] for span in telemetry.spans}) == 101


async def test_why_a_call_was_sent_back_is_in_its_span_and_in_no_metric(telemetry):
    """The words have no bound: each value of a label would be a series for ever."""
    api = Api(*(Retry(f"429 number {n}") for n in range(3)))
    async with Batcher(api, on_event=telemetry.bridge(), auto_batch=NOW) as batcher:
        await batcher.submit_all(["a"])
    causes = [span.attributes.get("batcher.cause") for span in telemetry.spans]
    assert causes == ["429 number 0", "429 number 1", "429 number 2", None]
    assert telemetry.points("batcher.call.duration")["Retry",][0] == 3
    assert not [metric for metric in telemetry.collect().values() if "number" in metric.to_json()]


async def test_names_of_failures_are_bounded(telemetry):
    """A destination that makes up classes of exceptions costs no more than twenty values."""
    api = Api(*(type(f"Error{n}", (Exception,), {})() for n in range(30)))
    async with Batcher(api, on_event=telemetry.bridge(), auto_batch=NOW) as batcher:
        for _ in range(30):
            await batcher.submit_all(["a"])
    durations = telemetry.points("batcher.call.duration")
    assert (len(durations), durations["Error0",][0], durations["_OTHER",][0]) == (21, 1, 10)


@pytest.mark.parametrize("label", [lambda key: 1 / 0, lambda key: 7], ids=["raises", "no string"])
async def test_a_lane_label_that_fails_harms_nobody(telemetry, label, caplog):
    """The event is lost, and logged; the records are not."""
    async with Batcher(Api(), on_event=telemetry.bridge(lane_label=label)) as batcher:
        assert await batcher.submit("a") == "a"
    assert "ZeroDivisionError" in caplog.text or "lane_label must return a string, not int" in caplog.text
    assert telemetry.collect() == {}


async def test_p13_no_payload_and_no_key_leaves_by_telemetry(telemetry):
    """Not of the record, the provider's words, an exception's or the lane's: in metrics, spans, links and all."""
    rejected = Rejected(ErrorDetail(POISON, code="BAD"))
    api = Api([rejected, Retry(OSError(POISON)), Unknown(POISON), POISON], Retry(OSError(POISON)), RuntimeError(POISON))
    bridge = telemetry.bridge()
    async with Batcher(api, on_event=bridge, auto_batch=NOW) as batcher:
        bridge.watch(batcher)
        await batcher.submit_all([POISON] * 4, key=POISON)
        await batcher.submit_all([POISON], key=POISON, all_or_none=True)
        shown = [metric.to_json() for metric in telemetry.collect().values()]
        shown += [span.to_json() for span in telemetry.spans]
    assert len(shown) > 10
    assert "BAD" in "".join(shown)
    assert POISON not in "".join(shown)


async def test_without_an_sdk_nothing_happens_and_nothing_is_captured():
    """The application decides whether to collect anything; until then the global providers take it all for nothing."""
    bridge = OpenTelemetry()
    async with Batcher(Api(), on_event=bridge) as batcher:
        bridge.watch(batcher)
        assert await batcher.submit("a") == "a"
    assert bridge.capture() is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"lane_label": "tenant"}, "lane_label"),
        ({"name": 7}, "name"),
        ({"meter_provider": "crm"}, "meter_provider"),
        ({"tracer_provider": 7}, "tracer_provider"),
    ],
    ids=["lane_label", "name", "meter_provider", "tracer_provider"],
)
def test_wrong_arguments_are_named(arguments, name):
    """When the bridge is made, not when the first event comes."""
    with pytest.raises(TypeError, match=f"^{name} must be"):
        OpenTelemetry(**arguments)


def test_without_the_package_the_error_names_the_extra():
    """Whoever imports the bridge learns what to install; the library itself does not need it."""
    code = "import sys; sys.modules['opentelemetry'] = None; import batcher; print('fine'); import batcher.otel"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == "fine\n"
    assert result.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: batcher.otel needs the extra 'otel': "
        "pip install 'saas-batcher[otel]', or '.[otel]' in a clone"
    )


async def test_the_readme_lists_the_metrics_as_they_are(telemetry):
    """Each with its kind, its unit and its attributes, and no other."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = re.findall(r"^\| `(batcher\.\S+)` \| (.+?) \| `(.+?)` \| (.*?) \|", readme, re.MULTILINE)
    listed = {name: (kind, unit, set(re.findall("`(.+?)`", attributes))) for name, kind, unit, attributes in rows}

    bridge = telemetry.bridge()
    api = Api([Retry("429")], ConnectionError(), seconds=2)
    async with Batcher(api, on_event=bridge, size_of=len, auto_batch=NOW) as batcher:
        bridge.watch(batcher)
        bridge(Event(kind=EventKind.BREAKER, scope="lane", state="open"))
        with anyio.move_on_after(1):
            await batcher.submit("a")
        await batcher.submit_all(["b"])
        await batcher.flush()
        metrics = telemetry.collect()

    assert set(metrics) == set(listed)
    for name, metric in metrics.items():
        kind, unit, attributes = listed[name]
        points = metric.data.data_points
        assert metric.unit == unit
        assert metric.description
        assert set().union(*(point.attributes for point in points)) == attributes, name
        monotonic = getattr(metric.data, "is_monotonic", None)
        assert kind.partition(",")[0] == {None: "histogram", True: "counter", False: "up-down"}[monotonic], name
