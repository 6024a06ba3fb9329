"""What a simulated fleet hands to the platform for its enrolment."""

from __future__ import annotations

from typing import Any

from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.edge.plant.parameters import SiteParameters

GRID_ZONE = "GB"
TIME_ZONE = "Europe/London"


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


def manifest_of(site: SiteParameters) -> dict[str, Any]:
    """Return one site's enrolment entry."""
    profile = profile_of(site)
    return {
        "site_id": site.site_id,
        "name": site.name,
        "grid_zone": GRID_ZONE,
        "time_zone": TIME_ZONE,
        "nominal_hz": site.nominal_hz,
        "nominal_voltage_v": site.nominal_voltage_v,
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
