"""What the person at the terminal sees while the demo runs."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status


class Progress:
    """One line per stage with its duration; on a terminal the running stage has a spinner."""

    def __init__(self, started: float) -> None:
        self.console = Console(file=sys.stderr, highlight=False)
        self.started = started
        self._stage = ""
        self._stage_started = started
        self._status: Status | None = None

    def stage(self, text: str) -> None:
        """End the running stage, begin the next one."""
        self._finish("[green]✓[/green]")
        self._stage, self._stage_started = text, time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(text)
            self._status.start()

    def detail(self, text: str) -> None:
        """Say how far the running stage is."""
        if self._status is not None:
            self._status.update(f"{self._stage} — {text}")

    def note(self, text: str) -> None:
        """Say something that happened within the running stage."""
        self.console.print(f"    {self._clock()}    {text}")

    def end(self) -> None:
        """End the running stage; what follows is output of its own."""
        self._finish("[green]✓[/green]")

    def _clock(self) -> str:
        return f"[dim]{time.monotonic() - self.started:5.1f} s[/dim]"

    def _finish(self, mark: str) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._stage:
            took_s = time.monotonic() - self._stage_started
            self.console.print(f"{mark}   {self._clock()}  {self._stage} [dim]({took_s:.1f} s)[/dim]")
            self._stage = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish("[green]✓[/green]" if kind is None else "[red]✗[/red]")
