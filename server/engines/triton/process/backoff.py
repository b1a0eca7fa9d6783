"""How long to wait before tritonserver is started again. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first_s` to `longest_s`; a run of at least `healthy_after_s` starts over."""

    first_s: float = 0.5
    longest_s: float = 30.0
    healthy_after_s: float = 60.0
    _next_s: float = 0.0

    def after_run(self, ran_s: float) -> float:
        """Seconds to wait after a process that was up for `ran_s` seconds (0: it never came up)."""
        if ran_s >= self.healthy_after_s or self._next_s == 0.0:
            self._next_s = self.first_s
        wait_s = self._next_s
        self._next_s = min(self._next_s * 2, self.longest_s)
        return wait_s
