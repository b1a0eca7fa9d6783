"""Reads a Dockerfile: instructions by stage, as far as a structural test needs them."""

import re
from dataclasses import dataclass, field


@dataclass
class Stage:
    """`base` is an image or an earlier stage; `instructions` are (NAME, rest of the line, continuations joined)."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]


@dataclass
class Dockerfile:
    arguments: dict[str, str]
    stages: list[Stage]

    def lineage(self, stage: Stage) -> list[Stage]:
        """The stage and those it is made from, first the oldest."""
        parent = next((each for each in self.stages if each.name == stage.base), None)
        return [*(self.lineage(parent) if parent else []), stage]

    def effective(self, name: str) -> list[str]:
        """All instructions of a name that the last stage has, inherited ones first."""
        return [rest for stage in self.lineage(self.stages[-1]) for rest in stage.all(name)]


def parse(text: str) -> Dockerfile:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    found = Dockerfile({}, [])
    for line in joined:
        name, _, rest = line.strip().partition(" ")
        name, rest = name.upper(), rest.strip()
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            found.stages.append(Stage(base.strip(), alias.strip()))
        elif not found.stages:
            assert name == "ARG", f"{name} before FROM"
            key, _, value = rest.partition("=")
            found.arguments[key] = value
        else:
            found.stages[-1].instructions.append((name, rest))
    return found
