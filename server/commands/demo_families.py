"""What `roundhouse demo` shows of each picture and text family: one request, its answer, and the pictures it wrote."""

import io
import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console

ARCHIVES: Final = {
    "photo": "photo.tar.gz",
    "zero-shot": "zero-shot-tiny.tar.gz",
    "text": "text-classification-tiny.tar.gz",
    "segment": "segment-anything-tiny.tar.gz",
    "paint": "stable-diffusion-tiny.tar.gz",
    "advertise": "creative-advertising-tiny.tar.gz",
}
_RANDOM: Final = "[dim](random weights: the way is real, the meaning is not)[/dim]"
_JSON: Final = "application/json"
_PNG: Final = "image/png"
_MASK_COLOUR: Final = (255, 64, 0)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer's body, how warm its model was, and seconds from sending to reading."""

    body: bytes
    warmth: str
    took_s: float

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def picture(self) -> Image.Image:
        """The body as a picture."""
        return Image.open(io.BytesIO(self.body))


@dataclass(frozen=True, slots=True)
class Show:
    """A running server at `url`, photographs in `photos`, and the folder that pictures are written to."""

    url: str
    photos: Path
    pictures: Path
    console: Console

    def run(self) -> None:
        """Ask each family once."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.classify()
        self.ask_texts()
        self.segment()
        self.paint()
        self.advertise()

    def classify(self) -> None:
        """A photo in, its label out, as a picture with a caption."""
        for name in ("cat.png", "coffee.png"):
            answer = self._post("photo", (self.photos / name).read_bytes(), _PNG)
            best = answer.json()[0]
            label = f"{best['label']} {best['score']:.2f}"
            self._say("photo", "4. A photo's label", f"{name}: [bold]{label}[/bold]", answer)
            with Image.open(self.photos / name) as photo:
                captioned = photo.convert("RGB")
            ImageDraw.Draw(captioned).text((8, 8), label, fill="white", stroke_width=2, stroke_fill="black")
            self._save(captioned, f"label-{Path(name).stem}.png")

    def ask_texts(self) -> None:
        """Two questions about a text."""
        text = "The parcel came three days late, and the cup in it was broken."
        labels = ["delivery", "quality", "price"]
        answer = self._post_json("zero-shot", {"inputs": text, "parameters": {"candidate_labels": labels}})
        found = answer.json()
        scores = ", ".join(f"{name} {score:.2f}" for name, score in zip(found["labels"], found["scores"], strict=True))
        self._say("zero-shot", "5. Labels nobody trained for", f"{scores} {_RANDOM}", answer)
        answer = self._post_json("text", {"inputs": text})
        self._say("text", "6. A cascade of classifiers", f"{json.dumps(answer.json())[:100]} {_RANDOM}", answer)

    def segment(self) -> None:
        """A mask drawn over its photo; then a second prompt on the same photo, which costs the decoder only."""
        photo = (self.photos / "cat.png").read_bytes()
        answer = self._post("segment", photo, _PNG, accept=_PNG)
        mask = np.asarray(answer.picture()) > 0
        with Image.open(io.BytesIO(photo)) as opened:
            levels = np.asarray(opened.convert("RGB")).copy()
        levels[mask] = (levels[mask] // 2 + np.array(_MASK_COLOUR, np.uint8) // 2).astype(np.uint8)
        self._save(Image.fromarray(levels), "mask.png")
        self._say("segment", "7. A mask over the photo", f"{mask.mean():.0%} of it {_RANDOM}", answer)
        again = self._post_json(
            "segment", {"image": b64encode(photo).decode(), "points": [[220, 120]], "point_labels": [1]}, accept=_PNG
        )
        self._say("segment", "   another point, same photo", "its embedding was still there", again)

    def paint(self) -> None:
        """An image from text."""
        wish = {"prompt": "a lighthouse in a storm", "num_inference_steps": 8, "seed": 7}
        answer = self._post_json("paint", wish, accept=_PNG)
        self._save(answer.picture(), "painted.png")
        self._say("paint", "8. A picture from text", f"8 steps, seed 7 {_RANDOM}", answer)

    def advertise(self) -> None:
        """An advertising composite, with the product masked by hand."""
        with Image.open(self.photos / "coffee.png") as opened:
            photo = opened.convert("RGB").resize((300, 200))
        mask = Image.new("L", photo.size)
        ImageDraw.Draw(mask).ellipse((70, 25, 265, 180), fill=255)
        wish = {
            "image": _base64(photo),
            "mask": _base64(mask),
            "prompt_fr": "a cup of coffee, studio light",
            "prompt_bg": "a beach at dawn",
            "negative_prompt": "blurred",
            "num_inference_steps": 4,
            "seed": 7,
        }
        answer = self._post_json("advertise", wish, accept=_PNG)
        self._save(answer.picture(), "advertisement.png")
        self._say("advertise", "9. An advertisement", f"the cup on a painted background {_RANDOM}", answer)

    def _say(self, archive: str, title: str, told: str, answer: Answered) -> None:
        self.console.print(f"[bold]{title}[/bold] {ARCHIVES[archive]} ({answer.warmth}, {answer.took_s * 1e3:.0f} ms)")
        self.console.print(f"   {told}")

    def _save(self, picture: Image.Image, name: str) -> None:
        picture.save(self.pictures / name)

    def _post_json(self, archive: str, document: Mapping[str, Any], accept: str = _JSON) -> Answered:
        return self._post(archive, json.dumps(document).encode(), _JSON, accept)

    def _post(self, archive: str, body: bytes, content_type: str, accept: str = _JSON) -> Answered:
        headers = {"x-amzn-sagemaker-target-model": ARCHIVES[archive], "content-type": content_type, "accept": accept}
        begin = time.perf_counter()
        request = Request(f"{self.url}/invocations", body, headers)  # noqa: S310 - our own loopback server
        with urlopen(request, timeout=120) as answer:  # noqa: S310
            return Answered(answer.read(), answer.headers["x-roundhouse-warmth"], time.perf_counter() - begin)


def missing(store: Path) -> Sequence[str]:
    """The archives that this shows and `store` lacks."""
    return [name for name in ARCHIVES.values() if not (store / name).is_file()]


def _base64(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return b64encode(file.getvalue()).decode()
