"""Where settings come from, which source wins, and what a wrong value is answered with."""

from pathlib import Path

import pytest

from server.settings.load import SettingsError, load_settings
from server.settings.sagemaker import from_sagemaker


def settings(flags=None, config=None, **variables):
    return load_settings(flags or {}, config, variables)[0]


def test_a_flag_beats_a_variable_beats_the_file_beats_sagemaker(tmp_path):
    file = tmp_path / "roundhouse.toml"
    file.write_text('port = 3\nhost = "file"\nlog_level = "error"\n')
    found = settings(
        {"port": 1},
        file,
        ROUNDHOUSE_PORT="2",
        ROUNDHOUSE_HOST="variable",
        SAGEMAKER_BIND_TO_PORT="4",
        SAGEMAKER_TRITON_DEFAULT_MODEL_NAME="minilm",
    )
    assert (found.port, found.host, found.log_level, found.default_model) == (1, "variable", "error", "minilm")


def test_byte_sizes_and_lists_are_written_as_people_write_them():
    found = settings(ROUNDHOUSE_MEMORY_BUDGET="4GiB", ROUNDHOUSE_PRELOAD="a, b,")
    assert (found.memory_budget, found.preload) == (4 * 1024**3, ("a", "b"))


def test_a_wrong_value_is_named_with_what_was_given():
    with pytest.raises(SettingsError, match=r"port: .*\(got 'eighty'\)"):
        settings(ROUNDHOUSE_PORT="eighty")


def test_an_unknown_setting_in_the_file_is_named(tmp_path):
    file = tmp_path / "roundhouse.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(SettingsError, match="prot"):
        settings(config=file)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(SettingsError, match=r"no-such\.toml"):
        settings(config=Path("no-such.toml"))


@pytest.mark.parametrize(("value", "mode"), [("true", "multi"), ("True", "single"), ("false", "single")])
def test_multi_model_counts_only_when_it_is_exactly_true(value, mode):
    assert from_sagemaker({"SAGEMAKER_MULTI_MODEL": value})[0]["mode"] == mode


def test_sagemakers_variables_reach_their_settings():
    found = settings(
        SAGEMAKER_MULTI_MODEL="true",
        SAGEMAKER_MAX_PAYLOAD_IN_MB="6",
        SAGEMAKER_MODEL_SERVER_TIMEOUT="30",
        SAGEMAKER_TRITON_PING_MODE="live",
        SAGEMAKER_TRITON_LOG_VERBOSE="true",
    )
    assert (found.mode, found.max_body, found.request_timeout_s) == ("multi", 6 * 1024**2, 30.0)
    assert (found.ping_mode, found.log_level) == ("live", "debug")


def test_a_model_folder_means_single_mode_and_a_store_means_many():
    assert settings({"model": "m"}).mode == "single"
    assert settings({"store": "s"}).mode == "multi"


@pytest.mark.parametrize("said", ["infer", "generate", "generate_stream"])
def test_the_inference_type_is_tritons(said):
    assert settings(SAGEMAKER_TRITON_INFERENCE_TYPE=said).inference_type == said


def test_other_inference_types_are_refused():
    with pytest.raises(SettingsError, match=r"inference_type: .*'generate_stream' \(got 'Generate'\)"):
        settings(SAGEMAKER_TRITON_INFERENCE_TYPE="Generate")
