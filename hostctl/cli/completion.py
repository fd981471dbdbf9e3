"""`hostctl completion bash|zsh|fish`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hostctl.errors import UsageError
from hostctl.main import PROGRAM


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the shell's completion script.

    For bash: eval "$(hostctl completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"This version of click completes nothing for {shell}; use bash, zsh or fish.")
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
