"""Sentence embeddings from a BERT-like encoder: text in, one vector per text out.

Two layouts with the same public face (INPUT0 BYTES [-1, 1], OUTPUT0 FP32 [-1, width]):

    pooled (default)   tokenize -> encoder (pooling and normalisation inside the graph)
    three-step         preprocess -> bert -> postprocess, as in AWS's walk-through for Triton ensembles

Reference: the checkpoint itself, run by sentence-transformers; the build fails where the archive differs from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from builders.checkpoints.sentence_transformers import SentenceCheckpoint, read
from builders.export import optimise, quantise, torch_onnx
from builders.pipeline import folder as pipeline
from builders.pipeline.extras import need
from builders.pipeline.measure import Measured, measure_text_model
from builders.pipeline.parity import check_embeddings, provenance
from builders.pipeline.progress import stage
from builders.triton_config import model as triton
from server.archive.manifest import Manifest

Layout: TypeAlias = Literal["pooled", "three-step"]
Precision: TypeAlias = Literal["fp32", "int8"]
TASK = "sentence-embedding"
_IDS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose."""

    model: str = "all-MiniLM-L6-v2"
    name: str = "minilm"
    layout: Layout = "pooled"
    precision: Precision = "fp32"
    target: triton.Target = "cpu"
    max_batch_size: int = 64
    is_measured: bool = True


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
        UnusableCheckpoint, MissingExtra: before anything is written.
        ParityFailed: the archive would not equal the reference; nothing is left behind.
    """
    checkpoint = read(options.model)
    names = _NAMES[options.layout]
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        with stage("tokenizer"):
            _tokenize_step(checkpoint, options, names.tokenize, root)
        _encoder_step(checkpoint, options, names, root, work)
        _ensemble(checkpoint, options, names, root)
        if options.layout == "three-step":
            _pool_step(checkpoint, options, root)
        tokenizer = root / names.tokenize / "1" / "tokenizer.json"
        graph = root / names.encoder / "1" / "model.onnx"
        with stage("parity with sentence-transformers"):
            pooling = (checkpoint.pooling, checkpoint.is_normalized) if options.layout == "three-step" else None
            parity = check_embeddings(
                checkpoint.folder, tokenizer, graph, pooling, is_exact=options.precision == "fp32"
            )
        measured = None
        if options.is_measured:
            with stage("footprint and latency"):
                measured = measure_text_model(
                    tokenizer, graph, "The quick brown fox jumps over the lazy dog near the river bank."
                )
        manifest = _manifest(checkpoint, options, names, parity, measured)
        return pipeline.finish(root, manifest, to)


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


def _encoder_step(checkpoint: SentenceCheckpoint, options: Options, names: _Names, root: Path, work: Path) -> None:
    version = root / names.encoder / "1"
    version.mkdir(parents=True)
    with stage("export the encoder to ONNX"):
        plain = _export(checkpoint, work / "plain.onnx", is_pooled=options.layout == "pooled", output=names.encoded)
    if options.precision == "int8":
        with stage("quantise to int8"):
            plain = quantise.quantise(plain, work / "int8.onnx")
    with stage("optimise the graph"):
        optimise.optimise(plain, version, for_gpu=options.target == "gpu")
    width = checkpoint.width
    config = triton.step_config(
        name=names.encoder,
        backend="onnxruntime",
        inputs=[triton.Field(ids, "TYPE_INT64", (triton.DYNAMIC,)) for ids in _IDS],
        outputs=[
            triton.Field(
                names.encoded, "TYPE_FP32", (width,) if options.layout == "pooled" else (triton.DYNAMIC, width)
            )
        ],
        max_batch_size=options.max_batch_size,
        target=options.target,
        graph_level=optimise.ALREADY_OPTIMISED,
    )
    triton.with_warmup(config, dict.fromkeys(_IDS, (16,)))
    (root / names.encoder / "config.pbtxt").write_text(triton.text(config))


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
    (root / options.name / "1").mkdir(parents=True)
    (root / options.name / "1" / ".keep").touch()  # Triton wants a version folder even where it is empty
    (root / options.name / "config.pbtxt").write_text(triton.text(config))


def _export(checkpoint: SentenceCheckpoint, to: Path, *, is_pooled: bool, output: str) -> Path:
    torch, transformers = need("torch"), need("transformers")
    encoder = transformers.AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32)
    module = _module(torch, encoder, checkpoint, is_pooled=is_pooled)
    example = torch.ones(2, 8, dtype=torch.int64)
    batch = {0: "batch", 1: "sequence"}
    return torch_onnx.export(
        module,
        (example, example, example * 0),
        to,
        inputs=_IDS,
        outputs=[output],
        dynamic_axes={**dict.fromkeys(_IDS, batch), output: {0: "batch"} if is_pooled else batch},
    )


def _module(torch: Any, encoder: Any, checkpoint: SentenceCheckpoint, *, is_pooled: bool) -> Any:
    """The encoder with the checkpoint's pooling and normalisation behind it, or alone."""

    class Encoder(torch.nn.Module):  # type: ignore[misc] # torch is imported late: the class cannot be seen by mypy
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            tokens = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state
            return _pooled(torch, tokens, attention_mask, checkpoint) if is_pooled else tokens

    return Encoder()


def _pooled(torch: Any, tokens: Any, attention_mask: Any, checkpoint: SentenceCheckpoint) -> Any:
    if checkpoint.pooling == "cls":
        pooled = tokens[:, 0]
    else:
        mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
        if checkpoint.pooling == "mean":
            pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        else:
            pooled = tokens.masked_fill(mask == 0, -1e9).max(1).values
    return torch.nn.functional.normalize(pooled, p=2, dim=1) if checkpoint.is_normalized else pooled


def _manifest(
    checkpoint: SentenceCheckpoint, options: Options, names: _Names, parity: dict[str, Any], measured: Measured | None
) -> Manifest:
    steps: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    if measured is not None:
        steps = {
            names.tokenize: {"footprint_bytes": {"cpu": measured.tokenizer_bytes}},
            names.encoder: {"footprint_bytes": {"cpu": measured.model_bytes}},
        }
        latency = {"load_ms": round(measured.load_s * 1e3, 1), "one_text_p50_ms": round(measured.p50_s * 1e3, 2)}
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
            },
        ),
        parity=parity,
        latency=latency,
        steps=steps,
    )
