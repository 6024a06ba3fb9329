"""Openleadr's own VEN against our VTN over loopback: plain, mutual TLS, RSA, P-256; killed in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from openleadr import OpenADRClient, enums, objects
from support.vtn20b import Authority, OurVtnProcess, Party

VALUES = "SELECT r_id, value FROM markets_reportedvalue"
WITHIN_S = 40.0


class LeadrVen:
    """openleadr's client, in this process's loop, with what it heard."""

    def __init__(self, vtn: OurVtnProcess, name: str, party: Party | None, *, signs: bool) -> None:
        files: dict[str, Any] = {}
        if party is not None and vtn.authority is not None and vtn.party is not None:
            files = {"cert": str(party.cert), "key": str(party.key), "ca_file": str(vtn.authority.ca)}
            files |= {"vtn_fingerprint": vtn.party.fingerprint} if signs else {"disable_signature": True}
        self.client = OpenADRClient(
            ven_name=name, vtn_url=vtn.url, show_fingerprint=False, check_hostname=False, **files
        )
        self.heard: list[tuple[str, int, str]] = []
        self.says = "optIn"
        self.client.add_handler("on_event", self._on_event)
        self.client.add_handler("on_update_event", self._on_event)

    async def _on_event(self, event: dict[str, Any]) -> str:
        descriptor = event["event_descriptor"]
        self.heard.append((descriptor["event_id"], descriptor["modification_number"], descriptor["event_status"]))
        return self.says


def _connected(vtn: OurVtnProcess, *, uses_rsa: bool, signs: bool, name: str) -> LeadrVen:
    assert vtn.authority is not None
    party = vtn.authority.party(name, uses_rsa=uses_rsa)
    vtn.manage("vtn_vens", "add", name, "--cert", str(party.cert), *([] if signs else ["--unsigned"]))
    return LeadrVen(vtn, name, party, signs=signs)


def test_mutual_tls_unsigned_rsa_and_p256_at_once(tmp_path: Path):
    vtn = OurVtnProcess(tmp_path / "vtn", Authority(tmp_path / "certificates"))
    vens = [
        _connected(vtn, uses_rsa=False, signs=False, name="unsigned"),
        _connected(vtn, uses_rsa=True, signs=True, name="rsa"),
        _connected(vtn, uses_rsa=False, signs=True, name="p256"),
    ]
    _run(vtn, vens)


@pytest.mark.long
def test_plain_on_loopback(tmp_path: Path):
    vtn = OurVtnProcess(tmp_path / "vtn", None)
    vtn.manage("vtn_vens", "add", "leadr", "--open")
    _run(vtn, [LeadrVen(vtn, "leadr", None, signs=False)])


@pytest.mark.long
def test_a_vtn_that_signs_with_rsa(tmp_path: Path):
    vtn = OurVtnProcess(tmp_path / "vtn", Authority(tmp_path / "certificates"), uses_rsa=True)
    _run(vtn, [_connected(vtn, uses_rsa=True, signs=True, name="rsa")])


def _run(vtn: OurVtnProcess, vens: list[LeadrVen]) -> None:
    vtn.start()
    try:
        asyncio.run(_journey(vtn, vens))
    finally:
        assert vtn.stop() == 0


async def _journey(vtn: OurVtnProcess, vens: list[LeadrVen]) -> None:
    in_thread = asyncio.to_thread
    names = [ven.client.ven_name for ven in vens]
    for number, ven in enumerate(vens):
        ven.client.add_report(
            callback=lambda value=float(number): value, resource_id="battery", measurement="RealPower", scale="k",
            r_id=f"power-{number}", sampling_rate=timedelta(seconds=1), report_specifier_id="telemetry",
        )  # fmt: skip
    await in_thread(vtn.issue, "first", *names)
    try:
        await asyncio.gather(*(ven.client.run() for ven in vens))
        for number, ven in enumerate(vens):
            assert ven.client.poll_frequency == timedelta(seconds=1)
            await until(lambda ven=ven: ("first", 0, "far") in ven.heard)
            await until(lambda ven=ven: vtn.answers("first")[ven.client.ven_name]["opt_type"] == "optIn")
            await until(lambda number=number: {"r_id": f"power-{number}", "value": number} in vtn.rows(VALUES))
            ven.says = "optOut"

        vtn.kill()
        before = len(vtn.rows(VALUES))
        await in_thread(vtn.issue, "first", *names, value=-100.0)
        await in_thread(vtn.start)
        # Nothing was registered again: the events, the answers and the way of the reports are kept.
        for ven in vens:
            await until(lambda ven=ven: ("first", 1, "far") in ven.heard)
            await until(lambda ven=ven: vtn.answers("first")[ven.client.ven_name]["opt_modification"] == 1)
            assert vtn.answers("first")[ven.client.ven_name]["opt_type"] == "optOut"
        await until(lambda: len(vtn.rows(VALUES)) > before)
        assert len(vtn.rows("SELECT * FROM markets_requestedreport")) == len(vens)

        await in_thread(vtn.manage, "vtn_events", "cancel", "first")
        for ven in vens:
            await until(lambda ven=ven: ("first", 2, "cancelled") in ven.heard)
            await until(lambda ven=ven: vtn.answers("first")[ven.client.ven_name]["opt_modification"] == 2)
            await _opts_and_leaves(vtn, ven)
    finally:
        for ven in vens:
            await ven.client.client_session.close()


async def _opts_and_leaves(vtn: OurVtnProcess, ven: LeadrVen) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    window = objects.VavailabilityComponent(dtstart=tomorrow, duration=timedelta(hours=2))
    opt_id = await ven.client.create_opt(
        opt_type=enums.OPT.OPT_OUT,
        opt_reason=enums.OPT_REASON.X_SCHEDULE,
        targets=[{"ven_id": ven.client.ven_id}],
        vavailability=objects.Vavailability(components=[window]),
    )
    (opt,) = vtn.rows("SELECT * FROM markets_optschedule WHERE opt_id = ?", opt_id)
    assert (opt["opt_type"], opt["cancelled_at"]) == ("optOut", None)
    assert json.loads(opt["windows"]) == [[tomorrow.isoformat(), (tomorrow + timedelta(hours=2)).isoformat()]]
    await ven.client.cancel_party_registration()
    (row,) = vtn.rows("SELECT * FROM markets_downstreamven WHERE ven_name = ?", ven.client.ven_name)
    assert row["registration_id"] == ""


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.05)
