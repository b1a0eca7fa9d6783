"""Stable Diffusion 1.x and 2.x: text to image, image to image, inpainting, as steps that archives can share.

    clip_tokenizer -> text_encoder -+
                                    v
    vae_encoder -> [ unet or unet_inpaint, once per step ] -> vae_decoder
                    stable-diffusion: the entry step, which runs the loop and calls the others

Each part of a checkpoint is a step of its own. Parts that two checkpoints have in common (an inpainting model usually
brings the text encoder and the VAE of the model it was tuned from) are built once.

Reference: diffusers' pipelines; the build fails where a part differs, and for small models where a picture differs by
more than one grey level.
"""

import gc
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from builders.checkpoints import diffusers_folder
from builders.checkpoints.diffusers_folder import DiffusionCheckpoint
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.random_diffusion import Size, random_checkpoint
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.export.diffusion_step import ExportedPart, Precision, place_part, place_tokenizer
from builders.pipeline import diffusion_parity
from builders.pipeline import folder as pipeline
from builders.pipeline.measure_graph import measure_graph
from builders.pipeline.progress import CONSOLE, stage
from builders.pipeline.versions import made_with
from builders.python_steps.diffuse.schedulers import scheduler_name
from builders.triton_config import accelerated
from builders.triton_config import diffusion as configs
from builders.triton_config import model as triton
from builders.triton_config.diffusion import Shapes
from builders.triton_config.profile import as_facts
from server.archive.manifest import Manifest

TASK: Final = "text-to-image"
_PICTURES_UP_TO_BYTES: Final = 500_000_000
"""Weights of a model that is also compared picture by picture: diffusers takes minutes for larger ones on a CPU."""
_FALLBACK_SCHEDULER: Final = "pndm"


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose. `model` and `inpainting` are folders or hub ids; `size` makes random weights instead."""

    model: str = ""
    inpainting: str = ""
    size: Size | None = None
    with_inpainting: bool = True
    """Of random weights: whether there is a UNet for inpainting too."""
    seed: int = 0
    name: str = "stable-diffusion"
    precision: Precision = "fp32"
    target: triton.Target = "cpu"
    accelerator: accelerated.Accelerator | None = None
    max_pixels: int = 1024 * 1024
    max_steps: int = 250
    max_images: int = 8
    is_measured: bool = True

    @property
    def where(self) -> accelerated.Placement:
        """How the graphs are run. Raises click.UsageError for an accelerator or fp16 without a GPU."""
        return accelerated.placement(self.target, self.accelerator, self.precision)


@dataclass(slots=True)
class _Build:
    """What lies in the archive so far. `names`: steps by fingerprint. `kits`: what the entry step is told."""

    options: Options
    root: Path
    work: Path
    names: dict[str, str] = field(default_factory=dict)
    parts: list[ExportedPart] = field(default_factory=list)
    kits: dict[str, dict[str, Any]] = field(default_factory=dict)
    shapes: list[Shapes] = field(default_factory=list)


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: the archive would not equal the reference; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile here.
    """
    where = options.where
    require_compiler(where)
    checkpoints = _checkpoints(options)
    with pipeline.work_folder(to.parent) as work:
        made = _Build(options, work / "archive", work)
        for use, checkpoint in checkpoints.items():
            _place(made, use, checkpoint)
            gc.collect()  # the UNet's weights, before somebody else's come
        _place_entry(made, checkpoints)
        parity = _parity(made, checkpoints)
        manifest = _manifest(made, checkpoints, parity)
        if where.is_plan:
            manifest = compile_steps(made.root, manifest, PlanOptions())
        return pipeline.finish(made.root, manifest, to)


def _checkpoints(options: Options) -> dict[str, DiffusionCheckpoint]:
    """By use: `paint` (a UNet of 4 channels) and `inpaint` (of 9), as far as they are wanted."""
    if options.size is not None:
        found = {"paint": random_checkpoint(options.size, options.seed)}
        if options.with_inpainting:
            found["inpaint"] = random_checkpoint(options.size, options.seed, channels=9)
        return found
    given = {"paint": options.model, "inpaint": options.inpainting}
    found = {use: diffusers_folder.read(model) for use, model in given.items() if model}
    if not found:
        raise UnusableCheckpoint("nothing to build: give --model, --inpainting or --weights random")
    return found


def _place(made: _Build, use: str, checkpoint: DiffusionCheckpoint) -> None:
    """Place the parts of one checkpoint that are not there yet, and note its kit."""
    options = made.options
    unet, vae = checkpoint.load("unet"), checkpoint.load("vae")
    _check(use, unet, vae, checkpoint)
    shapes = _shapes(unet, vae, options)
    latent_scale = vae.config.scaling_factor
    names = {"tokenizer": _placed_tokenizer(made, checkpoint.load("tokenizer"), use)}
    modules = {"unet": unet, "text_encoder": checkpoint.load("text_encoder"), "vae_encoder": vae, "vae_decoder": vae}
    del unet, vae
    while modules:
        part, module = modules.popitem()
        print_of = f"{part} {diffusers_folder.fingerprint(module)}"
        if print_of not in made.names:
            step = _step_name(part, use, made)
            with stage(f"export {step}"):
                exported = place_part(
                    part, module, step, shapes, options.precision, options.where, made.root, made.work
                )
            made.parts.append(exported)
            made.names[print_of] = step
        names[part] = made.names[print_of]
        del module
    made.shapes.append(shapes)
    made.kits[use] = {
        **names,
        "channels": shapes.channels,
        "latent_channels": shapes.latent_channels,
        "latent_scale": latent_scale,
        "shrink": shapes.shrink,
        "schedule": {key: value for key, value in checkpoint.schedule.items() if not key.startswith("_")},
    }


