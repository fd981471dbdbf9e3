"""`hostctl completion bash|zsh|fish`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hostctl.cli.options import json_option
from hostctl.cli.output import print_json
from hostctl.errors import UsageError
from hostctl.main import PROGRAM


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion_command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the shell's completion script.

    For bash: eval "$(hostctl completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"This version of click completes nothing for {shell}; use bash, zsh or fish.")
    script = kind(ctx.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
