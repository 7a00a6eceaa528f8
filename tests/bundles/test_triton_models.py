"""What Triton is told of the models, and the parts of its ensemble: the same as the fused graph, to the bit that onnxruntime computes alike."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from tests.bundles.test_graph import some_weights
from tradingsystem.adapters.onnxruntime import open_session, run
from tradingsystem.bundles.graph import build, lint
from tradingsystem.bundles.member_graphs import blend_graph, member_graph
from tradingsystem.bundles.triton_config import ALL, BUCKETS, MEMBERS, Backend, as_json, as_pbtxt, bucket_of, configuration
from tradingsystem.domain.features import FEATURE_COUNT


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("backend", list(Backend), ids=lambda backend: backend.value)
def test_a_load_says_what_the_file_says(model: str, backend: Backend) -> None:
    """A load that replaced the file's configuration by another would make Triton start a loaded version again."""
    config = configuration(model, backend, [7, 6])
    told = json_format.Parse(as_json(config), model_config_pb2.ModelConfig())
    written = text_format.Parse(as_pbtxt(config), model_config_pb2.ModelConfig())
    assert told == written
    assert list(told.version_policy.specific.versions) == [6, 7]
    assert told.name == model
    assert not told.HasField("dynamic_batching"), "nothing waits for company"


@pytest.mark.parametrize("backend", [Backend.TENSORRT, Backend.ONNXRUNTIME], ids=lambda backend: backend.value)
def test_every_bucket_is_warm_before_the_first_question(backend: Backend) -> None:
    """A cold bucket would answer its first tick late."""
    told = json_format.Parse(as_json(configuration("fused", backend, [1])), model_config_pb2.ModelConfig())
    assert tuple(each.batch_size for each in told.model_warmup) == BUCKETS
    assert told.max_batch_size == BUCKETS[-1]


@given(st.integers(1, BUCKETS[-1]))
def test_rows_go_into_the_smallest_bucket_that_holds_them(rows: int) -> None:
    """One too large costs time, one too small rows."""
    bucket = bucket_of(rows)
    assert bucket >= rows
    assert bucket == BUCKETS[0] or BUCKETS[BUCKETS.index(bucket) - 1] < rows


def test_more_rows_than_the_largest_bucket_are_refused() -> None:
    """Silently asking for fewer would leave symbols without an answer."""
    with pytest.raises(ValueError, match="at most 12288"):
        bucket_of(BUCKETS[-1] + 1)


@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float32"])
def test_the_parts_of_the_ensemble_say_what_the_fused_graph_says(int8: bool) -> None:
    """Members one by one and their blend, against the graph that does all at once."""
    fused = build(some_weights(5), int8=int8)
    features = np.random.default_rng(2).normal(size=(33, FEATURE_COUNT)).astype(np.float32)
    whole = run(open_session(fused), features)
    logits = {}
    for place, member in enumerate(MEMBERS):
        part = member_graph(fused, place)
        lint(part)
        probability, logits[f"{member}_logit"] = open_session(part).run(["probability", "logit"], {"features": features})
        np.testing.assert_allclose(probability[:, 0], whole.members[:, place], rtol=0, atol=1e-6)
    blend = blend_graph(fused)
    lint(blend)
    (answer,) = open_session(blend).run(["blend"], logits)
    np.testing.assert_allclose(answer[:, 0], whole.blend, rtol=0, atol=1e-6)
