"""Sentence embeddings from a BERT-like encoder: text in, one vector per text out.

Two layouts with the same public face (INPUT0 BYTES [-1, 1], OUTPUT0 FP32 [-1, width]):

    pooled (default)   tokenize -> encoder (pooling and normalisation inside the graph)
    three-step         preprocess -> bert -> postprocess, as in AWS's walk-through for Triton ensembles

Reference: the checkpoint itself, run by sentence-transformers; the build fails where the archive differs from it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from builders.checkpoints.sentence_transformers import SentenceCheckpoint, read
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.export import half, optimise, quantise, sentence_encoder
from builders.pipeline import folder as pipeline
from builders.pipeline.accuracy import TEXTS, check_precision, token_samples, vocabulary
from builders.pipeline.content_key import content_key
from builders.pipeline.extras import need
from builders.pipeline.measure import Measured, measure_text_model
from builders.pipeline.parity import MIN_COSINE, MIN_COSINE_FP16, check_embeddings, encoder, provenance
from builders.pipeline.progress import stage
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.agreement import check_agreement
from builders.triton_config.profile import Profile, Range, as_facts, profile_of
from server.archive.manifest import Manifest

Layout: TypeAlias = Literal["pooled", "three-step"]
TASK = "sentence-embedding"
_IDS = sentence_encoder.INPUTS
_PLAIN = "plain.onnx"
_USUAL_TOKENS = 64
"""Most texts are sentences: what GPU kernels are tuned for."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose."""

    model: str = "all-MiniLM-L6-v2"
    name: str = "minilm"
    layout: Layout = "pooled"
    precision: accelerated.Precision = "fp32"
    target: triton.Target = "cpu"
    max_batch_size: int = 64
    is_measured: bool = True
    accelerator: accelerated.Accelerator | None = None
    """How a GPU runs the encoder; `None` is the default one, and the only choice on a CPU."""

    @property
    def where(self) -> accelerated.Placement:
        """Raises click.UsageError where target, accelerator and precision do not go together."""
        return accelerated.placement(self.target, self.accelerator, self.precision)


@dataclass(frozen=True, slots=True)
class _Names:
    """The step names of a layout, and the encoder's output tensor."""

    tokenize: str
    encoder: str
    encoded: str


_NAMES = {
    "pooled": _Names("tokenize", "encoder", "OUTPUT0"),
    "three-step": _Names("preprocess", "bert", "token_embeddings"),
}


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: the archive would not equal the reference; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile the encoder here.
    """
    where = options.where
    require_compiler(where)
    checkpoint = read(options.model)
    names = _NAMES[options.layout]
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        with stage("tokenizer"):
            _tokenize_step(checkpoint, options, names.tokenize, root)
        profile = _encoder_step(checkpoint, options, names, root, work)
        _ensemble(checkpoint, options, names, root)
        if options.layout == "three-step":
            _pool_step(checkpoint, options, root)
        tokenizer = root / names.tokenize / "1" / "tokenizer.json"
        graph = root / names.encoder / "1" / "model.onnx"
        pooling = (checkpoint.pooling, checkpoint.is_normalized) if options.layout == "three-step" else None
        with stage("parity with sentence-transformers"):
            parity = check_embeddings(
                checkpoint.folder,
                tokenizer,
                graph,
                pooling,
                is_exact=options.precision == "fp32",
                min_cosine=MIN_COSINE_FP16 if options.precision == "fp16" else MIN_COSINE,
            )
        if options.precision != "fp32":
            parity["beside_fp32"] = _beside_fp32(options.precision, tokenizer, graph, work / _PLAIN, pooling)
        measured = None
        if options.is_measured:
            with stage("footprint and latency"):
                measured = measure_text_model(
                    tokenizer, graph, "The quick brown fox jumps over the lazy dog near the river bank."
                )
        manifest = _manifest(checkpoint, options, names, parity, measured, profile)
        if where.is_plan:
            manifest = compile_steps(root, manifest, PlanOptions())
        return pipeline.finish(root, manifest, to)


def _beside_fp32(
    precision: accelerated.Precision, tokenizer: Path, graph: Path, plain: Path, pooling: tuple[str, bool] | None
) -> dict[str, Any]:
    """The cosines of this precision's vectors with those of the plain export. Raises ParityFailed."""
    count = TEXTS[precision]
    with stage(f"{precision} beside fp32 on {count} texts"):
        return check_precision(
            precision,
            encoder(tokenizer, graph, pooling),
            encoder(tokenizer, plain, pooling),
            vocabulary(tokenizer),
            count,
        )


def _tokenize_step(checkpoint: SentenceCheckpoint, options: Options, name: str, root: Path) -> None:
    tokenizers = need("tokenizers")
    version = root / name / "1"
    pipeline.place_step_sources("tokenize", version)
    tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    tokenizer.enable_truncation(checkpoint.max_length)
    pad = tokenizer.token_to_id(checkpoint.pad_token)
    tokenizer.enable_padding(pad_id=pad or 0, pad_token=checkpoint.pad_token)
    tokenizer.save(str(version / "tokenizer.json"), pretty=False)
    config = triton.step_config(
        name=name,
        backend="python",
        inputs=[triton.Field("INPUT0", "TYPE_STRING", (1,))],
        outputs=[triton.Field(ids, "TYPE_INT64", (triton.DYNAMIC,)) for ids in _IDS],
        max_batch_size=options.max_batch_size,
        parameters={"EXECUTION": "in-process"},
    )
    (root / name / "config.pbtxt").write_text(triton.text(config))


