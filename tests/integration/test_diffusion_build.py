"""Building Stable Diffusion: the same twice, from a folder as from memory, parts shared, and refusals with reasons."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from builders.checkpoints import diffusers_folder
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.random_diffusion import random_checkpoint
from builders.checkpoints.small_clip_vocabulary import merges, vocabulary
from builders.families import stable_diffusion as family
from builders.pipeline import diffusion_parity
from builders.pipeline.parity import ParityFailed
from builders.python_steps.tokenize import logic as tokenize_logic
from server.archive.manifest import read_manifest
from server.archive.staging import stage_folder
from server.engines.completion import complete
from tests.fakes import demo_archives, diffusion

pytestmark = [pytest.mark.builders, pytest.mark.xdist_group("generative")]

PARTS = ["clip_tokenizer", "stable-diffusion", "text_encoder", "unet", "unet_inpaint", "vae_decoder", "vae_encoder"]


def digests(root, to):
    archive = stage_folder(root, root.name, "1", to, complete, link=True)
    return {step.name: step.digest for step in archive.steps}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The tiny checkpoints as diffusers writes them: {channels: folder}."""
    import diffusers

    written = {}
    for channels, kind in ((4, diffusers.StableDiffusionPipeline), (9, diffusers.StableDiffusionInpaintPipeline)):
        checkpoint = random_checkpoint("tiny", 0, channels=channels)
        schedule = {key: value for key, value in checkpoint.schedule.items() if not key.startswith("_")}
        pipeline = kind(
            **{part: checkpoint.load(part) for part in ("tokenizer", "text_encoder", "unet", "vae")},
            scheduler=diffusers.PNDMScheduler.from_config(schedule),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        written[channels] = tmp_path_factory.mktemp(f"checkpoint-{channels}")
        pipeline.save_pretrained(written[channels])
    return written


def test_the_manifest_tells_how_close_the_archive_is_to_diffusers():
    manifest = read_manifest(diffusion.built())
    assert (manifest.task, manifest.entry_model) == ("text-to-image", "stable-diffusion")
    assert set(manifest.parity["max_relative_error"]) == set(PARTS) - {"clip_tokenizer", "stable-diffusion"}
    assert max(manifest.parity["max_relative_error"].values()) < 1e-4
    pictures = manifest.parity["pictures"]["max_levels_of_255"]
    assert set(pictures) == {
        f"{use} {name}" for use in ("paint", "inpaint") for name in ("ddim", "pndm", "euler", "dpm++")
    }
    assert max(pictures.values()) <= 1


@pytest.mark.slow
def test_the_same_build_gives_the_same_archive(tmp_path):
    """What `make archives` built, in a process of its own, against a second build from the beginning."""
    one = demo_archives.copied(diffusion.NAME, tmp_path / "one.tar.gz")
    again = family.build(family.Options(**diffusion.OPTIONS), tmp_path / "two.tar.gz")
    assert one.read_bytes() == again.read_bytes()


def test_parts_are_the_same_from_a_folder_as_from_memory_and_alone_as_in_company(folders, tmp_path):
    options = family.Options(inpainting=str(folders[9]), is_measured=False, **diffusion.LIMITS)
    alone = family.build(options, tmp_path / "alone")
    first, second = digests(diffusion.built(), tmp_path / "one"), digests(alone, tmp_path / "two")
    assert sorted(first) == PARTS
    assert sorted(second) == sorted(set(PARTS) - {"unet"})
    graphs = set(second) - {"stable-diffusion"}
    assert {name: first[name] for name in graphs} == {name: second[name] for name in graphs}
    told = json.loads((alone / "stable-diffusion" / "1" / "diffuse.json").read_text())
    assert sorted(told["kits"]) == ["inpaint"]
    ours = json.loads((diffusion.built() / "stable-diffusion" / "1" / "diffuse.json").read_text())
    assert told["limits"] == ours["limits"]
    assert told["limits"]["scheduler"] == "pndm"


def test_two_seeds_have_nothing_in_common_but_both_unets_share_the_rest():
    prints = {
        (seed, channels, part): diffusers_folder.fingerprint(
            random_checkpoint("tiny", seed, channels=channels).load(part)
        )
        for seed in (0, 1)
        for channels in (4, 9)
        for part in ("text_encoder", "unet", "vae")
    }
    for part in ("text_encoder", "vae"):
        assert prints[0, 4, part] == prints[0, 9, part] != prints[1, 4, part]
    assert len({prints[seed, channels, "unet"] for seed in (0, 1) for channels in (4, 9)}) == 4


def test_the_archives_tokenizer_is_the_checkpoints(tmp_path):
    theirs = random_checkpoint("tiny", 0).load("tokenizer")
    ours = tokenize_logic.load(diffusion.built() / "clip_tokenizer" / "1")
    texts = ["", "A photo of a RED bicycle!", "an ümlaut 火 🚂", "word " * 200, "a<|endoftext|>b"]
    expected = theirs(texts, padding="max_length", max_length=77, truncation=True, return_tensors="np").input_ids
    np.testing.assert_array_equal(tokenize_logic.tokenize(ours, texts)[0], expected)


def test_the_small_vocabulary_joins_pairs_that_it_has():
    words = vocabulary()
    assert len(set(words.values())) == len(words) == 2 * 256 + len(merges()) + 2
    assert all(one in words and other in words and one + other in words for one, other in merges())


def test_the_wrong_option_for_a_model_is_told(folders, tmp_path):
    with pytest.raises(UnusableCheckpoint, match="its UNet takes 9 channels: give it as --inpainting"):
        family.build(family.Options(model=str(folders[9])), tmp_path / "sd")
    with pytest.raises(UnusableCheckpoint, match="its UNet takes 4 channels: give it as --model"):
        family.build(family.Options(inpainting=str(folders[4])), tmp_path / "sd")
    assert not (tmp_path / "sd").exists()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model_index.json", {"unet": ["diffusers", "FluxTransformer2DModel"]}, "unet is FluxTransformer2DModel"),
        ("model_index.json", None, "model_index.json is missing"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
        ("scheduler/scheduler_config.json", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type is 'sde-dpm"),
        ("unet/config.json", {"time_cond_proj_dim": 32}, "time_cond_proj_dim is 32"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(folders, tmp_path, file, change, message):
    folder = tmp_path / "checkpoint"
    shutil.copytree(folders[4], folder)
    if change is None:
        (folder / file).unlink()
    else:
        document = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**document, **change}))
    with pytest.raises(UnusableCheckpoint, match=message):
        diffusers_folder.check_unet(diffusers_folder.read(str(folder)).load("unet"))


def test_nothing_to_build_is_told(tmp_path):
    with pytest.raises(UnusableCheckpoint, match="give --model"):
        family.build(family.Options(), tmp_path / "sd")
    with pytest.raises(UnusableCheckpoint, match="neither a folder nor a hub id"):
        diffusers_folder.read("no-such-model")


def test_a_picture_that_differs_fails_the_build(tmp_path):
    root = tmp_path / "archive"
    shutil.copytree(diffusion.built(), root)
    other = replace(random_checkpoint("tiny", 0), load=random_checkpoint("tiny", 1).load)
    with pytest.raises(ParityFailed, match="pictures differ from diffusers' by up to"):
        diffusion_parity.compare_pictures(root, "stable-diffusion", {"paint": other})


def test_a_part_that_differs_fails_the_build():
    graph = diffusion.built() / "vae_decoder" / "1" / "model.onnx"
    latents = np.ones((1, 4, 8, 8), np.float32)
    with pytest.raises(ParityFailed, match="vae_decoder differs from diffusers by"):
        diffusion_parity.compare_part(
            "vae_decoder", graph, {"latents": latents}, np.ones((1, 3, 64, 64), np.float32), "fp32"
        )
