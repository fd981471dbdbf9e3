"""`hostctl deploy BOARD`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import complete_device, examples, json_option, pass_settings
from hostctl.cli.output import print_facts, print_json
from hostctl.main import Settings

if TYPE_CHECKING:
    from hostctl.deploy.install import Outcome
    from hostctl.deploy.plan import Plan, Request
    from hostctl.deploy.remote import Remote
    from hostctl.inventory import Device
    from hostctl.session.progress import Progress

_F = Callable[..., Any]
_WHERE = (
    click.argument("board", shell_complete=complete_device),
    click.option("--ssh", "target", metavar="USER@HOST", required=True, help="Where the board answers ssh."),
    click.option(
        "--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE", help="As ssh takes it after -o (repeatable)."
    ),
    click.option(
        "--ssh-command", metavar="COMMAND", help="Instead of ssh: anything that takes a host and a command line."
    ),
)  # fmt: skip
_WHAT = (
    click.option(
        "--python", metavar="PATH", help="The board's interpreter for farmd, 3.11 or newer; found if not given."
    ),
    click.option(
        "--prefix", metavar="DIR", help="Where releases go [default: /opt/wattfarm; ~/.local/share/wattfarm]."
    ),
    click.option(
        "--extra", "extras", multiple=True, metavar="NAME",
        help="A runtime's packages for the same interpreter, such as onnxruntime (repeatable).",
    ),
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="A farmd.toml for a board that has none."
    ),
    click.option(
        "--wheel", type=click.Path(path_type=Path), metavar="FILE",
        help="This wheel of wattfarm, not the version that runs here.",
    ),
    click.option("--user", "account", default="wattfarm", show_default=True, help="The account that farmd runs as."),
    click.option(
        "--service/--no-service", default=True, show_default=True, help="As a systemd service, or for this user alone."
    ),
)  # fmt: skip
_HOW = (
    click.option("--refresh", is_flag=True, help="Resolve the versions of dependencies anew."),
    click.option("--dry-run", is_flag=True, help="Print the plan and change nothing on the board."),
    click.option("--yes", is_flag=True, help="Do not ask."),
)


def _options(command: _F) -> _F:
    for option in reversed((*_WHERE, *_WHAT, *_HOW)):
        command = option(command)
    return command


@click.command(
    "deploy",
    epilog=examples(
        "hostctl deploy orin-1 --ssh lab@10.0.0.21",
        "hostctl deploy orin-1 --ssh lab@10.0.0.21 --extra onnxruntime --config orin-1.toml --yes",
        "hostctl deploy pi-2 --ssh pi@10.0.0.22 --no-service",
    ),
)
@_options
@json_option
@pass_settings
def deploy_command(settings: Settings, /, **given: Any) -> None:
    """Install farmd on a board over ssh, or upgrade it.

    Wheels are collected here and installed there offline. The board keeps the version that it runs until the new one
    answers; if it does not, the old one comes back.
    """
    from hostctl.deploy.remote import connect
    from hostctl.session.progress import progress_on

    known = _known(settings, given["board"])
    request = _request(known, given)
    request.check()
    progress = progress_on()
    with (
        connect(given["target"], given["ssh_command"], given["ssh_options"]) as remote,
        _closing_line(progress),
    ):
        plan = _plan(remote, request, given, progress)
        if given["dry_run"]:
            progress.clear()
            _show_plan(plan, given["as_json"])
            return
        if not given["yes"]:
            progress.clear()
            _ask(plan)
        outcome = _carry_out(plan, remote, known, progress)
    _finish(plan, outcome, given["target"], given["as_json"])


@contextmanager
def _closing_line(progress: Progress) -> Iterator[None]:
    """Take the line of progress away, however the block ends."""
    try:
        yield
    finally:
        progress.clear()


def _known(settings: Settings, name: str) -> Device | None:
    """Return the board's entry of the inventory; None before it has one."""
    from hostctl.inventory import load_inventory

    device = load_inventory(settings.config).devices.get(name)
    return device if device is not None and device.address is not None else None


