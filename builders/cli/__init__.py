"""`roundhouse build`: one subcommand per model family, one file each."""

import click

from builders.cli.creative_advertising import creative_advertising
from builders.cli.demo import demo
from builders.cli.image_classification import image_classification
from builders.cli.plans import plans
from builders.cli.segment_anything import segment_anything
from builders.cli.sentence_classifier import sentence_classifier
from builders.cli.sentence_embedding import sentence_embedding
from builders.cli.settings import settings
from builders.cli.stable_diffusion import stable_diffusion
from builders.cli.text_classification import text_classification
from builders.cli.zero_shot_classification import zero_shot_classification


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def build() -> None:
    """Compile a model family into an archive that the server loads on demand.

    An archive is an ordinary Triton model repository (.tar.gz, .tar.zst or a folder) with an ensemble and a manifest
    that says how it was made, how close it is to its reference and what it will take.

    \b
    roundhouse build demo                                    one archive of each family
    roundhouse build sentence-embedding --model ./my-model   your own sentence-transformers checkpoint
    roundhouse build sentence-classifier --base minilm.tar.gz --head head.npz --labels good,bad
    roundhouse build image-classification --architecture efficientnet-lite0
    roundhouse build zero-shot-classification --model ./my-nli-model
    roundhouse build segment-anything --checkpoint sam_vit_b_01ec64.pth
    roundhouse build stable-diffusion --model ./stable-diffusion-v1-5
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


for command in (
    demo,
    creative_advertising,
    image_classification,
    sentence_embedding,
    sentence_classifier,
    zero_shot_classification,
    text_classification,
    stable_diffusion,
    segment_anything,
    plans,
    settings,
):
    build.add_command(command)
