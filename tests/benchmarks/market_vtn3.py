"""GET events of our OpenADR 3 VTN by 1,000 VENs: rows of the market benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import httpx
from benchmarks.fleet_rows import Benchmark, Options, Row
from support.postgres import postgres_server
from support.vtn3_server import Vtn, a_vtn

VENS = 1_000
EVENTS_OF_A_VEN = 10
GROUPS = 50
PER_S = 200.0
MOST_MS = 100.0
LONGEST_S = 20.0

SEED = """
import hashlib
import json
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application
from markets.openadr.vtn3 import operations
from markets.openadr.vtn3.kinds import EVENT, PROGRAM, Role, SCOPES_OF, VEN, Version
from markets.openadr.vtn3.models import Client
at, desk = timezone.now(), operations.platform_caller()
def make(kind, body):
    return operations.create_object(version=Version.V310, caller=desk, kind=kind, body=body, at=at)
intervals = [dict(id=i, payloads=[dict(type="DISPATCH_SETPOINT", values=[-250.0 + i])]) for i in range(4)]
period = dict(start="2026-03-01T16:00:00Z", duration="PT15M")
scope, ends_at = " ".join(SCOPES_OF[Role.VEN]), at + timedelta(hours=1)
with transaction.atomic():
    program = make(PROGRAM, dict(programName="frequency response"))
    for group in range({groups}):
        for one in range({events}):
            make(EVENT, dict(programID=program.object_id, eventName=f"e{{one}}", targets=[f"group-{{group}}"],
                             intervalPeriod=period, intervals=intervals))
    # With make_client the secrets of a thousand clients would be hashed one by one, a third of a second each: these
    # clients have tokens and never show a secret.
    applications = Application.objects.bulk_create(
        Application(name=f"ven-{{number}}", client_id=f"client-{{number}}", client_secret="not used",
                    hash_client_secret=False, client_type=Application.CLIENT_CONFIDENTIAL,
                    authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS)
        for number in range({vens})
    )
    Client.objects.bulk_create(Client(application=row, role=Role.VEN) for row in applications)
    for number, row in enumerate(applications):
        make(VEN, dict(objectType="BL_VEN_REQUEST", venName=row.name, clientID=row.client_id,
                       targets=[f"group-{{number % {groups}}}"]))
    tokens = [f"t-{{number}}" for number in range({vens})]
    AccessToken.objects.bulk_create(
        AccessToken(application=row, token=token, expires=ends_at, scope=scope,
                    token_checksum=hashlib.sha256(token.encode()).hexdigest())
        for row, token in zip(applications, tokens, strict=True)
    )
print("@" + json.dumps(tokens))
"""


def run_events(options: Options) -> list[Row]:
    """Ask at instants that were set beforehand, whatever the answers do; a late answer counts from its instant."""
    with (
        tempfile.TemporaryDirectory(prefix="vpp-vtn3-") as text,
        postgres_server(connections=40) as server,
        a_vtn(Path(text), server.url) as vtn,
    ):
        code = SEED.format(vens=VENS, events=EVENTS_OF_A_VEN, groups=GROUPS)
        began_s = time.perf_counter()
        tokens = json.loads(vtn.platform.manage("shell", "-v", "0", "-c", code).rsplit("@", 1)[1])
        seeded_s = time.perf_counter() - began_s
        seconds = min(LONGEST_S, options.minutes * 60.0)
        asyncio.run(_load(vtn, tokens, 20.0, 3.0))
        cpu = _cpu_s(vtn)
        found = asyncio.run(_load(vtn, tokens, PER_S, seconds))
        cpu = _cpu_s(vtn) - cpu
    good = sorted(value for value, is_good in found if is_good)
    errors = sum(1 for _, is_good in found if not is_good)
    p99 = good[int(0.99 * (len(good) - 1))] if good else float("inf")
    return [
        Row(
            "vtn3_events_p99_ms", f"GET events, {VENS:,} VENs, {PER_S:g} a second: p99 [ms]", p99, MOST_MS, is_most=True
        ),
        Row("vtn3_events_p50_ms", "the same: p50 [ms]", good[len(good) // 2] if good else float("inf")),
        Row("vtn3_events_requests", "requests", float(len(found))),
        Row("vtn3_events_seeded_s", "making programs, events, vens and tokens [s]", seeded_s),
        Row("vtn3_events_errors", "answers that were no 200 with ten events", float(errors), 0.0, is_most=True),
        Row("vtn3_events_cpu_ms", "processor time of the web process for one [ms]", cpu / len(found) * 1e3),
    ]


def _cpu_s(vtn: Vtn) -> float:
    assert vtn.process is not None
    fields = Path(f"/proc/{vtn.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _load(vtn: Vtn, tokens: list[str], per_s: float, seconds: float) -> list[tuple[float, bool]]:
    """Return each request's time [ms] from the instant at which it was due, and whether its answer was right."""
    found: list[tuple[float, bool]] = []
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(limits=limits, timeout=30.0) as http:

        async def ask(number: int, due_s: float) -> None:
            headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
            try:
                answer = await http.get(f"{vtn.url()}/events", headers=headers)
                is_good = answer.status_code == 200 and answer.text.count('"objectType":"EVENT"') == EVENTS_OF_A_VEN
            except httpx.HTTPError:
                is_good = False
            found.append(((time.perf_counter() - due_s) * 1e3, is_good))

        began_s = time.perf_counter() + 0.1
        tasks = []
        for number in range(int(per_s * seconds)):
            due_s = began_s + number / per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(number, due_s)))
        await asyncio.gather(*tasks)
    return found


BENCHMARKS = (Benchmark("vtn3_events", "GET events of the OpenADR 3 VTN, PostgreSQL and uvicorn", run_events),)
