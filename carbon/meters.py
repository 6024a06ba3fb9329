"""Read the meter book for a period: every site's steps, its holes, its first state of charge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from carbon.core.factors import EmissionFactor
from carbon.core.flows import StepEnergy
from sites.core.intervals import Interval
from sites.core.readings import PROVES_NOTHING, Quality
from sites.core.units import UWH_PER_KWH
from sites.metering.models import MeterInterval
from sites.metering.queries import metric_values
from sites.registry.models import Asset

_SINGLE_KINDS = (Asset.Kind.PCC, Asset.Kind.BATTERY, Asset.Kind.GENSET, Asset.Kind.LOAD)
_NAMES_PER_QUERY = 500
_SOC_LOOKBACK = timedelta(minutes=15)
_RESOLUTION = timedelta(microseconds=1)
_CREEP_UWH = 1_000_000
"""A standing genset's meter may creep; up to 1 Wh in a step it need not have burnt fuel."""


class MetersUnclear(ValueError):
    """A site whose meters cannot be added: no PCC, two of a kind, intervals in contradiction, unmetered fuel."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of a period in which an asset was not metered."""

    site_id: str
    asset: str
    period: Interval

    def __str__(self) -> str:
        return f"{self.site_id}/{self.asset} {self.period.starts_at.isoformat()} to {self.period.ends_at.isoformat()}"


@dataclass(frozen=True, slots=True)
class Unclear:
    """A site that cannot be booked, and why; it holds up nobody else."""

    site_id: str
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(slots=True)
class _Flow:
    into_uwh: int = 0
    from_uwh: int = 0
    service_into_uwh: int = 0
    service_from_uwh: int = 0
    fuel_ul: int = 0


@dataclass(frozen=True, slots=True)
class _Metered:
    number: int
    period: Interval
    flow: _Flow
    register_into_uwh: int
    register_from_uwh: int
    quality: str


@dataclass(frozen=True, slots=True)
class MeterStep:
    """One step at a site: what all its meters counted between two instants common to them."""

    period: Interval
    flows: dict[str, _Flow]
    """By kind of asset."""

    @property
    def fuel_ul(self) -> int:
        """Fuel burnt [ul]."""
        return self._flow("genset").fuel_ul

    def require_fuel(self, site_id: str) -> None:
        """Raise MetersUnclear for generation without metered fuel."""
        genset = self._flow("genset")
        if genset.into_uwh > _CREEP_UWH and genset.fuel_ul <= 0:
            raise MetersUnclear(
                f"{site_id}/genset generated {genset.into_uwh} uWh from {self.period.starts_at.isoformat()} "
                f"with {genset.fuel_ul} ul of fuel, accepted: metered fuel"
            )

    def energy(self, diesel: EmissionFactor | None) -> StepEnergy:
        """Return the step for the inventory: net flow at the PCC, battery split by service.

        The service's part of a discharge or charge is the metered service energy, never more than the
        battery moved that way. ``diesel`` is needed where the site has a genset.
        """
        pcc, battery, genset = self._flow("pcc"), self._flow("battery"), self._flow("genset")
        net = pcc.into_uwh - pcc.from_uwh
        out_service = min(battery.service_into_uwh, battery.into_uwh)
        in_service = min(battery.service_from_uwh, battery.from_uwh)
        burnt_ug = 0 if diesel is None else diesel.carbon_ug(genset.fuel_ul)
        return StepEnergy(
            import_uwh=max(net, 0),
            export_uwh=max(-net, 0),
            pv_uwh=self._flow("pv").into_uwh,
            genset_uwh=genset.into_uwh,
            genset_ug=burnt_ug,
            # What PV, genset and load meters count the other way is the sites' own use or return.
            load_uwh=self._flow("load").from_uwh + self._flow("pv").from_uwh + genset.from_uwh,
            charge_own_uwh=battery.from_uwh - in_service,
            charge_grid_uwh=in_service,
            discharge_own_uwh=battery.into_uwh - out_service,
            discharge_grid_uwh=out_service,
        )

    def _flow(self, kind: str) -> _Flow:
        return self.flows.get(kind, _Flow())


@dataclass(frozen=True, slots=True)
class SiteMeters:
    """A site's metering over a period."""

    site_id: str
    zone: str
    names: dict[str, str]
    """Asset name by kind, one of each kind but PV."""
    capacity_uwh: int
    steps: tuple[MeterStep, ...]
    holes: tuple[Hole, ...]
    overlaps_s: dict[str, int]
    """By asset's name, where its clock was set back: time that has more than one interval [s]."""
    questionable: int


