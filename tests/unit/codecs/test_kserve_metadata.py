"""Model metadata and configuration, as tritonclient's users read them."""

import json

from server.codecs.kserve import kserve_metadata
from tests.unit.codecs.codec_archives import archive

TARGET = archive([("INPUT0", "BYTES", (1,), True)], [("OUTPUT0", "FP32", (384,))], 32, name="team/minilm.tar.gz")


def test_metadata_of_a_batched_model():
    assert kserve_metadata.metadata(TARGET) == {
        "name": "team/minilm.tar.gz",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "INPUT0", "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [{"name": "OUTPUT0", "datatype": "FP32", "shape": [-1, 384]}],
    }


def test_metadata_without_batch():
    inputs = kserve_metadata.metadata(archive([("X", "INT64", (-1, 2))], []))["inputs"]
    assert inputs == [{"name": "X", "datatype": "INT64", "shape": [-1, 2]}]


def test_config():
    config = kserve_metadata.config(TARGET)
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("team/minilm.tar.gz", "onnxruntime", 32)
    assert config["input"] == [{"name": "INPUT0", "data_type": "TYPE_STRING", "dims": [1], "optional": True}]
    assert config["output"] == [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [384]}]
    assert json.loads(json.dumps(config)) == config