def _check(use: str, unet: Any, vae: Any, checkpoint: DiffusionCheckpoint) -> None:
    diffusers_folder.check_unet(unet)
    wanted = 4 if use == "paint" else 9
    if unet.config.in_channels != wanted:
        hint = "--inpainting" if unet.config.in_channels == 9 else "--model, which fills masks too"
        raise UnusableCheckpoint(
            f"{checkpoint.name}: its UNet takes {unet.config.in_channels} channels: give it as {hint}"
        )
    for key in ("shift_factor", "latents_mean"):
        if vae.config.get(key) is not None:
            raise UnusableCheckpoint(f"{checkpoint.name}: vae/config.json: {key} is not of Stable Diffusion 1.x or 2.x")


def _shapes(unet: Any, vae: Any, options: Options) -> Shapes:
    shrink = 2 ** (len(vae.config.block_out_channels) - 1)
    side = unet.config.sample_size * shrink
    return Shapes(
        channels=unet.config.in_channels,
        latent_channels=vae.config.latent_channels,
        text_width=unet.config.cross_attention_dim,
        shrink=shrink,
        multiple=shrink * 2 ** (len(unet.config.block_out_channels) - 1),
        side=side,
        max_pixels=max(options.max_pixels, side * side),
    )


def _placed_tokenizer(made: _Build, tokenizer: Any, use: str) -> str:
    print_of = "tokenizer " + tokenizer.backend_tokenizer.to_str()
    if print_of not in made.names:
        step = _step_name("clip_tokenizer", use, made)
        with stage("tokenizer"):
            place_tokenizer(tokenizer, step, made.root)
        made.names[print_of] = step
    return made.names[print_of]


def _step_name(part: str, use: str, made: _Build) -> str:
    """`unet`, and for what an inpainting model has of its own `unet_inpaint`."""
    if use == "inpaint" and (part == "unet" or part in made.names.values()):
        return f"{part}_inpaint"
    return part


def _place_entry(made: _Build, checkpoints: Mapping[str, DiffusionCheckpoint]) -> None:
    first = next(iter(checkpoints.values()))
    try:
        scheduler = scheduler_name(str(first.schedule.get("_class_name", _FALLBACK_SCHEDULER)))
    except ValueError:  # samplers that draw noise on the way, which nobody can repeat from a seed alone
        scheduler = _FALLBACK_SCHEDULER
        CONSOLE.print(f"  {first.schedule['_class_name']} is not among the schedulers here; the default is {scheduler}")
    options, shapes = made.options, made.shapes
    limits = {
        "max_steps": options.max_steps,
        "max_images": options.max_images,
        "max_pixels": max(each.max_pixels for each in shapes),
        "max_side": min(_max_side(each, options) for each in shapes),
        "multiple": max(each.multiple for each in shapes),
        "side": shapes[0].side,
        "scheduler": scheduler,
    }
    folder = made.root / options.name / "1"
    pipeline.place_step_sources("diffuse", folder)
    document = {"kits": made.kits, "limits": limits}
    (folder / "diffuse.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    config = configs.entry_config(options.name, sorted(set(made.names.values())))
    (made.root / options.name / "config.pbtxt").write_text(triton.text(config))


def _max_side(shapes: Shapes, options: Options) -> int:
    """Graphs on a CPU take any shape: there only the area counts."""
    return shapes.max_side if options.target == "gpu" else shapes.max_pixels // shapes.multiple


def _parity(made: _Build, checkpoints: Mapping[str, DiffusionCheckpoint]) -> dict[str, Any]:
    errors: dict[str, float] = {}
    for part in made.parts:
        with stage(f"parity of {part.step}"):
            error = diffusion_parity.compare_part(
                part.step, part.graph, part.inputs, part.expected, made.options.precision
            )
        errors[part.step] = float(f"{error:.2g}")
    parity: dict[str, Any] = {"max_relative_error": errors}
    size = sum(part.weight_bytes for part in made.parts)
    if made.options.precision == "fp32" and size <= _PICTURES_UP_TO_BYTES:
        with stage("parity with diffusers' pipelines"):
            parity["pictures"] = diffusion_parity.compare_pictures(made.root, made.options.name, checkpoints)
    else:
        parity["pictures"] = "left out: the model is large or not fp32, so its parts were compared one by one"
    return parity


def _manifest(made: _Build, checkpoints: Mapping[str, DiffusionCheckpoint], parity: dict[str, Any]) -> Manifest:
    options = made.options
    steps: dict[str, dict[str, Any]] = {part.step: {} for part in made.parts}
    latency: dict[str, float] = {}
    for part in made.parts:
        if part.profile:
            steps[part.step]["profile"] = as_facts(part.profile)
        elif options.is_measured:
            with stage(f"footprint and latency of {part.step}"):
                measured = measure_graph(part.graph, part.inputs)
            steps[part.step]["footprint_bytes"] = {"cpu": measured.bytes}
            latency[f"{part.step}_p50_ms"] = round(measured.p50_s * 1e3, 2)
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=f"{', '.join(each.name for each in checkpoints.values())}: images from text, {options.precision}",
        provenance={
            "models": {use: {"name": each.name, "licence": each.licence} for use, each in checkpoints.items()},
            "fingerprints": {step: key.split()[-1] for key, step in made.names.items() if "tokenizer" not in key},
            "options": {key: value for key, value in asdict(options).items() if key not in {"model", "inpainting"}},
            "made_with": made_with("torch", "diffusers", "transformers", "tokenizers", "onnx", "onnxruntime"),
        },
        parity=parity,
        latency=latency,
        steps={step: facts for step, facts in steps.items() if facts},
    )
