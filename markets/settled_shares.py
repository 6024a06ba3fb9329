"""Reads of the assets' entries of a settlement run: what each was paid, and from which rows it was computed."""

from __future__ import annotations

import json
from typing import Any

from markets.core.settlement import ASSET_KIND, kind_of
from markets.models import GridSupportEntry


def shares_of(*, dispatch_id: str, run: int) -> list[dict[str, Any]]:
    """Return each asset's facts of a run by site, with the ``parts`` that the accounts got; empty where none is booked.

    The fleet's clearing account is left out: it says the same with the other sign.
    """
    rows = GridSupportEntry.objects.filter(kind=kind_of(ASSET_KIND, run), dispatch_id=dispatch_id).order_by("chain")
    shares = []
    for body in rows.values_list("body", flat=True):
        booked = json.loads(body)
        parts = [
            {"account": row["account"], "amount": row["amount"]}
            for row in booked["postings"]
            if not row["account"].startswith("fleet/")
        ]
        facts = booked["facts"]
        shares.append({**facts["share"], "parts": parts, "currency": facts["terms"]["currency"]})
    return shares
