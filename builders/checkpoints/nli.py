"""Natural language inference checkpoints: which of the classes says that a hypothesis follows, which that it does not.

Published models order their classes in every possible way (facebook/bart-large-mnli: entailment 2; roberta-large-mnli:
ENTAILMENT 2; MoritzLaurer's DeBERTa models: entailment 0, or entailment and not_entailment), so the config's own names
decide.
"""

from dataclasses import dataclass

from builders.checkpoints import sequence_classification
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.sequence_classification import ClassifierCheckpoint


@dataclass(frozen=True, slots=True)
class NliCheckpoint:
    """A sequence classifier, and the ids of its two classes that matter here."""

    classifier: ClassifierCheckpoint
    entailment: int
    contradiction: int

    @property
    def is_read_alike_by_transformers(self) -> bool:
        """Whether transformers' pipeline, which does not look for the contradiction's name, takes the same class."""
        taken = len(self.classifier.labels) - 1 if self.entailment == 0 else 0
        return taken == self.contradiction


def read(model: str) -> NliCheckpoint:
    """Find a checkpoint and read it. Raises UnusableCheckpoint: it is not there, or not an NLI model."""
    classifier = sequence_classification.read(model)
    return NliCheckpoint(classifier, *class_ids(classifier.labels, classifier.name))


def class_ids(labels: tuple[str, ...], name: str) -> tuple[int, int]:
    """The ids of entailment and contradiction (or of "not entailment").

    Raises:
        UnusableCheckpoint: the labels do not tell.
    """
    plain = [label.lower().replace("-", "_").replace(" ", "_") for label in labels]
    entailment = [index for index, label in enumerate(plain) if label.startswith("entail")]
    contradiction = [
        index for index, label in enumerate(plain) if label.startswith(("contradict", "not_entail", "non_entail"))
    ]
    if len(entailment) == 1 and len(contradiction) == 1:
        return entailment[0], contradiction[0]
    missing = "entailment" if len(entailment) != 1 else "contradiction (or not_entailment)"
    raise UnusableCheckpoint(
        f"{name} is no natural language inference model, or does not say so: exactly one of its labels must be "
        f"{missing}, and they are {list(labels)}. If you know their order, write id2label and label2id in config.json"
    )
