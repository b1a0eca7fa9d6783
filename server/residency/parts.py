"""What an archive is made of, for the access log: measured where it was loaded, predicted elsewhere."""

from server.domain.model import FileSha, StagedArchive
from server.domain.part import Part
from server.residency.memory.footprint import Footprints


def parts_of(archive: StagedArchive | None, footprints: Footprints) -> tuple[Part, ...]:
    """The archive's steps, and the weight files that they map; nothing where nobody knows the archive. No I/O.

    A mapped file is a part of its own, since other steps may map it too. The seconds of loading are the steps'.
    """
    if archive is None:
        return ()
    files: dict[FileSha, int] = {}
    steps = []
    for step in archive.steps:
        footprint = footprints.predict(step)
        own_bytes = sum(footprint.bytes_by_device.values()) - sum(footprint.mapped.values())
        steps.append(Part(step.digest, own_bytes, footprints.predict_load_s(step)))
        for file, amount in footprint.mapped.items():
            files[file] = max(amount, files.get(file, 0))
    return (*steps, *(Part(file, amount, 0.0) for file, amount in files.items()))
