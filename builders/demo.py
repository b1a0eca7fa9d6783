"""The demo set: one archive of every family, enough to see each answer, and loading, sharing and eviction.

Sentence embeddings, the topic classifier and the photo classifier have real weights. The others have the real
architecture, small, with random weights from a seed: no package ships real ones. Their answers mean nothing, but come
the way of real ones.
"""

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from builders.checkpoints.random_classifier import RandomClassifier
from builders.checkpoints.sentence_transformers import read, weights_sha256
from builders.demo_photos import place_photos
from builders.families import (
    creative_advertising,
    image_classification,
    segment_anything,
    sentence_classifier,
    sentence_embedding,
    stable_diffusion,
    text_classification,
    zero_shot_classification,
)
from builders.families.sentence_embedding import Options
from builders.pipeline.folder import work_folder
from builders.pipeline.parity import embed
from builders.pipeline.progress import CONSOLE
from server.archive.unpack import UnpackLimits, unpack

TOPICS = {
    "sports": ("The striker scored twice in the second half.", "She won the marathon.", "a tennis tournament final"),
    "cooking": ("Simmer the onions in butter.", "a recipe for bread", "Season the soup with salt and thyme."),
    "finance": ("The central bank raised interest rates.", "stock market shares fell", "quarterly earnings and profit"),
    "travel": ("We booked a flight and a hotel.", "a train journey through the Alps", "tourists visit the old town"),
}
"""Sentences whose mean embeddings make the weights of the topic head: a nearest-centroid classifier."""

_SHARPNESS = 20.0
"""Softmax temperature: cosines of MiniLM lie close together, and bare ones would give flat scores."""


def build_demo(to: Path) -> list[Path]:
    """Build what is missing or out of date below `to`; returns all the archives."""
    to.mkdir(parents=True, exist_ok=True)
    recipes: dict[str, Callable[[Path], Path]] = {
        "minilm.tar.gz": lambda path: sentence_embedding.build(Options(name="minilm"), path),
        "minilm-int8.tar.gz": lambda path: sentence_embedding.build(
            Options(name="minilm-int8", precision="int8"), path
        ),
        "minilm-three-step.tar.gz": lambda path: sentence_embedding.build(
            Options(name="minilm-three-step", layout="three-step"), path
        ),
        "topic.tar.gz": lambda path: _topic(to / "minilm.tar.gz", path),
        **_others(to),
    }
    place_photos(to.parent / "photos")
    stamp = _stamp()
    for name, recipe in recipes.items():
        mark = to / f".{name}.stamp"
        if (to / name).is_file() and mark.is_file() and mark.read_text() == stamp:
            CONSOLE.print(f"[bold]{name}[/bold] is up to date")
            continue
        CONSOLE.print(f"[bold]{name}[/bold]")
        recipe(to / name)
        mark.write_text(stamp)
    return [to / name for name in recipes]


def _others(to: Path) -> dict[str, Callable[[Path], Path]]:
    """The families beside sentence embeddings. The last one is made of the two before it."""
    photo = image_classification.Options(name="photo", architecture="efficientnet-lite0", is_measured=False)
    zero_shot = zero_shot_classification.Options(is_measured=False)
    text = text_classification.Options(
        source=text_classification.Source(random=RandomClassifier(labels=("praise", "complaint"))),
        second=text_classification.Second(
            text_classification.Source(random=RandomClassifier(seed=1, labels=("late", "broken", "rude"))),
            fires="complaint",
        ),
        is_measured=False,
    )
    sam = segment_anything.Options(size="tiny", is_measured=False)
    diffusion = stable_diffusion.Options(size="tiny", is_measured=False)
    advertising = creative_advertising.Options(to / "segment-anything-tiny.tar.gz", to / "stable-diffusion-tiny.tar.gz")
    return {
        "photo.tar.gz": lambda path: image_classification.build(photo, path),
        "zero-shot-tiny.tar.gz": lambda path: zero_shot_classification.build(zero_shot, path),
        "text-classification-tiny.tar.gz": lambda path: text_classification.build(text, path),
        "segment-anything-tiny.tar.gz": lambda path: segment_anything.build(sam, path),
        "stable-diffusion-tiny.tar.gz": lambda path: stable_diffusion.build(diffusion, path),
        "creative-advertising-tiny.tar.gz": lambda path: creative_advertising.build(advertising, path),
    }


def _topic(base: Path, to: Path) -> Path:
    """Fit the topic head on the base's own embeddings."""
    with work_folder(to.parent) as work:
        folder = work / base.name
        with base.open("rb") as file:
            unpack(file, folder, UnpackLimits(total_bytes=1 << 34))
        tokenizer, graph = folder / "tokenize/1/tokenizer.json", folder / "encoder/1/model.onnx"
        centroids = np.stack([embed(tokenizer, graph, list(texts), None).mean(axis=0) for texts in TOPICS.values()])
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        head = sentence_classifier.Head(
            weights=(centroids.T * _SHARPNESS).astype(np.float32),
            bias=np.zeros(len(TOPICS), np.float32),
            labels=list(TOPICS),
        )
        return sentence_classifier.build(folder, head, "topic", to)


def _stamp() -> str:
    """Changes when the weights, the builders' sources or the library that optimises the graph change."""
    digest = hashlib.sha256()
    digest.update(weights_sha256(read("all-MiniLM-L6-v2").folder).encode())
    digest.update(version("onnxruntime").encode())
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "server" / "archive"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
