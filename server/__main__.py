"""The command `roundhouse`. Commands are found by entry point: serving needs no builder, building needs no server."""

from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "roundhouse.commands"


class Commands(click.Group):
    """Loads a command when it is asked for: `roundhouse serve` must not pay for importing the builders."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all installed commands."""
        del ctx
        return sorted(entry_points(group=GROUP).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        del ctx
        found: tuple[EntryPoint, ...] = tuple(entry_points(group=GROUP, name=cmd_name))
        if not found:
            return None
        command = found[0].load()
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="roundhouse")
def main() -> None:
    """Serve thousands of model archives from one GPU host.

    \b
    roundhouse build demo                        build archives with real sentence embeddings
    roundhouse serve --store model_repository/archives
    roundhouse archive inspect FILE              what is inside an archive, and what it shares with others
    roundhouse demo                              see loading, sharing and eviction in a minute
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


if __name__ == "__main__":
    main()
