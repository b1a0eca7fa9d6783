"""What an operator can decide. Read once, in `commands`, and passed on; nothing else reads the environment."""

from server.settings.model import REPEATABLE, EngineKind, Mode, PingMode, Settings

__all__ = ["REPEATABLE", "EngineKind", "Mode", "PingMode", "Settings"]
