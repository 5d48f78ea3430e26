"""Reads what a node tells with the readers of Prometheus and of OpenTelemetry, and says in JSON what they understood.

    read.py openmetrics | text < METRICS
    read.py otlp < LINES        (a request in OTLP's JSON on each)

Whatever they do not take ends it with an error: both are strict, as collectors are.
"""

import json
import sys


def metrics(families):
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "unit": family.unit,
            "samples": [
                {
                    "name": sample.name,
                    "labels": sample.labels,
                    "value": sample.value,
                    "example": sample.exemplar.labels if sample.exemplar else None,
                }
                for sample in family.samples
            ],
        }
        for family in families
    ]


def openmetrics(text):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    return metrics(text_string_to_metric_families(text))


def text(text):
    from prometheus_client.parser import text_string_to_metric_families

    return metrics(text_string_to_metric_families(text))


def ids_in_base64(value):
    """OTLP writes ids in hex where JSON of protobuf has base64; all else is as there."""
    import base64

    if isinstance(value, list):
        return [ids_in_base64(one) for one in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
    read = {}
    for key, one in value.items():
        if key in ids and one:
            assert len(one) == ids[key], f"{key}: {one}"
            read[key] = base64.b64encode(bytes.fromhex(one)).decode()
        else:
            read[key] = ids_in_base64(one)
    return read


def otlp(lines):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def value(any_value):
        kind = any_value.WhichOneof("value")
        return getattr(any_value, kind)

    def attributes(pairs):
        return {pair.key: value(pair.value) for pair in pairs}

    spans = []
    for line in lines.splitlines():
        request = json_format.ParseDict(ids_in_base64(json.loads(line)), ExportTraceServiceRequest())
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    assert span.start_time_unix_nano <= span.end_time_unix_nano
                    spans.append(
                        {
                            "resource": attributes(resource.resource.attributes),
                            "scope": scope.scope.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "name": span.name,
                            "kind": span.kind,
                            "begun": span.start_time_unix_nano,
                            "ended": span.end_time_unix_nano,
                            "attributes": attributes(span.attributes),
                            "events": [event.name for event in span.events],
                            "failed": span.status.code == 2,
                        }
                    )
    return spans


json.dump({"openmetrics": openmetrics, "text": text, "otlp": otlp}[sys.argv[1]](sys.stdin.read()), sys.stdout)
