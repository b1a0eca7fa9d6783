"""Which archive a request means, from what its surface lets a caller say.

SageMaker has two names for one thing: the platform's opaque model id (`/models/<id>/invoke`) and the caller's
TargetModel. An explicitly loaded model answers to both. Everything behind this file knows an archive by one name only:
the target of a loaded model (its id where it has none), or the canonical name of an archive of the store.
"""

from typing import Final

from server.domain.errors import ArchiveNotFound, NotLoaded, WrongTarget
from server.store.names import canonical
from server.store.registered import RegisteredFolders

KSERVE_VERSION: Final = "1"


class AddressBook:
    """Turns what callers say into archive names. Never asks the store: an unknown archive is the lease's error.

    All of it raises ArchiveNotFound for what cannot be a name.
    """

    def __init__(self, registered: RegisteredFolders, default_model: str | None = None) -> None:
        self._registered = registered
        self._default_model = default_model

    def by_target(self, target: str) -> str:
        """Say what a request means by its TargetModel, or by none in single-model mode.

        Raises:
            WrongTarget: it has none, and there is no default model.
        """
        said = target or self._default_model
        if said is None:
            raise WrongTarget(
                "which model? Send the header X-Amzn-SageMaker-Target-Model (TargetModel in boto3) with the archive's "
                "name, for example minilm.tar.gz; this server has no default model"
            )
        return self.by_name(said)

    def by_name(self, said: str) -> str:
        """Say what a name means: the id or the target of a loaded model, else an archive of the store."""
        model = self._registered.find(said)
        return canonical(said) if model is None else model.name

    def by_version(self, said: str, version: str) -> str:
        """Say what a KServe name with a version means. Every archive has one version: "1". Raises ArchiveNotFound."""
        if version not in ("", KSERVE_VERSION):
            raise ArchiveNotFound(f"{said}, version {version}")
        return self.by_name(said)

    def by_id(self, id: str, target: str) -> str:  # noqa: A002 - SageMaker's word
        """Say what `/models/<id>` means; the TargetModel header, if any, has to agree with it.

        Raises:
            NotLoaded: nothing is loaded under the id, and the header says that no archive of the store is meant either.
                The platform sends the header with every request and needs a 404 here, after which it loads.
            WrongTarget: the header names another model than the path. Serving either would answer with the wrong
                model half of the time.
        """
        name = self.by_name(id)
        if target and self.by_name(target) != name:
            if self._registered.find(id) is None:
                raise NotLoaded(id)
            raise WrongTarget(
                f"the X-Amzn-SageMaker-Target-Model header names {target!r}, but the model requested in the URL is "
                f"{name!r}"
            )
        return name
