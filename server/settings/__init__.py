"""What an operator can decide. Read once, in `commands`, and passed on; nothing else reads the environment."""

from server.settings.model import EngineKind, Mode, PingMode, Settings

__all__ = ["EngineKind", "Mode", "PingMode", "Settings"]