@dataclass(frozen=True, slots=True)
class FleetMeters:
    """The sites that can be booked, by site id, and those that cannot."""

    sites: list[SiteMeters]
    unclear: list[Unclear]


def fleet_meters(*, period: Interval, site_ids: Collection[str] | None = None) -> FleetMeters:
    """Return every site's metering in a period; all sites by default.

    Each numbered interval counts in its latest revision. A site whose meters are unclear stands beside the others
    with its reason.
    """
    assets = Asset.objects.select_related("site").order_by("site__site_id", "name")
    if site_ids is not None:
        assets = assets.filter(site__site_id__in=sorted(site_ids))
    by_site: dict[str, list[Asset]] = defaultdict(list)
    for asset in assets:
        by_site[asset.site.site_id].append(asset)
    metered = _metered_intervals(period, None if site_ids is None else [row.pk for row in assets])
    found = FleetMeters([], [])
    for site_id, rows in by_site.items():
        try:
            found.sites.append(_site(site_id, rows, period, metered))
        except MetersUnclear as error:
            found.unclear.append(Unclear(site_id, str(error)))
    return found


def first_state_of_charge(*, site_id: str, battery: str, at: datetime, ends_at: datetime) -> Decimal | None:
    """Return the state of charge [0 to 1] read last before an instant, else first after it; None without one."""
    # Half-open: the instant itself belongs to what came before.
    instant = at + _RESOLUTION
    before = Interval(instant - _SOC_LOOKBACK, instant)
    after = [Interval(instant, ends_at)] if ends_at > instant else []
    for period in (before, *after):
        values = metric_values(
            site_id=site_id, asset=battery, metric="soc_ratio", period=period, newest_first=period is before
        )
        for _, value in values:
            return Decimal(str(round(value, 6))) if 0.0 <= value <= 1.0 else None
    return None


def _metered_intervals(period: Interval, asset_ids: Sequence[int] | None) -> dict[int, list[_Metered]]:
    found: dict[int, dict[int, _Metered]] = defaultdict(dict)
    for chunk in _chunks(asset_ids):
        rows = MeterInterval.objects.filter(starts_at__gte=period.starts_at, starts_at__lt=period.ends_at)
        rows = rows.filter(ends_at__lte=period.ends_at)
        if chunk is not None:
            rows = rows.filter(asset_id__in=chunk)
        columns = (
            "asset_id", "number", "starts_at", "ends_at",
            "register_into_uwh", "register_from_uwh", "quality",
            "into_bus_uwh", "from_bus_uwh", "service_into_uwh", "service_from_uwh", "fuel_ul",
        )  # fmt: skip
        # Later revisions come later and take the place of earlier ones.
        for asset_id, number, starts_at, ends_at, into_uwh, from_uwh, quality, *flow in (
            rows.order_by("asset_id", "number", "revision").values_list(*columns).iterator(chunk_size=5000)
        ):
            found[asset_id][number] = _Metered(
                number, Interval(starts_at, ends_at), _Flow(*flow), into_uwh, from_uwh, quality
            )
    return {
        asset_id: sorted(
            (row for row in rows.values() if row.quality not in PROVES_NOTHING),
            key=lambda row: (row.period.ends_at, row.number),
        )
        for asset_id, rows in found.items()
    }


def _chunks(asset_ids: Sequence[int] | None) -> Iterator[Sequence[int] | None]:
    if asset_ids is None:
        yield None
        return
    for start in range(0, len(asset_ids), _NAMES_PER_QUERY):
        yield asset_ids[start : start + _NAMES_PER_QUERY]


