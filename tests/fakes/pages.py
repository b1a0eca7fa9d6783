"""Files in a memory that nobody has: `FakePages` remembers what was brought, and can be held up in the middle."""

import threading


class FakePages:
    """Implements `server.store.host.pages.Pages`. `held` files wait between their two chunks for `open`."""

    is_locked = False

    def __init__(self):
        self.present = {}
        """Path by file, of what is in memory."""
        self.cooled = []
        self.broken = set()
        """Names of files that cannot be read."""
        self.held = set()
        self.begun = threading.Event()
        self.open = threading.Event()

    def bring(self, file, path):
        if path.name in self.broken:
            raise OSError(5, "broken", str(path))
        self.present[file] = path
        if path.name in self.held:
            self.begun.set()
            assert self.open.wait(10), "nobody opened the gate"
        yield

    def let_go(self, file, path, *, is_cold):
        self.present.pop(file, None)
        if is_cold:
            self.cooled.append(path)

    def close(self):
        assert self.present == {}, "let go of everything first"

    def names(self):
        return sorted(str(path.relative_to(path.parents[1])) for path in self.present.values())
