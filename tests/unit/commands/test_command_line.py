"""The command line teaches: every setting is a flag with its meaning, and what is wrong is said before anything starts."""

import click
import pytest
from click.testing import CliRunner

from server.__main__ import main
from server.commands.flags import given, setting_flags
from server.lifespan.welcome import welcome
from server.settings import Settings


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_the_commands_are_those_that_scripts_rely_on(run):
    shown = run("--help")
    assert shown.exit_code == 0
    assert all(f"\n  {command} " in shown.output for command in ("archive", "build", "demo", "serve"))


def test_every_setting_is_a_flag_of_serve(run):
    shown = run("serve", "--help").output
    assert [name for name in Settings.model_fields if f"--{name.replace('_', '-')}" not in shown] == []


@pytest.mark.parametrize(
    "command", [("archive", "inspect"), ("archive", "lint"), ("archive", "pack"), ("build", "demo")]
)
def test_subcommands_explain_themselves(run, command):
    shown = run(*command, "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_a_wrong_value_is_named_and_nothing_starts(run):
    refused = run("serve", "--port", "eighty")
    assert refused.exit_code == 1
    assert "port: " in refused.output
    assert "'eighty'" in refused.output


def test_a_flag_with_entries_may_be_given_several_times():
    @click.command()
    @setting_flags
    def typed(**flags):
        click.echo(given(flags))

    shown = CliRunner().invoke(typed, ["--restrict-api", "health:A=1", "--restrict-api", "inference:B=2"])
    assert shown.output.strip() == str({"restrict_api": ("health:A=1", "inference:B=2")})
    assert CliRunner().invoke(typed, []).output.strip() == "{}"


def test_the_welcome_names_an_archive_that_can_be_asked_for():
    text = welcome("0.0.0.0", 8080, ["a.tar.gz", "minilm.tar.gz"], None, 1.25, "embedded", {"cpu": 3 << 29})
    assert "ready on http://localhost:8080 after 1.2 s" in text
    assert "X-Amzn-SageMaker-Target-Model: minilm.tar.gz" in text


def test_the_welcome_of_a_single_model_asks_for_no_target():
    assert "Target-Model" not in welcome("127.0.0.1", 9, [], "model", 1.0, "triton", {}).split("boto3")[0]


def test_the_welcome_says_what_was_chosen():
    text = welcome("127.0.0.1", 9, [], None, 1.0, "triton", {"cpu": 3 << 29, "gpu:0": 700 << 20})
    assert "\n  engine     triton; archives may take 1.5 GiB of memory, 700 MiB of gpu:0\n" in text
