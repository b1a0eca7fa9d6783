"""`roundhouse build`: one subcommand per model family, one file each."""

import click

from builders.cli.demo import demo
from builders.cli.sentence_classifier import sentence_classifier
from builders.cli.sentence_embedding import sentence_embedding


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def build() -> None:
    """Compile a model family into an archive that the server loads on demand.

    An archive is an ordinary Triton model repository (.tar.gz, .tar.zst or a folder) with an ensemble and a manifest
    that says how it was made, how close it is to its reference and what it will take.

    \b
    roundhouse build demo                                    the demo set, with real all-MiniLM-L6-v2 weights
    roundhouse build sentence-embedding --model ./my-model   your own sentence-transformers checkpoint
    roundhouse build sentence-classifier --base minilm.tar.gz --head head.npz --labels good,bad
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


for command in (
    demo,
    sentence_embedding,
    sentence_classifier,
):
    build.add_command(command)