def _site(site_id: str, assets: list[Asset], period: Interval, metered: dict[int, list[_Metered]]) -> SiteMeters:
    names: dict[str, str] = {}
    for asset in assets:
        if asset.kind in _SINGLE_KINDS:
            if asset.kind in names:
                raise MetersUnclear(f"{site_id} has two meters of kind {asset.kind}, accepted: one")
            names[asset.kind] = asset.name
    if Asset.Kind.PCC not in names:
        raise MetersUnclear(f"{site_id} has no meter of kind pcc, accepted: one")
    capacity_kwh = sum(asset.capacity_kwh for asset in assets if asset.kind == Asset.Kind.BATTERY)
    holes = [hole for asset in assets for hole in _holes(site_id, asset, period, metered.get(asset.pk, []))]
    overlaps_s = {asset.name: _overlap_s(site_id, asset, metered.get(asset.pk, [])) for asset in assets}
    steps = tuple(_steps(assets, period, metered))
    for step in steps:
        step.require_fuel(site_id)
    return SiteMeters(
        site_id=site_id,
        zone=assets[0].site.grid_zone,
        names=names,
        capacity_uwh=round(capacity_kwh * UWH_PER_KWH),
        steps=steps,
        holes=tuple(holes),
        overlaps_s={name: overlap_s for name, overlap_s in overlaps_s.items() if overlap_s},
        questionable=sum(row.quality == Quality.QUESTIONABLE for asset in assets for row in metered.get(asset.pk, [])),
    )


def _holes(site_id: str, asset: Asset, period: Interval, rows: Iterable[_Metered]) -> Iterator[Hole]:
    covered = period.starts_at
    for row in sorted(rows, key=lambda row: row.period.starts_at):
        if row.period.starts_at > covered:
            yield Hole(site_id, asset.name, Interval(covered, row.period.starts_at))
        covered = max(covered, row.period.ends_at)
    if covered < period.ends_at:
        yield Hole(site_id, asset.name, Interval(covered, period.ends_at))


def _overlap_s(site_id: str, asset: Asset, rows: Sequence[_Metered]) -> int:
    """Return how much time has more than one interval [s].

    A clock that was set back gives intervals whose instants were given before. Their energy is other energy when the
    registers go on from number to number, and all of it counts; when they do not, nobody can tell a second interval
    from a second telling, and MetersUnclear is raised.
    """
    overlap = timedelta()
    covered: datetime | None = None
    for row in sorted(rows, key=lambda row: row.period.starts_at):
        if covered is not None and row.period.starts_at < covered:
            overlap += min(covered, row.period.ends_at) - row.period.starts_at
        covered = row.period.ends_at if covered is None else max(covered, row.period.ends_at)
    if not overlap:
        return 0
    for before, after in pairwise(sorted(rows, key=lambda row: row.number)):
        steps = (
            after.register_into_uwh - before.register_into_uwh - after.flow.into_uwh,
            after.register_from_uwh - before.register_from_uwh - after.flow.from_uwh,
        )
        # What lies between two numbers that do not follow each other was counted, too.
        if min(steps) < 0 or (after.number == before.number + 1 and any(steps)):
            raise MetersUnclear(
                f"{site_id}/{asset.name} has intervals that overlap for {overlap.total_seconds():.0f} s, and interval "
                f"{after.number} from {after.period.starts_at.isoformat()} does not go on from the registers of "
                f"{before.number}, accepted: one after the other, or registers that show them to be different energy"
            )
    return max(1, round(overlap.total_seconds()))


def _steps(assets: list[Asset], period: Interval, metered: dict[int, list[_Metered]]) -> Iterator[MeterStep]:
    """Yield the steps between instants at which every metered asset of the site closes an interval.

    Meters of different interval lengths share the coarser grid; a mix within a step must not take one
    meter's minute with another's quarter of an hour. Where a clock was set back a step holds all that ends in it.
    """
    rows = [(asset.kind, metered[asset.pk]) for asset in assets if metered.get(asset.pk)]
    if not rows:
        return
    ends = set.intersection(*({row.period.ends_at for row in intervals} for _, intervals in rows)) | {period.ends_at}
    positions = [0] * len(rows)
    starts_at = period.starts_at
    for ends_at in sorted(ends):
        flows: dict[str, _Flow] = {}
        for index, (kind, intervals) in enumerate(rows):
            while positions[index] < len(intervals) and intervals[positions[index]].period.ends_at <= ends_at:
                taken = intervals[positions[index]].flow
                flow = flows.setdefault(kind, _Flow())
                flow.into_uwh += taken.into_uwh
                flow.from_uwh += taken.from_uwh
                flow.service_into_uwh += taken.service_into_uwh
                flow.service_from_uwh += taken.service_from_uwh
                flow.fuel_ul += taken.fuel_ul
                positions[index] += 1
        if flows:
            yield MeterStep(Interval(starts_at, ends_at), flows)
        starts_at = ends_at
