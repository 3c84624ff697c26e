"""What a person sees of the demo. Only the modules that display import rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from batcher.cli.demo.workload import Run


@contextmanager
def demonstrating() -> Iterator[Callable[[str, int], Callable[[Run], None]]]:
    """Show a bar per run; yields ``show(label, records)``, which adds one and returns what moves it."""
    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:>6,} of {task.total:,} records, {task.fields[calls]:,} calls"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console()) as progress:

        def add(label: str, records: int) -> Callable[[Run], None]:
            task = progress.add_task(label, total=records, calls=0)
            return lambda run: progress.update(task, completed=run.kinds.total(), calls=run.calls)

        yield add


def print_intro(text: str) -> None:
    """Print what the demo is about to do."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def print_comparison(one_by_one: Run, batched: Run) -> None:
    """Print what the demo measured, three fates, and where to go next."""
    console = Console()
    table = Table("", f"one call each, {one_by_one.records:,} of them", "through submit()")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, figure in _FIGURES.items():
        table.add_row(name, figure(one_by_one), figure(batched))
    console.print(table)
    seconds = batched.records / one_by_one.records * one_by_one.seconds
    lines = [
        f"All {batched.records:,} with one call each: about {seconds:,.0f} s, extrapolated from the sample.",
        f"Told 'written': {batched.kinds['written']:,} callers. In the database: {batched.stored:,} records.",
        "",
        "The batches were shared, the fates were not. Three of the callers:",
    ]
    for contact, told in (batched.examples[kind] for kind in _EXAMPLES if kind in batched.examples):
        lines += [f"  {contact['firstname']} {contact['lastname']}, {contact['email']}", f"      {told}"]
    console.print("\n".join(lines) + _NEXT, markup=False, highlight=False, soft_wrap=True)


_FIGURES: Final[dict[str, Callable[[Run], str]]] = {
    "records": lambda run: f"{run.kinds.total():,}",
    "calls": lambda run: f"{run.calls:,}",
    "records per call": lambda run: f"{(run.kinds.total() - run.at_the_edge) / run.calls:.1f}",
    "records/s": lambda run: f"{run.kinds.total() / run.seconds:,.0f}",
    "wait, p50": lambda run: f"{run.wait(50) * 1000:,.0f} ms",
    "wait, p99": lambda run: f"{run.wait(99) * 1000:,.0f} ms",
    "written": lambda run: f"{run.kinds['written']:,}",
    "rejected": lambda run: f"{run.kinds['rejected']:,}",
    "  of them before any call": lambda run: f"{run.at_the_edge:,}",
    "rolled back": lambda run: f"{run.kinds['rolled_back']:,}",
}
_EXAMPLES: Final = ("written", "DUPLICATE_VALUE", "rolled_back")
_NEXT: Final = """

Next, a file of your own:    batcher load contacts.csv --object contacts --to sqlite:crm.db
And in your own code:        the first example of README.md"""
