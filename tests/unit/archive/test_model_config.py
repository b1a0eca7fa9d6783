import pytest

from server.archive.model_config import (
    DATATYPE_BY_TYPE,
    backend_of,
    canonical_text,
    datatype,
    is_complete,
    is_ensemble,
    parameter,
    parse,
    render,
    signature,
)
from server.domain.errors import InvalidArchive
from server.domain.inference import NUMPY_BY_DATATYPE
from tests.golden.golden import check
from tests.unit.archive.writing import ensemble_config, step_config

FULL = """
name: "encoder"  # the name is no part of the canonical text
platform: "onnxruntime_onnx"
max_batch_size: 32
parameters { key: "z" value { string_value: "last" } }
parameters { key: "a" value { string_value: "first" } }
input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }, { name: "hint" data_type: TYPE_STRING dims: [ 1 ] optional: true } ]
output [ { name: "vector" data_type: TYPE_FP32 dims: [ 384 ] reshape { shape: [ 1, 384 ] } } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 8, 16 ] max_queue_delay_microseconds: 100 }
model_transaction_policy { decoupled: true }
"""


def test_canonical_text_is_the_golden_one():
    check("canonical_config.pbtxt", canonical_text(parse(FULL)))


def test_what_is_rendered_parses_to_the_same_message():
    assert parse(render(parse(FULL))) == parse(FULL)


def test_platform_and_backend_are_two_ways_to_say_the_same():
    one, other = step_config(backend="onnxruntime"), step_config(backend="").replace("backend", "platform")
    other = other.replace('platform: ""', 'platform: "onnxruntime_onnx"')
    assert canonical_text(parse(one)) == canonical_text(parse(other))


def test_name_comments_order_and_blanks_do_not_reach_the_canonical_text():
    one = parse('name: "a"\nbackend: "python" max_batch_size: 4')
    other = parse('# hello\nmax_batch_size: 4\n\nbackend: "python"\nname: "b"')
    assert canonical_text(one) == canonical_text(other)


@pytest.mark.parametrize(
    ("line", "backend"),
    [
        ('platform: "onnxruntime_onnx"', "onnxruntime"),
        ('platform: "tensorrt_plan"', "tensorrt"),
        ('platform: "ensemble"', "ensemble"),
        ('backend: "python"', "python"),
        ('backend: "my_own"', "my_own"),
        ("ensemble_scheduling { step [ ] }", "ensemble"),
        ("", ""),
    ],
)
def test_backend_is_told_by_backend_platform_or_schedule(line, backend):
    assert backend_of(parse(line)) == backend


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name: "x"\nfoo: 3', "line 2:1.*foo"),
        ("input [ {", "line 1"),
        ("max_batch_size: 99999999999", "out of range"),
        ('name: "a" name: "b"', "line 1"),
        ("\x00", "line 1"),
    ],
)
def test_a_config_that_does_not_parse_names_the_line(text, message):
    with pytest.raises(InvalidArchive, match=message):
        parse(text)


def test_complete_means_backend_inputs_outputs_datatypes_and_dims():
    whole = step_config()
    assert is_complete(parse(whole))
    assert not is_complete(parse(whole.replace('backend: "onnxruntime"', "")))
    assert not is_complete(parse(whole.split("output")[0]))
    assert not is_complete(parse(whole.replace("data_type: TYPE_FP32", "")))
    assert not is_complete(parse(whole.replace("dims: [ 4 ]", "")))


def test_signature_has_datatypes_dims_optional_and_decoupled(tmp_path):
    found = signature(parse(FULL), tmp_path)
    assert (found.platform, found.max_batch_size, found.is_decoupled) == ("onnxruntime_onnx", 32, True)
    assert [(spec.name, spec.datatype, spec.dims, spec.is_optional) for spec in found.inputs] == [
        ("ids", "INT64", (-1,), False),
        ("hint", "BYTES", (1,), True),
    ]


def test_reshape_is_the_backends_matter_and_not_on_the_wire(tmp_path):
    assert signature(parse(FULL), tmp_path).outputs[0].dims == (384,)


def test_labels_come_from_the_file_beside_the_config(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    config = parse(step_config(extra='label_filename: "labels.txt"'))
    assert signature(config, tmp_path).outputs[0].labels == ("cat", "dog")


@pytest.mark.parametrize("name", ["../labels.txt", "/etc/hostname", "link.txt"])
def test_a_label_file_may_not_leave_the_models_folder(tmp_path, name):
    (tmp_path / "labels.txt").write_text("secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "labels.txt")
    with pytest.raises(InvalidArchive, match="outside"):
        signature(parse(step_config(extra=f'label_filename: "{name}"')), folder)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_label_file_must_be_there_and_be_text(tmp_path, content):
    if content:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(InvalidArchive, match=r"labels\.txt"):
        signature(parse(step_config(extra='label_filename: "labels.txt"')), tmp_path)


def test_every_datatype_has_an_array_type():
    assert set(DATATYPE_BY_TYPE.values()) == set(NUMPY_BY_DATATYPE)


@pytest.mark.parametrize("number", [0, 99])
def test_a_number_without_a_meaning_is_no_datatype(number):
    with pytest.raises(InvalidArchive, match="TYPE_FP32"):
        datatype(number)


def test_asking_for_a_parameter_does_not_add_it():
    config = parse('parameters { key: "a" value { string_value: "" } }')
    assert parameter(config, "a") == ""
    assert parameter(config, "b") is None
    assert "b" not in config.parameters


def test_an_ensemble_is_known_by_its_schedule_alone():
    assert is_ensemble(parse(ensemble_config([("a", "IN", "OUT")], platform=False)))
