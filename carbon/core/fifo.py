"""First in, first out: which charge a discharge came from, for certificates; never for the carbon book.

The book keeps one weighted average a pool (``carbon.core.inventory``): it has no layers to choose among. A certificate
of stored energy needs the charge it stands for. Over a year both give nearly the same intensity, step by step they do
not; ``make bench-carbon`` reports both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from carbon.core.inventory import Efficiency, Pool, PoolOverdrawn, rounded_product, rounded_quotient, stored_for


@dataclass
class Layers:
    """Stored energy by its charges, oldest first; all whole."""

    efficiency: Efficiency
    _layers: deque[tuple[int, int]] = field(default_factory=deque)
    """(stored energy [uWh, > 0], carbon that entered with it [ug])."""

    @classmethod
    def opened_with(cls, stock: Pool, efficiency: Efficiency) -> Layers:
        """Return layers that begin with one stock."""
        layers = cls(efficiency)
        layers._add(stock.energy_uwh, stock.carbon_ug)
        return layers

    @property
    def energy_uwh(self) -> int:
        """What is in store [uWh]."""
        return sum(energy for energy, _ in self._layers)

    @property
    def carbon_ug(self) -> int:
        """Carbon that entered and has not left [ug]."""
        return sum(carbon for _, carbon in self._layers)

    def charge(self, ac_uwh: int, carbon_ug: int) -> None:
        """Add a charge [uWh at the AC terminals] with its carbon [ug]."""
        self._add(rounded_product(ac_uwh, self.efficiency.charge), carbon_ug)

    def discharge(self, ac_uwh: int) -> int:
        """Take a discharge [uWh at the AC terminals] from the oldest layers; return its carbon [ug].

        Raises PoolOverdrawn when the stock does not suffice, and changes nothing then.
        """
        wanted = stored_for(ac_uwh, self.efficiency)
        if wanted > self.energy_uwh:
            raise PoolOverdrawn(f"discharge takes {wanted} uWh, the layers hold {self.energy_uwh} uWh")
        carbon_ug = 0
        while wanted:
            energy, carbon = self._layers.popleft()
            taken = min(wanted, energy)
            part = rounded_quotient(carbon * taken, energy)
            if taken < energy:
                self._layers.appendleft((energy - taken, carbon - part))
            carbon_ug += part
            wanted -= taken
        return carbon_ug

    def _add(self, energy_uwh: int, carbon_ug: int) -> None:
        if energy_uwh:
            self._layers.append((energy_uwh, carbon_ug))
        elif carbon_ug and not self._layers:
            raise ValueError(f"a charge of no energy brings {carbon_ug} ug into an empty store, accepted: 0")
        elif carbon_ug:
            # A charge too small to be stored: its carbon stays with the newest layer, none is lost.
            energy, carbon = self._layers.pop()
            self._layers.append((energy, carbon + carbon_ug))