def _request(known: Device | None, given: dict[str, Any]) -> Request:
    from hostctl.deploy.plan import Request

    return Request(
        device=given["board"],
        board=known.board if known is not None else None,
        prefix=given["prefix"],
        python=given["python"],
        account=given["account"],
        config=_text(given["config"]),
        service=given["service"],
    )


def _text(config: Path | None) -> str | None:
    from hostctl.errors import UsageError

    try:
        return None if config is None else config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"The settings {config} cannot be read ({why}); check --config.") from None


def _plan(remote: Remote, request: Request, given: dict[str, Any], progress: Progress) -> Plan:
    from hostctl.deploy.facts import choose_python, examine
    from hostctl.deploy.ownwheel import own_wheel
    from hostctl.deploy.plan import check_board, make_plan
    from hostctl.deploy.wheels import collect, target_of
    from hostctl.paths import cache_dir

    progress.step("looking at the board")
    facts = examine(remote, prefix=request.prefix, service=request.service, python=request.python)
    check_board(request, facts)
    python = choose_python(facts, request.python)
    target = target_of(facts, python)
    cache = cache_dir() / "deploy"
    progress.step(f"collecting wheels for {target.title}")
    own = given["wheel"] or own_wheel(cache)
    bundle = collect(own, ("board", *given["extras"]), target, cache, refresh=given["refresh"])
    return make_plan(request, facts, python, bundle)


def _carry_out(plan: Plan, remote: Remote, known: Device | None, progress: Progress) -> Outcome:
    """Do it, with the board reserved where the farm knows it: nobody's measurement is to be cut off by a restart."""
    from hostctl.deploy.install import Deployment
    from hostctl.session.reservation import Wanted, reserved

    deployment = Deployment(plan, remote, progress.step)
    if known is None or not plan.request.service:
        return deployment.carry_out()
    with reserved(Wanted([known], {}, wait=False), progress):
        return deployment.carry_out()


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json({**_facts(plan), "state": "planned", "steps": plan.lines()})
        return
    for line in plan.lines():
        click.echo(f"- {line}")


def _ask(plan: Plan) -> None:
    from hostctl.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask at; look at the plan with --dry-run, then give --yes.")
    for line in plan.lines():
        click.echo(f"- {line}", err=True)
    click.confirm(f"Do this on {plan.facts.host}?", abort=True, err=True)


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "device": plan.request.device,
        "host": plan.facts.host,
        "release": plan.release,
        "version": plan.bundle.version,
        "python": plan.python.path,
        "prefix": plan.layout.prefix,
        "config": plan.layout.config,
        "unit": plan.layout.unit,
        "wheels": [wheel.name for wheel in plan.bundle.wheels],
    }


def _finish(plan: Plan, outcome: Outcome, target: str, as_json: bool) -> None:
    if as_json:
        rest = {
            "state": outcome.state,
            "previous": outcome.previous,
            "sent": outcome.sent,
            "sent_bytes": outcome.sent_bytes,
            "listen": outcome.listen,
            "start_command": plan.layout.start_command,
            "notes": list(outcome.notes),
        }
        print_json({**_facts(plan), **rest})
        return
    for note in outcome.notes:
        click.echo(note)
    print_facts(
        [
            ("device", plan.request.device),
            ("state", outcome.state),
            ("release", outcome.release),
            ("before", outcome.previous),
            ("listens at", outcome.listen),
            ("start it with", None if plan.layout.unit else plan.layout.start_command),
            ("reach it with", _reach(outcome.listen, target)),
        ]
    )


def _reach(listen: str, target: str) -> str | None:
    """Return how a workstation gets at a farmd that only its own board can reach; None where it listens beyond."""
    if not listen.startswith(("127.", "[::1]", "localhost:")):
        return None
    return f"ssh -N -L {listen.rpartition(':')[2]}:{listen} {target}   (or give it [tls]: docs/farmd.md)"
