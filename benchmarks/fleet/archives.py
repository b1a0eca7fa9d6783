"""From weights to archives: bases once, and 2,000 heads that either name their base or carry a copy of it.

`full` archives carry everything. `delta` archives carry their head and say which step of which base they need, which
takes some KB; the step's digest is asked of `roundhouse archive inspect`, as a deployer would.
"""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from benchmarks.fleet.encoder import Floats, Ids, Shape, embed, encoder_weights, head_weights, score
from benchmarks.fleet.graphs import configs, encoder_files, head_file
from benchmarks.load.processes import ROUNDHOUSE

Form: TypeAlias = Literal["full", "delta"]

TEXTS: Final = 64
_ABOUT: Final = "scores of token ids, for a benchmark"
_UNKNOWN: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Member:
    """One archive of the fleet: its name in the store, its base, its number among that base's heads."""

    name: str
    group: str
    base: int
    head: int


class Fleet:
    """`bases` x `heads` archives, all from one seed."""

    def __init__(self, bases: int, heads: int, *, seed: int, shape: Shape | None = None, groups: int = 20) -> None:
        self.bases, self.heads, self.seed, self.shape = bases, heads, seed, shape or Shape()
        rng = np.random.default_rng((seed, 0))
        places = [(base, head) for base in range(bases) for head in range(heads)]
        tenants = [f"tenant-{tenant:02}" for tenant in rng.integers(groups, size=len(places)).tolist()]
        self.members = tuple(
            Member(f"{tenant}/bert-{base:02}-head-{head:04}.tar", tenant, base, head)
            for tenant, (base, head) in zip(tenants, places, strict=True)
        )

    @cached_property
    def texts(self) -> Ids:
        """What is sent: token ids INT64 [TEXTS, tokens]."""
        rng = np.random.default_rng((self.seed, 1))
        return rng.integers(self.shape.vocabulary, size=(TEXTS, self.shape.tokens))

    def expected(self) -> Callable[[int, int], Floats]:
        """The reference: scores FP32 [classes] of a member (by index) and a text (by index)."""
        embeddings = [embed(self.shape, self._base(base), self.texts) for base in range(self.bases)]

        def scores(member: int, text: int) -> Floats:
            who = self.members[member]
            (only,) = score(self._head(who), embeddings[who.base][text : text + 1])
            return np.asarray(only, np.float32)

        return scores

    def archives(self, form: Form, footprints: Mapping[str, int] = _UNKNOWN) -> Iterator["Packed"]:
        """Every object of the store: bases (only in `delta` form) and heads.

        `footprints`: bytes by step that the manifests tell, as a builder's measurement would.
        """
        steps = {step: {"footprint_bytes": {"cpu": size}} for step, size in footprints.items()}
        texts = configs(self.shape)
        for base in range(self.bases):
            files = {f"encoder/1/{name}": content for name, content in self._encoder_files(base).items()}
            files["encoder/config.pbtxt"] = texts["encoder"].encode()
            needs: dict[str, Any] = {}
            if form == "delta":
                packed = Packed(_base_name(base), _tar(files))
                needs = {"needs": {"steps": {"encoder": {"digest": _digest(packed), "from": packed.name}}}}
                files = {}
                yield packed
            for member in self.members[base * self.heads : (base + 1) * self.heads]:
                manifest = {
                    "format_version": 1,
                    "description": _ABOUT,
                    "entry_model": "classify",
                    "steps": steps,
                    **needs,
                }
                own = {
                    "classify/config.pbtxt": texts["classify"].encode(),
                    "head/1/model.onnx": head_file(self.shape, self._head(member)),
                    "head/config.pbtxt": texts["head"].encode(),
                    "roundhouse.json": json.dumps(manifest).encode(),
                }
                yield Packed(member.name, _tar(files | own))

    def _base(self, base: int) -> dict[str, Floats]:
        return encoder_weights(self.shape, (self.seed, 2, base))

    def _head(self, member: Member) -> dict[str, Floats]:
        return head_weights(self.shape, (self.seed, 3, member.base, member.head))

    def _encoder_files(self, base: int) -> dict[str, bytes]:
        return encoder_files(self.shape, self._base(base))


@dataclass(frozen=True, slots=True)
class Packed:
    """An object for the store."""

    name: str
    content: bytes


def _base_name(base: int) -> str:
    return f"bases/bert-{base:02}.tar"


def _digest(packed: Packed) -> str:
    """The step digest of the one step of a base, as the server will compute it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "base.tar")
        file.write_bytes(packed.content)
        command = [str(ROUNDHOUSE), "archive", "inspect", "--json", str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return str(json.loads(told)["steps"][0]["digest"])


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
