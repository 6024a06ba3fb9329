"""Writes of the registry: enrolment of sites and grants of ownership, one transaction each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import ProtectedError

from sites.registry.manifest import ManifestError, SiteEntry, parse_manifest
from sites.registry.models import Asset, Enrollment, FeederGroup, GatewayKind, Membership, Site
from sites.registry.permissions import OWNER
from sites.wire.foreign import MapError, rules_from
from sites.wire.topics import partition_of

ASSET_VALUES = (
    "kind", "rated_kw", "export_limit_kw", "capacity_kwh", "reserve_kwh", "meter_class", "meter_calibrated_on",
    "meter_uncertainty_ratio",
)  # fmt: skip
SITE_VALUES = ("name", "time_zone", "grid_zone", "nominal_hz", "nominal_voltage_v", "phases", "loss_of_link")


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment did."""

    sites: int
    """Sites that the manifest names."""
    created: int
    changed: int
    """Sites that stood already and got another nameplate."""


def enrol_sites(*, manifest: object, program: str, at: datetime) -> Enrolled:
    """Enrol every site of a manifest for a program; all of them or none.

    Enrolling again changes nothing but what the manifest changes. Raises ManifestError naming the
    site, the field and what is accepted.
    """
    if re.fullmatch(r"[a-z0-9-]{1,64}", program) is None:
        raise ManifestError(f"program is {program[:80]!r}, accepted: 1 to 64 of a-z 0-9 -")
    entries = parse_manifest(manifest)
    with transaction.atomic():
        held = {site.site_id: site for site in Site.objects.all()}
        created = [_new_site(entry, at) for entry in entries if entry.site_id not in held]
        Site.objects.bulk_create(created, batch_size=500)
        held |= {site.site_id: site for site in created}
        changed = sum(_enrol_assets(held[entry.site_id], entry) for entry in entries) - len(created)
        Enrollment.objects.bulk_create(
            [Enrollment(site=held[entry.site_id], program=program, since=at) for entry in entries],
            ignore_conflicts=True,
            batch_size=500,
        )
    return Enrolled(sites=len(entries), created=len(created), changed=changed)


def grant_ownership(user: AbstractBaseUser, sites: Iterable[Site]) -> None:
    """Make a user an owner, and the owner of these sites; granting again changes nothing."""
    with transaction.atomic():
        user.groups.add(Group.objects.get_or_create(name=OWNER)[0])  # type: ignore[attr-defined]
        Membership.objects.bulk_create(
            [Membership(user=user, site=site) for site in sites],  # type: ignore[misc]
            ignore_conflicts=True,
        )


class FeederRefused(ValueError):
    """A feeder group that cannot stand; the message says what is accepted."""


@transaction.atomic
def set_feeder(
    *, name: str, up_kw: float, down_kw: float, parent: str | None = None, site_ids: Iterable[str] = ()
) -> FeederGroup:
    """Set the limits of a feeder group and put sites into it; a site leaves the group that it stood in.

    Raises FeederRefused for a limit that is none, for a parent inside the group, and for sites that are not enrolled.
    """
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is None:
        raise FeederRefused(f"name is {name[:80]!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ -")
    for label, limit_kw in (("up_kw", up_kw), ("down_kw", down_kw)):
        if not 0.0 <= limit_kw <= 1e6:
            raise FeederRefused(f"{label} is {limit_kw}, accepted: 0 to 1000000")
    above = None
    if parent is not None:
        above = FeederGroup.objects.filter(name=parent).first()
        if above is None:
            raise FeederRefused(f"feeder {parent!r} is not known, accepted: one that is set already")
        over: FeederGroup | None = above
        while over is not None:
            if over.name == name:
                raise FeederRefused(f"feeder {parent} stands inside {name}, accepted: one that does not")
            over = over.parent
    group, _ = FeederGroup.objects.update_or_create(
        name=name, defaults={"parent": above, "up_kw": up_kw, "down_kw": down_kw}
    )
    wanted = set(site_ids)
    sites = Site.objects.filter(site_id__in=wanted)
    if missing := wanted - set(sites.values_list("site_id", flat=True)):
        raise FeederRefused(f"site {min(missing)} is not enrolled, accepted: enrolled sites")
    sites.update(feeder=group)
    return group


def map_gateway(*, name: str, rules: object, site_ids: Iterable[str]) -> int:
    """Set the rules of a kind of gateway and the sites that it speaks for; return how many sites it has now.

    Raises MapError naming the rule, or the site, and what is accepted.
    """
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is None:
        raise MapError(f"name is {name[:80]!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ -")
    rules_from(rules)
    wanted = set(site_ids)
    with transaction.atomic():
        kind, _ = GatewayKind.objects.update_or_create(name=name, defaults={"rules": rules})
        sites = Site.objects.filter(site_id__in=wanted)
        if missing := wanted - set(sites.values_list("site_id", flat=True)):
            raise MapError(f"site {min(missing)} is not enrolled, accepted: enrolled sites")
        sites.update(gateway=kind)
        return kind.sites.count()


def _new_site(entry: SiteEntry, at: datetime) -> Site:
    values = {name: getattr(entry, name) for name in SITE_VALUES}
    return Site(site_id=entry.site_id, partition=partition_of(entry.site_id), enrolled_at=at, **values)


def _enrol_assets(site: Site, entry: SiteEntry) -> bool:
    """Bring a site and its assets to what the manifest says; tell whether anything was written."""
    written = _update(site, {name: getattr(entry, name) for name in SITE_VALUES})
    held = {asset.name: asset for asset in site.assets.all()}
    new = []
    for wanted in entry.assets:
        values = {name: getattr(wanted, name) for name in ASSET_VALUES}
        asset = held.pop(wanted.name, None)
        if asset is None:
            new.append(Asset(site=site, name=wanted.name, **values))
        elif asset.kind != wanted.kind:
            raise ManifestError(
                f"site {site.site_id}: asset {wanted.name}: kind is {wanted.kind!r}, accepted: {asset.kind}, "
                "as it is enrolled; another device takes another name"
            )
        else:
            written = _update(asset, values) or written
    Asset.objects.bulk_create(new)
    for name, asset in held.items():
        try:
            with transaction.atomic():
                asset.delete()
        except ProtectedError:
            raise ManifestError(
                f"site {site.site_id}: asset {name} is missing, accepted: it stays, because it has metering"
            ) from None
    return written or bool(new) or bool(held)


def _update(row: Site | Asset, values: dict[str, Any]) -> bool:
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    if changed:
        for name in changed:
            setattr(row, name, values[name])
        row.save(update_fields=changed)
    return bool(changed)
