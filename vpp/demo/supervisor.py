"""The demo's processes: started, watched, started again when one dies, stopped by id."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vpp.demo.workspace import DemoError

STOP_WITHIN_S = 5.0


@dataclass
class Child:
    """One process with its log and, when it speaks, its lines of JSON."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    speaks: bool = False
    """Its stdout carries one JSON object per line and its stdin takes lines."""
    restartable: bool = True
    process: subprocess.Popen[str] | None = None
    restarts: int = 0
    said: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    last_said: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The newest line of each event, by its name."""

    def start(self) -> None:
        """Start the process; its errors (and what it prints, unless it speaks) go to its log."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.PIPE if self.speaks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.speaks else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if self.speaks and self.process.stdout is not None:
            threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                self.last_said[str(said.get("event"))] = said
                self.said.put(said)

    def tell(self, line: str) -> None:
        """Write one line to the process; raise DemoError when it is gone."""
        if self.process is None or self.process.stdin is None:
            raise DemoError(f"{self.name} is not running")
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise DemoError(f"{self.name} took no command ({error}); see {self.log}") from error

    def await_said(self, matches: Callable[[dict[str, Any]], bool], *, within_s: float, what: str) -> dict[str, Any]:
        """Return the first matching line; raise DemoError after the time with what was awaited."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                said = self.said.get(timeout=min(left, 0.2))
            except queue.Empty:
                if self.process is not None and self.process.poll() is not None and self.said.empty():
                    raise DemoError(
                        f"{self.name} ended with code {self.process.returncode} before: {what}; see {self.log}"
                    ) from None
                continue
            if matches(said):
                return said
        raise DemoError(f"{self.name}: waited {within_s:g} s in vain for: {what}; see {self.log}")

    def stop(self) -> None:
        """Ask the process to end; after a while insist."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Keeps the children running, as an init system would do in production."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def add(self, child: Child) -> Child:
        """Start a child and watch it from now on."""
        child.start()
        self.children.append(child)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        return child

    def _watch(self) -> None:
        while not self._stopping.wait(0.25):
            for child in list(self.children):
                process = child.process
                if process is None or process.poll() is None or not child.restartable:
                    continue
                with child.log.open("a") as log:
                    log.write(f"-- ended with code {process.returncode}; starting it again\n")
                child.restarts += 1
                if child.restarts > 5:
                    child.restartable = False
                    continue
                child.start()

    def require_alive(self) -> None:
        """Raise DemoError naming a child that has ended for good."""
        for child in self.children:
            process = child.process
            if process is not None and process.poll() is not None and not child.restartable:
                raise DemoError(f"{child.name} ended with code {process.returncode}; see {child.log}")

    def stop(self) -> None:
        """Stop the children, the newest first."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        for child in reversed(self.children):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in reversed(self.children):
            child.stop()
