"""A host tier without memory: it keeps what it is told to keep, at once."""


class FakeHost:
    """Implements `server.residency.host.HostTier`."""

    is_on = True

    def __init__(self):
        self.kept = {}
        self.wanted_names = []

    def keep(self, step):
        self.kept[step.digest] = step.name

    def is_kept(self, digest):
        return digest in self.kept

    def wanted(self, digest):
        self.wanted_names.append(self.kept.get(digest))
        return digest in self.kept

    def came_back(self, digest):
        self.kept.pop(digest, None)
