"""What the link tells about one site in its births: who it is and its assets' nameplates."""

from __future__ import annotations

from dataclasses import dataclass

from sites.edge.link.fallback import LinkLossPolicy


@dataclass(frozen=True, slots=True)
class AssetNameplate:
    """One asset, as its device's birth tells it."""

    name: str
    kind: str
    """pcc, battery, pv, genset or load; at most one of each stands at a site and bears its kind as name."""
    rated_kw: float
    """Active power [kW]; at the PCC the agreed import capacity."""
    export_limit_kw: float = 0.0
    """PCC: agreed export capacity [kW, >= 0]."""
    capacity_kwh: float = 0.0
    """Battery: nominal energy [kWh]."""
    reserve_kwh: float = 0.0
    """Battery: energy kept for the site's own load [kWh]."""
    meter_class: str | None = None
    """Accuracy class of its meter, such as 0.5S (IEC 62053) or B (MID); None where it is not known."""
    meter_calibrated_at: int | None = None
    """When that meter was last calibrated [ms since 1970 UTC]."""
    meter_uncertainty_ratio: float | None = None
    """Of its energy, at two standard deviations."""


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """One site, as the link needs it."""

    site_id: str
    assets: tuple[AssetNameplate, ...]
    policy: LinkLossPolicy
