"""The parts of a Stable Diffusion checkpoint as ONNX graphs, each with names of its own for what goes in and out.

| graph | in | out |
|---|---|---|
| text encoder | input_ids INT64 [batch, 77] | embeddings [batch, 77, width] |
| UNet | latents [batch, channels, h, w], timestep [batch, 1], embeddings | noise [batch, 4, h, w] |
| VAE encoder | image [batch, 3, 8h, 8w] | moments [batch, 8, h, w]: means, log variances |
| VAE decoder | latents [batch, 4, h, w] | image [batch, 3, 8h, 8w] |

All FP32 but the ids. The encoder gives moments and not a sample, because drawing belongs to the caller's seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from builders.export import torch_dynamo, torch_onnx
from builders.pipeline.extras import need

_LARGE_BYTES: Final = 500_000_000
_EXAMPLE_SIDE: Final = 16  # latents; every UNet of the family can halve this often enough
_EXAMPLE_BATCH: Final = 2
_TOKENS: Final = 77

_SIDES: Final = {2: "height", 3: "width"}


@dataclass(frozen=True, slots=True)
class Graph:
    """What an exported part takes and gives: names, and the axes that stay dynamic."""

    inputs: tuple[str, ...]
    output: str
    axes: Mapping[str, Mapping[int, str]]
    wrap: Callable[[Any, Any], Any]
    example: Callable[[Any, Any], Sequence[Any]]


def export(part: str, module: Any, to: Path) -> Path:
    """Write `text_encoder`, `unet`, `vae_encoder` or `vae_decoder` of `module` (for the last two: the VAE) to `to`."""
    torch = need("torch")
    graph = GRAPHS[part]
    export_graph = torch_dynamo.export if is_large(module) else torch_onnx.export
    return export_graph(
        graph.wrap(torch, module).eval(),
        graph.example(torch, module),
        to,
        inputs=graph.inputs,
        outputs=[graph.output],
        dynamic_axes=graph.axes,
    )


def is_large(module: Any) -> bool:
    """Whether its graph has its weights in a file of its own, and is left as the exporter wrote it."""
    return torch_dynamo.weight_bytes(module) > _LARGE_BYTES


def run_reference(part: str, module: Any, inputs: Sequence[Any]) -> Any:
    """What the part itself computes, as a numpy array."""
    torch = need("torch")
    with torch.no_grad():
        return GRAPHS[part].wrap(torch, module).eval()(*map(torch.from_numpy, inputs)).numpy()


def example_inputs(part: str, module: Any) -> list[Any]:
    """Inputs to export and to compare with, as numpy arrays."""
    return [tensor.numpy() for tensor in GRAPHS[part].example(need("torch"), module)]


def _text_encoder(torch: Any, module: Any) -> Any:
    class TextEncoder(torch.nn.Module):  # type: ignore[misc] # torch is imported late: mypy cannot see the class
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, input_ids: Any) -> Any:
            return self.module(input_ids=input_ids).last_hidden_state

    return TextEncoder()


def _unet(torch: Any, module: Any) -> Any:
    class Unet(torch.nn.Module):  # type: ignore[misc] # as above
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, latents: Any, timestep: Any, embeddings: Any) -> Any:
            return self.module(latents, timestep[:, 0], embeddings, return_dict=False)[0]

    return Unet()


def _vae_encoder(torch: Any, module: Any) -> Any:
    class VaeEncoder(torch.nn.Module):  # type: ignore[misc] # as above
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: Any) -> Any:
            return self.module.encode(image).latent_dist.parameters

    return VaeEncoder()


def _vae_decoder(torch: Any, module: Any) -> Any:
    class VaeDecoder(torch.nn.Module):  # type: ignore[misc] # as above
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, latents: Any) -> Any:
            return self.module.decode(latents, return_dict=False)[0]

    return VaeDecoder()


def _ids(torch: Any, module: Any) -> Sequence[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, module.config.vocab_size, (_EXAMPLE_BATCH, _TOKENS), generator=generator)]


def _latents_and_text(torch: Any, module: Any) -> Sequence[Any]:
    generator = torch.Generator().manual_seed(0)
    shape = (_EXAMPLE_BATCH, module.config.in_channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE)
    return [
        torch.randn(shape, generator=generator),
        torch.tensor([[981.0], [12.5]]),
        torch.randn((_EXAMPLE_BATCH, _TOKENS, module.config.cross_attention_dim), generator=generator),
    ]


def _image(torch: Any, module: Any) -> Sequence[Any]:
    side = _EXAMPLE_SIDE * 2 ** (len(module.config.block_out_channels) - 1)
    return [torch.rand((_EXAMPLE_BATCH, 3, side, side), generator=torch.Generator().manual_seed(0)) * 2 - 1]


def _latents(torch: Any, module: Any) -> Sequence[Any]:
    shape = (_EXAMPLE_BATCH, module.config.latent_channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE)
    return [torch.randn(shape, generator=torch.Generator().manual_seed(0))]


_BATCH: Final = MappingProxyType({0: "batch"})
_PLANE: Final = MappingProxyType({0: "batch", **_SIDES})
GRAPHS: Final[Mapping[str, Graph]] = MappingProxyType(
    {
        "text_encoder": Graph(
            ("input_ids",), "embeddings", {"input_ids": _BATCH, "embeddings": _BATCH}, _text_encoder, _ids
        ),
        "unet": Graph(
            ("latents", "timestep", "embeddings"),
            "noise",
            {"latents": _PLANE, "timestep": _BATCH, "embeddings": _BATCH, "noise": _PLANE},
            _unet,
            _latents_and_text,
        ),
        "vae_encoder": Graph(("image",), "moments", {"image": _PLANE, "moments": _PLANE}, _vae_encoder, _image),
        "vae_decoder": Graph(("latents",), "image", {"latents": _PLANE, "image": _PLANE}, _vae_decoder, _latents),
    }
)
"""By part."""
