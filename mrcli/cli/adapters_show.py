"""What the verbs of the adapter registry print."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mrcli.cli import render

if TYPE_CHECKING:
    from mrcli.findings import Finding
    from mrcli.tasks.adapters_compare import AverageResult, DiffResult
    from mrcli.tasks.adapters_registry import ChangeResult, LogResult, MovedResult

_HASH_DIGITS = 12


def show_change(result: "ChangeResult", console: Console) -> None:
    """Print what is active now and what was before."""
    found: Any = result.document()
    for label, one in (("active", found["after"]), ("before", found["before"])):
        state = "none" if one is None else f"{one['sha256'][:_HASH_DIGITS]} since {one['time']}"
        _say(console, f"{label} {result.name}: {state}")
    _show_findings(result.findings, console)


def show_moved(result: "MovedResult", console: Console) -> None:
    """Print which adapter lies where now, and its files."""
    one = result.adapter
    _say(console, f"{one.kind} adapter {one.name} {one.sha256[:_HASH_DIGITS]}: {result.output}")
    for name in result.files:
        _say(console, name, indent="  ")
    _show_findings(result.findings, console)


def show_diff(result: "DiffResult", console: Console) -> None:
    """Print the facts of both side by side, then a line per slot."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "first", "second"):
        table.add_column(name, overflow="fold")
    first, second = result.adapters
    for key in first:
        table.add_row(*(render.cell(_text(one)) for one in (key, first[key], second[key])))
    console.print(table)
    if result.difference is not None:
        _say(console, f"difference over all slots: {result.difference:.3g}")
    for name, value in result.slots.items():
        _say(console, f"{value:.3g} {name}", indent="  ")
    _show_findings(result.findings, console)


def show_average(result: "AverageResult", console: Console) -> None:
    """Print the weights, and what share the rank does not hold."""
    found: Any = result.document()
    for one in found["averaged"]:
        _say(console, f"{100 * one['weight']:.1f} % {one['name']} {one['sha256'][:_HASH_DIGITS]}")
    by = "number of scans" if found["weights"] == "n_scans" else "equal"
    lost = f"{100 * found['share_lost']:.2g} % of the energy of the low-rank parts is lost"
    _say(console, f"weights: {by}; {lost}")
    name = f"{found['kind']} adapter {found['adapter']} {found['sha256'][:_HASH_DIGITS]}"
    _say(console, f"{name}: {result.output}")
    _show_findings(result.findings, console)


def show_log(result: "LogResult", console: Console) -> None:
    """Print a row per change, the first one first; nothing where there was none."""
    if not result.entries:
        if not result.reasons:
            render.note("no adapter was ever activated in this registry")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("line", "time", "action", "adapter", "bundle", "backbone", "version"):
        table.add_column(name, no_wrap=True)
    for one in result.entries:
        hashes = (one.bundle_sha256[:_HASH_DIGITS], one.backbone_sha256[:_HASH_DIGITS])
        row = (f"{one.sequence}", one.time, one.action, one.adapter, *hashes, one.version)
        table.add_row(*map(render.cell, row))
    console.print(table)
    if result.is_verified and not result.reasons:
        _say(console, "verified: no line is broken and every bundle is as it was activated")


def _show_findings(findings: "Iterable[Finding]", console: Console) -> None:
    for one in findings:
        _say(console, f"{one.severity}: {one.message}")


def _say(console: Console, text: str, indent: str = "") -> None:
    console.print(f"{indent}{render.one_line(text)}", markup=False, soft_wrap=True)


def _text(value: object) -> str:
    return "all" if value is None else str(value)
