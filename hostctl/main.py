"""The command line `hostctl`: which verbs there are, and the one place where an error becomes a sentence and an exit code.

A verb's module is imported when the verb is used: `hostctl --help` imports click and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from hostctl.errors import HostctlError, UsageError

PROGRAM = "hostctl"
VERBS = {
    "demo": ("demo", "Measure two models on this machine: everything once, end to end."),
    "devices": ("devices", "List the farm at a glance."),
    "show": ("devices", "Show one device in full."),
    "reserve": ("leases", "Reserve a device."),
    "renew": ("leases", "Extend a lease."),
    "release": ("leases", "Give a lease back."),
    "leases": ("leases", "List leases."),
    "run": ("run", "Measure a model: time, power, energy, each with its uncertainty."),
    "infer": ("infer", "Run one inference."),
    "stats": ("live", "Watch a device's processors, memory and temperatures."),
    "power": ("live", "Watch a device's power rails."),
    "meter": ("meter", "Instruments: list, read, check, calibrate, latency."),
    "sim": (
        "sim",
        "Simulate an instrument: it speaks the real protocol and measures a load whose energy is known.",
    ),
    "model": ("model", "Models: count operations, build the zoo's."),
    "results": ("results", "What was measured: list, show, export, report."),
    "calc": ("calc", "Apply the formulas to numbers typed in."),
    "deploy": ("deploy", "Install farmd on a board over ssh, or upgrade it."),
    "doctor": ("doctor", "Tell what on this machine is missing, and the command that mends it."),
    "completion": ("completion", "Print the shell's completion script."),
}
"""Verb → (module in hostctl.cli, one line of help). The line equals the verb's own; a test compares them."""


@dataclass
class Settings:
    """Global options. `config` None: the inventory is looked for in the usual places."""

    debug: bool = False
    config: Path | None = None


class Interrupted(BaseException):
    """The process was asked to end (SIGTERM, SIGHUP). Like KeyboardInterrupt it runs every clean-up on its way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb; None if there is none of that name."""
        if cmd_name not in VERBS:
            return None
        import importlib

        module = importlib.import_module(f"hostctl.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown verb with the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise click.UsageError(f"There is no verb '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version('wattfarm')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed or invalid, 2 wrong usage, 3 nothing free, 4 device unreachable, 5 refused.",
)
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Inventory to use instead of farm.toml."
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context, debug: bool, config: Path | None) -> None:
    """Measure machine-learning inference on the boards of a farm, and on this machine ('local')."""
    settings = ctx.ensure_object(Settings)
    settings.debug, settings.config = debug, config


def _raise_interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    # Once is enough: a second signal must not break off the clean-up.
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; every error has been told on stderr."""
    settings = Settings()
    try:
        result = cli.main(list(arguments), prog_name=PROGRAM, standalone_mode=False, obj=settings)
    except click.UsageError as error:
        return _tell(_usage(error), 2, settings)
    except click.ClickException as error:
        return _tell(error.format_message(), error.exit_code, settings)
    except (KeyboardInterrupt, click.Abort):
        return _tell("Interrupted.", 130, settings)
    except Interrupted as error:
        return _tell("Ended by a signal.", error.exit_code, settings)
    except Exception as error:
        return _tell(*_sentence(error), settings)
    return result if isinstance(result, int) else 0


def _tell(sentence: str, code: int, settings: Settings) -> int:
    if settings.debug:
        traceback.print_exc()
    click.echo(f"{PROGRAM}: {sentence}", err=True)
    return code


def _usage(error: click.UsageError) -> str:
    where = error.ctx.command_path if error.ctx else PROGRAM
    message = error.format_message().rstrip(".")
    return message if message.endswith("?") else f"{message}; see '{where} --help'."


def _sentence(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code of any exception."""
    if isinstance(error, HostctlError):
        return error.message, error.exit_code
    if _is_from(error, "power.errors", "OptionInvalid"):
        return str(error), UsageError.exit_code
    if _is_from(error, "power.errors", "PowerError") or _is_from(error, "targets.errors", "TargetsError"):
        return str(error), 1
    if _is_from(error, "grpc", "RpcError"):
        from hostctl.rpc import translate

        told = translate(error, "the device", "its address")  # type: ignore[arg-type]
        return told.message, told.exit_code
    if isinstance(error, ModuleNotFoundError):
        return (
            f"This needs the package '{error.name}', which is not installed; run pip install 'wattfarm[host]'.",
            1,
        )
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return f"The system refused: {error.strerror}{place}; mend that and try again.", 1
    text = " ".join(str(error).split()) or "no message"
    return f"Unexpected {type(error).__name__}: {text}; run again with --debug and report it.", 1


def _is_from(error: Exception, module: str, name: str) -> bool:
    """Whether the error is of a class that may not have been imported at all."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, name))


def main() -> NoReturn:
    """Entry point of `hostctl`."""
    # ONNX Runtime's wheels send events unless told not to; nobody asked for that by counting operations.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_interrupted)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing may be written at interpreter exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
