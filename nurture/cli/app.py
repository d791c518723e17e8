"""Build the command line. A command's module is imported only when that command runs."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from nurture.cli.commands import COMMANDS, GROUPS
from nurture.runtime.batches import gc_paused

if TYPE_CHECKING:
    from typer._click import core as click

_DAILY = "Every day"
_GROUPS = "Groups"


class LazyGroup(TyperGroup):
    """A group that lists its commands from `COMMANDS` and imports only the one that is run."""

    def __init__(self, *args: Any, path: str = "", **options: Any) -> None:
        """Make the group of the commands below *path*, "" for all."""
        super().__init__(*args, **options)
        self._prefix = f"{path} " if path else ""
        below = [path.removeprefix(self._prefix) for path in (*COMMANDS, *GROUPS) if path.startswith(self._prefix)]
        # The names alone: Typer lists them in help and suggests them for a mistyped one.
        self.commands = dict.fromkeys((name for name in below if " " not in name), self)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command with its name and help, without importing it; None if there is none."""
        path = f"{self._prefix}{cmd_name}"
        if path in GROUPS:
            return LazyGroup(
                name=cmd_name,
                path=path,
                help=GROUPS[path],
                no_args_is_help=True,
                rich_markup_mode=self.rich_markup_mode,
                rich_help_panel=None if self._prefix else _GROUPS,
            )
        if path not in COMMANDS:
            return None
        return TyperCommand(
            name=cmd_name,
            help=_help_of(COMMANDS[path]),
            rich_markup_mode=self.rich_markup_mode,
            rich_help_panel=None if self._prefix else _DAILY,
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is to run, imported."""
        path = f"{self._prefix}{args[0]}"
        if path in COMMANDS:  # not by get_command, which reads the help from the source
            return args[0], load(path), args[1:]
        elsewhere = [f"'nurture {one}'" for one in (*COMMANDS, *GROUPS) if f" {one}".endswith(f" {args[0]}")]
        if elsewhere and args[0] not in self.commands:
            ctx.fail(f"No such command '{args[0]}'. Did you mean {' or '.join(elsewhere)}?")
        return super().resolve_command(ctx, args)


class _Command(TyperCommand):
    """A command that names the value that it cannot use, and what to do next."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args*; an error of a number quotes what was written."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            errors: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
            if errors and isinstance(errors[0].get("input"), str | int | float):
                ids = " `nurture handoffs list` shows the ids." if getattr(error.param, "name", "") == "offer" else ""
                wanted = str(errors[0]["msg"]).partition(",")[0].removeprefix("Input should be ")
                wanted = wanted.replace("a valid integer", "a whole number")
                error.message = f"`{errors[0]['input']}` is not {wanted}.{ids or f' See `{ctx.command_path} --help`.'}"
            raise


def load(path: str) -> click.Command:
    """Import and return the command of *path*, as "leads erase"."""
    module, function = COMMANDS[path].split(":")
    with gc_paused():  # what is imported stays: looking for cycles in it takes a tenth of the start
        command = getattr(import_module(f"nurture.cli.{module}"), function)
    one = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode="rich")
    one.command(path.rpartition(" ")[2], cls=_Command)(command)
    return typer.main.get_command(one)


def _help_of(target: str) -> str:
    """Return the docstring of a command, read from its source: importing takes a second."""
    module, function = target.split(":")
    source = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_docstring(node) or ""
    raise LookupError(target)


app = typer.Typer(
    cls=LazyGroup,
    name="nurture",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
)


@app.callback(no_args_is_help=True)
def _nurture() -> None:
    """Keep every lead that is not ready to buy warm, and hand it to the right rep at the right time."""
