"""The archives that the property tests load, and sums over devices."""

from collections.abc import Iterable, Mapping

from server.domain.model import FileSha, Footprint, StagedArchive, StepDigest
from tests.fakes.source import archive, step

GPU = "gpu:0"
CPU = "cpu"


def sized(gpu: int = 0, cpu: int = 0, **mapped: int) -> Footprint:
    """`mapped`: weight files by name, whose bytes are among those on the host."""
    amounts = {device: amount for device, amount in ((GPU, gpu), (CPU, cpu)) if amount}
    return Footprint(amounts, mapped={FileSha(name): amount for name, amount in mapped.items()})


def universe() -> list[StagedArchive]:
    """Ensembles that share a tokenizer and an encoder, loners of several sizes, new content, and one giant.

    And the tuned ones: steps that differ, and map the same weight files.
    """
    tokenizer = step("tokenizer", predicted=sized(cpu=4))
    encoder = step("encoder", predicted=sized(gpu=18, cpu=2))
    made = []
    for number, size in enumerate((3, 5, 9)):
        head = step(f"head{number}", predicted=sized(gpu=size))
        whole = step(f"ensemble{number}", calls=(tokenizer, encoder, head), predicted=sized(cpu=1))
        made.append(archive(f"shared{number}", tokenizer, encoder, head, whole))
    made.append(archive("twin", *made[0].steps))
    for number, size in enumerate((10, 10, 16, 24, 30)):
        made.append(archive(f"loner{number}", step(f"model{number}", predicted=sized(gpu=size))))
    made.append(archive("loner0", step("model0b", predicted=sized(gpu=12)), version="2"))
    made.append(archive("shared0", tokenizer, encoder, step("head0b", predicted=sized(gpu=4)), version="2"))
    made.append(archive("on-host", step("host", predicted=sized(cpu=9))))
    tuned = sized(cpu=6, base=5), sized(cpu=8, base=5, more=1), sized(cpu=5, base=3), sized(cpu=10, base=5)
    for number, footprint in enumerate(tuned):
        made.append(archive(f"tuned{number}", step(f"tune{number}", predicted=footprint)))
    made.append(archive("tuned0", step("tune0b", predicted=sized(cpu=7, base=5)), version="2"))
    made.append(archive("giant", step("giant", predicted=sized(gpu=1000))))
    return made


PREDICTED = {each.digest: each.predicted for held in universe() for each in held.steps}


def digests(held: StagedArchive) -> set[StepDigest]:
    return {each.digest for each in held.steps}


def together(footprints: Iterable[Footprint]) -> dict[str, int]:
    """What the steps take: each its own, and each mapped file once, as far as any of them maps it."""
    total: dict[str, int] = {}
    files: dict[FileSha, int] = {}
    for footprint in footprints:
        add(total, dict(footprint.bytes_by_device))
        for file, amount in footprint.mapped.items():
            add(total, {CPU: -amount})
            files[file] = max(amount, files.get(file, 0))
    add(total, {CPU: sum(files.values())} if files else {})
    return total


def add(room: dict[str, int], amounts: Mapping[str, int], sign: int = 1) -> None:
    for device, amount in amounts.items():
        room[device] = room.get(device, 0) + sign * amount


def difference(larger: Mapping[str, int], smaller: Mapping[str, int]) -> dict[str, int]:
    """By how much, on the devices where it is more than nothing."""
    return {
        device: amount - smaller.get(device, 0) for device, amount in larger.items() if amount > smaller.get(device, 0)
    }


def covers(freed: Mapping[str, int], needed: Mapping[str, int]) -> bool:
    return all(freed.get(device, 0) >= amount for device, amount in needed.items())