def _encoder_step(checkpoint: SentenceCheckpoint, options: Options, names: _Names, root: Path, work: Path) -> Profile:
    """Write the encoder; returns the shapes that a GPU must take, {} on a CPU."""
    version = root / names.encoder / "1"
    version.mkdir(parents=True)
    tokenizer = root / names.tokenize / "1" / "tokenizer.json"
    graph = _graph(checkpoint, options, names, version, work, tokenizer)
    width = checkpoint.width
    inputs = [triton.Field(ids, "TYPE_INT64", (triton.DYNAMIC,)) for ids in _IDS]
    outputs = [
        triton.Field(names.encoded, "TYPE_FP32", (width,) if options.layout == "pooled" else (triton.DYNAMIC, width))
    ]
    profile: Profile = {}
    if options.target == "gpu":
        tokens = Range(1, min(_USUAL_TOKENS, checkpoint.max_length), checkpoint.max_length)
        profile = profile_of(inputs, options.max_batch_size, {ids: [tokens] for ids in _IDS})
    config = accelerated.graph_config(
        name=names.encoder,
        inputs=inputs,
        outputs=outputs,
        max_batch_size=options.max_batch_size,
        where=options.where,
        profile=profile,
        cache_key=content_key(version),
        graph_level=None if options.precision == "fp16" else optimise.ALREADY_OPTIMISED,
    )
    if profile:
        accelerated.with_profile_warmup(config, profile)
    else:
        triton.with_warmup(config, dict.fromkeys(_IDS, (16,)))
    check_agreement(config, graph)
    (root / names.encoder / "config.pbtxt").write_text(triton.text(config))
    return profile


def _graph(
    checkpoint: SentenceCheckpoint, options: Options, names: _Names, version: Path, work: Path, tokenizer: Path
) -> Path:
    """Put the encoder's graph, in the precision that is asked for, into the version folder; returns its file."""
    with stage("export the encoder to ONNX"):
        plain = sentence_encoder.export(
            checkpoint, work / _PLAIN, is_pooled=options.layout == "pooled", output=names.encoded
        )
    if options.precision == "fp16":
        with stage("convert to fp16"):
            half.half(plain, work / "half.onnx")
        return Path(shutil.move(work / "half.onnx", version / "model.onnx"))
    if options.precision == "int8":
        with stage("quantise to int8"):
            plain = quantise.quantise(plain, work / "int8.onnx", token_samples(tokenizer, _IDS))
    with stage("optimise the graph"):
        return optimise.optimise(plain, version, for_gpu=options.target == "gpu")


def _pool_step(checkpoint: SentenceCheckpoint, options: Options, root: Path) -> None:
    pipeline.place_step_sources("pool", root / "postprocess" / "1")
    config = triton.step_config(
        name="postprocess",
        backend="python",
        inputs=[
            triton.Field("token_embeddings", "TYPE_FP32", (triton.DYNAMIC, checkpoint.width)),
            triton.Field("attention_mask", "TYPE_INT64", (triton.DYNAMIC,)),
        ],
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (checkpoint.width,))],
        max_batch_size=options.max_batch_size,
        parameters={
            "EXECUTION": "in-process",
            "POOLING": checkpoint.pooling,
            "NORMALIZE": "true" if checkpoint.is_normalized else "false",
        },
    )
    (root / "postprocess" / "config.pbtxt").write_text(triton.text(config))


def _ensemble(checkpoint: SentenceCheckpoint, options: Options, names: _Names, root: Path) -> None:
    same = {ids: ids for ids in _IDS}
    steps = [
        triton.EnsembleStep(names.tokenize, {"INPUT0": "INPUT0"}, same),
        triton.EnsembleStep(names.encoder, same, {names.encoded: names.encoded}),
    ]
    if options.layout == "three-step":
        taken = {"token_embeddings": "token_embeddings", "attention_mask": "attention_mask"}
        steps.append(triton.EnsembleStep("postprocess", taken, {"OUTPUT0": "OUTPUT0"}))
    config = triton.ensemble_config(
        name=options.name,
        inputs=[triton.Field("INPUT0", "TYPE_STRING", (1,))],
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (checkpoint.width,))],
        max_batch_size=options.max_batch_size,
        steps=steps,
    )
    pipeline.place_empty_version(root / options.name)
    (root / options.name / "config.pbtxt").write_text(triton.text(config))


def _manifest(
    checkpoint: SentenceCheckpoint,
    options: Options,
    names: _Names,
    parity: dict[str, Any],
    measured: Measured | None,
    profile: Profile,
) -> Manifest:
    steps: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    if measured is not None:
        steps[names.tokenize] = {"footprint_bytes": {"cpu": measured.tokenizer_bytes}}
        if options.target == "cpu":  # what the encoder takes on this CPU says nothing about a GPU
            steps[names.encoder] = {"footprint_bytes": {"cpu": measured.model_bytes}}
            latency = {"load_ms": round(measured.load_s * 1e3, 1), "one_text_p50_ms": round(measured.p50_s * 1e3, 2)}
    if profile:
        steps[names.encoder] = {"profile": as_facts(profile)}
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=f"{checkpoint.name}: {checkpoint.width} numbers a text, {options.precision}, {options.layout}",
        provenance=provenance(
            checkpoint,
            {
                "layout": options.layout,
                "precision": options.precision,
                "target": options.target,
                "max_batch_size": options.max_batch_size,
                **({"accelerator": options.where.accelerator} if options.target == "gpu" else {}),
            },
        ),
        parity=parity,
        latency=latency,
        steps=steps,
    )
