"""Base and head archives as folders: `one` and `two` lie in the base, the head brings its own ensemble over them."""

from server.archive.digest import step_digest
from server.archive.layout import read_layout
from server.archive.manifest import Manifest, write_manifest
from server.archive.needs import Need
from tests.unit.archive.writing import chain, ensemble_config, repository

BASE = "bases/base.tar.gz"


def digests_of(root):
    """{model name: step digest} of the archive at `root`."""
    known = {}
    for model in read_layout(root).models:
        known[model.name] = step_digest(model, known)
    return known


def base(root, first=b"first", second=b"second"):
    return chain(root, first, second)


def head(root, needs, names=("one", "two"), entry="head"):
    """An ensemble over steps that it does not hold. `needs`: {model: (digest, archive)}."""
    one, two = names
    schedule = ensemble_config([(one, "IN", "between"), (two, "between", "OUT")])
    repository(root, **{entry: {"config.pbtxt": schedule}})
    manifest = Manifest(entry_model=entry, needs={name: Need(digest, of) for name, (digest, of) in needs.items()})
    write_manifest(manifest, root)
    return root


def head_on(base_root, root, archive=BASE, **options):
    """A head that needs `one` and `two` of the base."""
    known = digests_of(base_root)
    return head(root, {name: (known[name], archive) for name in ("one", "two")}, **options)
