"""The configs that builders write: complete, through the schema, and reviewed as text."""

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builders.triton_config import model as triton
from tests.golden.golden import check

TEXT = [triton.Field("INPUT0", "TYPE_STRING", (1,))]
VECTOR = [triton.Field("OUTPUT0", "TYPE_FP32", (384,))]


def encoder():
    ids = [triton.Field("input_ids", "TYPE_INT64", (-1,))]
    config = triton.step_config(
        name="encoder",
        backend="onnxruntime",
        inputs=ids,
        outputs=VECTOR,
        max_batch_size=64,
        target="gpu",
        graph_level=-1,
    )
    return triton.with_warmup(config, {"input_ids": (16,)})


def ensemble():
    return triton.ensemble_config(
        name="minilm",
        inputs=TEXT,
        outputs=VECTOR,
        max_batch_size=64,
        steps=[
            triton.EnsembleStep("tokenize", {"INPUT0": "INPUT0"}, {"input_ids": "input_ids"}),
            triton.EnsembleStep("encoder", {"input_ids": "input_ids"}, {"OUTPUT0": "OUTPUT0"}),
        ],
    )


def test_the_encoder_config_is_golden():
    check("encoder.config.pbtxt", triton.text(encoder()))


def test_the_ensemble_config_is_golden():
    check("ensemble.config.pbtxt", triton.text(ensemble()))


def test_what_is_written_is_what_triton_reads():
    for config in (encoder(), ensemble()):
        assert text_format.Parse(triton.text(config), pb.ModelConfig()) == config
