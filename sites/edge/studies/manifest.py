"""What a simulated fleet hands to the platform for its enrolment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sites.core.event_recording import RecordedSite, phase_voltage_v
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.edge.plant.fleet import GRID_ZONE, TIME_ZONE, synthetic_fleet
from sites.edge.plant.parameters import SiteParameters


def profile_of(site: SiteParameters) -> SiteProfile:
    """Return one simulated site as its link tells it; an asset that is not there has no device."""
    assets = [
        AssetNameplate("pcc", "pcc", site.import_limit_kw, export_limit_kw=site.export_limit_kw),
        AssetNameplate("battery", "battery", site.pcs_kva, capacity_kwh=site.battery_kwh, reserve_kwh=site.reserve_kwh),
        AssetNameplate("load", "load", site.load_kw),
    ]
    if site.pv_kw > 0.0:
        assets.append(AssetNameplate("pv", "pv", site.pv_kw))
    if site.genset_kw > 0.0:
        assets.append(AssetNameplate("genset", "genset", site.genset_kw))
    return SiteProfile(site.site_id, tuple(assets), LinkLossPolicy(LossOfLink.HOLD))


def recorded_site_of(site: SiteParameters) -> RecordedSite:
    """Return what turns one simulated site's per-unit recordings into volts and amperes."""
    phase_v = phase_voltage_v(site.nominal_voltage_v, site.phases)
    return RecordedSite(site.site_id, site.nominal_hz, phase_v, site.phases, site.pcs_kva)


def manifest_of(site: SiteParameters) -> dict[str, Any]:
    """Return one site's enrolment entry."""
    profile = profile_of(site)
    return {
        "site_id": site.site_id,
        "name": site.name,
        "grid_zone": GRID_ZONE,
        "time_zone": TIME_ZONE,
        "nominal_hz": site.nominal_hz,
        # The registry keeps phase to neutral, the plant phase to phase where there are three.
        "nominal_voltage_v": round(phase_voltage_v(site.nominal_voltage_v, site.phases), 1),
        "phases": site.phases,
        "loss_of_link": profile.policy.choice.value,
        "assets": [
            {
                "name": asset.name,
                "kind": asset.kind,
                "rated_kw": asset.rated_kw,
                "export_limit_kw": asset.export_limit_kw,
                "capacity_kwh": asset.capacity_kwh,
                "reserve_kwh": asset.reserve_kwh,
            }
            for asset in profile.assets
        ],
    }


def write_manifest(*, sites: int, seed: int, path: Path) -> None:
    """Write the enrolment manifest of a synthetic fleet."""
    entries = [manifest_of(site) for site in synthetic_fleet(sites, seed)]
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
