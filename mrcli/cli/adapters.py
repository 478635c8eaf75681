"""`mrcli adapters list|show|verify`; the other verbs are in `mrcli.cli.adapters_registry`."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    METHOD_PANEL,
    SITE_PANEL,
    JsonOption,
    NoColorOption,
    QuietOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.tasks.adapters import ListResult, ShowResult, VerifyResult

_HASH_DIGITS = 12

adapters = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|DIR",
        help="Model to look at; all that ship where none is named.",
        show_default=False,
        rich_help_panel=METHOD_PANEL,
    ),
]
RegistryOption = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        metavar="DIR",
        help="Registry of active adapters; that of this user where none is named.",
        parser=path_of,
        envvar="MRCLI_REGISTRY",
        show_default=False,
        rich_help_panel=SITE_PANEL,
    ),
]
NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR",
        help="Name of a model or of an adapter, or the folder of one.",
        show_default=False,
    ),
]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME|DIR",
        help="Names of models, or folders of models or adapters; all that ship where none is "
        "named.",
        show_default=False,
    ),
]


@adapters.callback()
def describe() -> None:
    """List, verify, activate, roll back, move, compare and average adapters.

    Example: mrcli adapters list
    """


@adapters.command("list")
def list_(
    *,
    model: ModelOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """List models and adapters: kind, form, parameters, share of the backbone, hash.

    An adapter that is active at this site stands where the one of its name that ships stands.

    Example: mrcli adapters list --model small
    """
    from mrcli.tasks.adapters import list_adapters

    del no_color  # it acted when the options were read
    show = partial(show_list, is_quiet=is_quiet)
    render.present("adapters list", list_adapters(model, registry), show, as_json=as_json)


@adapters.command()
def show(
    name: NameArgument,
    *,
    model: ModelOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Show what is known of a model or an adapter: for whom it is, and how it came to be.

    Example: mrcli adapters show Cine --model small
    """
    from mrcli.tasks.adapters import show_adapter

    del no_color  # it acted when the options were read
    result = show_adapter(name, model, registry)
    render.present("adapters show", result, show_card, as_json=as_json)


@adapters.command()
def verify(
    names: NamesArgument = None,
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Check every byte of models and adapters; exit code 7 where anything is refused.

    Example: mrcli adapters verify my-adapter --model small
    """
    from mrcli.tasks.adapters import verify_adapters

    del no_color  # it acted when the options were read
    result = verify_adapters(tuple(names or ()), model)
    show = partial(show_verified, is_quiet=is_quiet)
    render.present("adapters verify", result, show, as_json=as_json)


def show_list(result: "ListResult", console: Console, *, is_quiet: bool = False) -> None:
    """Print a row per model and per adapter."""
    if not result.rows:
        render.note("no model in the index yet", is_quiet=is_quiet)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("model", "name", "kind", "form"):
        table.add_column(name, overflow="fold")
    for name in ("parameters", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("backbone", no_wrap=True)
    if any(row["activated"] for row in result.rows):
        table.add_column("active since", no_wrap=True)
    for row in result.rows:
        cells = tuple(map(render.cell, _cells(row)))
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    yield from (row["model"], row["name"], row["kind"], row["form"] or "")
    yield f"{row['n_parameters']}"
    yield f"{100 * row['share']:.3g} %"
    yield row["backbone_sha256"][:_HASH_DIGITS]
    yield row["activated"] or ""


def show_card(result: "ShowResult", console: Console) -> None:
    """Print the facts, then what the card states, a line per number or text."""
    facts = Table.grid(padding=(0, 2))
    lines = {**result.row, **dict(_flat(result.card))}
    for name, value in lines.items():
        facts.add_row(render.cell(name), render.cell(_text(value)))
    console.print(facts)


def _flat(card: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in card.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: object) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_verified(result: "VerifyResult", console: Console, *, is_quiet: bool = False) -> None:
    """Print a line per model or adapter."""
    if not result.items:
        render.note("no model in the index yet", is_quiet=is_quiet)
    for item in result.items:
        if item.error is not None:
            console.print(f"[red]refused[/red]  {render.cell(item.name)}", soft_wrap=True)
        else:
            found = f"{item.n_adapters} adapter{'' if item.n_adapters == 1 else 's'}"
            console.print(f"[green]ok[/green]       {render.cell(item.name)}: {found}")
