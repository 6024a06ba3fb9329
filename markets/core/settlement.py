"""Money of one obligation: payment, exact shares per asset, and the bodies of its book entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final

from markets.core.settled_periods import QUANTUM, PeriodFigures
from sites.core.intervals import Interval
from sites.ledger.chain import instant_text

ASSET_KIND: Final = "settlement"
FLEET_KIND: Final = "statement"
REVERSAL_KIND: Final = "reversal"


class SettlementError(ValueError):
    """Figures that no money can be computed from."""


@dataclass(frozen=True, slots=True)
class ContractedShare:
    """One asset's acknowledged share of an obligation."""

    site_id: str
    contracted_kw: float
    """Armed power [kW, > 0] in the product's direction; its mean over the window where it moved."""
    baseline_kw: float
    """Declared power of the battery without the service, positive into the bus [kW]."""
    moves: tuple[tuple[datetime, float], ...] = ()
    """(instant, power [kW, >= 0]) from which each power was held, by time; before the first none. Empty:
    ``contracted_kw`` all the time."""
    stream_kw: float = 0.0
    """Largest power either way that the site was granted of setpoint streams in the window [kW, >= 0]: more than that
    its record cannot claim for them."""
    parties: tuple[tuple[str, int], ...] = ()
    """(account of a party, share [ppm]) among whom the asset's amount is split, by account, 1,000,000 together. Empty:
    nothing was agreed, and all of it stands on the asset's own account."""


def kind_of(base: str, run: int) -> str:
    """Return the kind of a run's entries: ``settlement`` for the first, then ``settlement/2``.

    A reversal carries the run that it takes back, ``reversal/1``.
    """
    return base if run == 1 and base != REVERSAL_KIND else f"{base}/{run}"


def run_of(kind: str) -> tuple[str, int]:
    """Return what an entry is and of which run: ``statement/2`` gives (statement, 2)."""
    base, _, run = kind.partition("/")
    return base, int(run) if run else 1


def share_over(
    window: Interval, held: Sequence[tuple[datetime, float]]
) -> tuple[float, tuple[tuple[datetime, float], ...]]:
    """Return the mean over a window of a power that was held in steps [kW], and the steps inside it.

    ``held`` are (acknowledged at, power [kW]) in the order in which the site took them: each holds from its
    acknowledgement to the next one's. One that was acknowledged only after a later one had been was over by then. A
    power that stood unchanged from the window's start has no steps, and is its own mean.
    """
    course: list[tuple[datetime, float]] = []
    latest = window.ends_at
    for at, power_kw in reversed(held):
        latest = min(latest, at)
        if latest < window.ends_at:
            course.append((max(latest, window.starts_at), power_kw))
    steps: list[tuple[datetime, float]] = []
    for at, power_kw in reversed(course):
        if steps and steps[-1][0] == at:
            steps.pop()
        if (steps[-1][1] if steps else 0.0) != power_kw:
            steps.append((at, power_kw))
    if not steps:
        return 0.0, ()
    if len(steps) == 1 and steps[0][0] == window.starts_at:
        return steps[0][1], ()
    ends = [at for at, _ in steps[1:]] + [window.ends_at]
    energy = sum(power_kw * (ends_at - at).total_seconds() for (at, power_kw), ends_at in zip(steps, ends, strict=True))
    return energy / window.duration_s, tuple(steps)


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """What the meter book proves of one asset; exact numbers, ready to be booked."""

    available_ratio: Decimal
    worst_error_ratio: Decimal | None
    """None: nothing could be judged."""
    k_factor: Decimal
    response_ms: int | None
    """None: the full power was not due long enough, or never came."""
    response_missed: bool
    """The full power was due and never came."""
    required_uwh: int
    delivered_uwh: int
    """From the high-rate record, in the product's direction."""
    service_into_uwh: int
    service_from_uwh: int
    """From the numbered intervals, for this dispatch, each way: a signal that swings around zero shows in both."""
    records: tuple[tuple[int, int, int], ...]
    """Record chunks used, as spans (first number, last number, revision)."""
    intervals: tuple[tuple[int, int, int], ...]
    """Numbered intervals used, likewise."""
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    """What the product's form of payment counts of it over the window; none where a price of the catalogue holds."""
    baseline: Mapping[str, Any] = field(default_factory=dict)
    """How its baseline was told where the program names a method, with the rows read; none: the declared one."""


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """What the meter book proves of the whole fleet."""

    available_ratio: Decimal
    worst_error_ratio: Decimal | None
    k_factor: Decimal
    worst_10s_due_kw: Decimal | None
    worst_10s_delivered_kw: Decimal | None
    """None: the frequency never asked for enough to judge."""
    delivered_ratio: Decimal | None
    response_ms: int | None
    response_missed: bool
    required_uwh: int
    delivered_uwh: int
    periods: tuple[PeriodFigures, ...] = ()
    """Settlement periods of a run on prices from outside."""
    score: Mapping[str, Any] = field(default_factory=dict)
    """What the window's score was made of."""


def payment(
    *, price_per_mw_h: Decimal, power_kw: Decimal, duration_s: Decimal, available_ratio: Decimal, k_factor: Decimal
) -> Decimal:
    """Return price x power x time x availability x K, rounded once, half to even.

    >>> payment(price_per_mw_h=Decimal("5"), power_kw=Decimal(2000), duration_s=Decimal(14400),
    ...         available_ratio=Decimal(1), k_factor=Decimal("0.5"))
    Decimal('20.000000')
    """
    for name, ratio in (("available_ratio", available_ratio), ("k_factor", k_factor)):
        if not 0 <= ratio <= 1:
            raise SettlementError(f"{name} is {ratio}, accepted: 0 to 1")
    with localcontext() as context:
        context.prec = 50
        amount = price_per_mw_h * power_kw * duration_s * available_ratio * k_factor / (1000 * 3600)
        return amount.quantize(QUANTUM, rounding=ROUND_HALF_EVEN)


def apportion(total: Decimal, weights: Mapping[str, int]) -> dict[str, Decimal]:
    """Return each key's part of a total; the parts add up to it exactly (largest remainder).

    Whole quanta go by weight; those left over go one each to the largest remainders, equal ones by
    key, so that the order of the keys does not matter. Raises SettlementError for a negative
    weight, or when nobody has one and there is something to share.
    """
    if any(weight < 0 for weight in weights.values()):
        negative = {key: weight for key, weight in weights.items() if weight < 0}
        raise SettlementError(f"the weights of {negative} are negative, accepted: 0 or more")
    quanta = int((total / QUANTUM).to_integral_exact())
    if quanta * QUANTUM != total:
        raise SettlementError(f"the total is {total}, accepted: whole multiples of {QUANTUM}")
    sign = -1 if quanta < 0 else 1
    whole = sum(weights.values())
    if whole == 0:
        if quanta:
            raise SettlementError(f"nobody has a weight to share {total} by")
        return dict.fromkeys(weights, Decimal(0).quantize(QUANTUM))
    parts = {key: divmod(abs(quanta) * weight, whole) for key, weight in weights.items()}
    left = abs(quanta) - sum(part for part, _ in parts.values())
    favored = set(sorted(parts, key=lambda key: (-parts[key][1], key))[:left])
    return {key: sign * (part + (key in favored)) * QUANTUM for key, (part, _) in parts.items()}


def weight_of(share: ContractedShare, figures: SiteFigures) -> int:
    """Return the weight of an asset in its fleet's payment: contracted power x availability x own K."""
    return (
        round(share.contracted_kw * 1000) * int(figures.available_ratio * 1_000_000) * int(figures.k_factor * 1_000_000)
    )


def amounts_of(total: Decimal, shares: Sequence[Mapping[str, Any]]) -> dict[str, Decimal]:
    """Return each site's part of the payment from the facts of all shares.

    By weight; by contracted power alone when none of them delivered. Raises SettlementError when a
    site has two shares: one battery has one assignment at a time.
    """
    require_one_share(shares)
    weights = {facts["site_id"]: facts["weight"] for facts in shares}
    if sum(weights.values()) == 0:
        weights = {facts["site_id"]: int(Decimal(facts["contracted_kw"]) * 1000) for facts in shares}
    return apportion(total, weights)


def require_one_share(shares: Sequence[Mapping[str, Any]]) -> None:
    """Raise SettlementError for a site with two shares: one battery has one assignment at a time."""
    counts = Counter(facts["site_id"] for facts in shares)
    twice = sorted(site_id for site_id, count in counts.items() if count > 1)
    if twice:
        raise SettlementError(f"site {', '.join(twice[:5])} has more than one share, accepted: one share per site")


def asset_account(site_id: str) -> str:
    """Return the account that an asset's availability is paid to."""
    return f"asset/{site_id}/availability"


def fleet_account(program: str) -> str:
    """Return the clearing account between the operator and the assets; a dispatch leaves it at zero."""
    return f"fleet/{program}/clearing"


def operator_account(vtn_id: str) -> str:
    """Return the account of what a grid operator owes."""
    return f"operator/{vtn_id}"


def asset_body(terms: Mapping[str, Any], share_facts: Mapping[str, Any], amount: Decimal) -> dict[str, Any]:
    """Return the body of one asset's entry: its own figures under the dispatch's terms."""
    parts = parts_of(share_facts, amount)
    return {
        "facts": {"terms": dict(terms), "share": dict(share_facts)},
        "postings": [
            *({"account": to, "unit": terms["currency"], "amount": str(part)} for to, part in parts.items()),
            {"account": fleet_account(terms["program"]), "unit": terms["currency"], "amount": str(-amount)},
        ],
    }


def parts_of(share_facts: Mapping[str, Any], amount: Decimal) -> dict[str, Decimal]:
    """Return what each account gets of an asset's amount, adding up to it exactly (``apportion``)."""
    if not share_facts.get("parties"):
        return {asset_account(share_facts["site_id"]): amount}
    return apportion(amount, dict(share_facts["parties"]))


def reversal_body(*, body: Mapping[str, Any], entry_hash: str, run: int) -> dict[str, Any]:
    """Return the body that takes an entry back: each posting negated, and which entry it is about.

    Entry and reversal together leave every account where it was.
    """
    return {
        "facts": {"reverses": entry_hash, "run": run},
        "postings": [{**row, "amount": str(-Decimal(row["amount"]))} for row in body["postings"]],
    }


def fleet_body(
    terms: Mapping[str, Any],
    fleet: FleetFigures,
    shares: Sequence[Mapping[str, Any]],
    *,
    amount: Decimal,
    merkle_root: str,
    prices: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Return the body of the fleet's entry: the operator owes, the clearing account is emptied.

    ``prices`` are those from outside that it was settled on.
    """
    return {
        "facts": {
            "terms": dict(terms),
            "fleet": fleet_facts(fleet),
            "shares": sorted((dict(share) for share in shares), key=lambda share: share["site_id"]),
            "amount": str(amount),
            "merkle_root": merkle_root,
            **({"prices": [dict(price) for price in prices]} if prices else {}),
        },
        "postings": _transfer(fleet_account(terms["program"]), operator_account(terms["vtn_id"]), amount, terms),
    }


def share_facts(share: ContractedShare, figures: SiteFigures) -> dict[str, Any]:
    """Return an asset's facts for its entry and for the fleet's list."""
    return {
        "site_id": share.site_id,
        **_terms_of(share),
        "available_ratio": str(figures.available_ratio),
        "worst_error_ratio": _optional(figures.worst_error_ratio),
        "k_factor": str(figures.k_factor),
        "response_missed": figures.response_missed,
        "response_ms": figures.response_ms,
        "required_uwh": figures.required_uwh,
        "delivered_uwh": figures.delivered_uwh,
        "service_into_uwh": figures.service_into_uwh,
        "service_from_uwh": figures.service_from_uwh,
        "records": [list(span) for span in figures.records],
        "intervals": [list(span) for span in figures.intervals],
        **({"quantities": _texts(figures.quantities)} if figures.quantities else {}),
        **({"baseline": dict(figures.baseline)} if figures.baseline else {}),
        "weight": weight_of(share, figures),
    }


def _terms_of(share: ContractedShare) -> dict[str, Any]:
    """Return the part of an asset's facts that was agreed; a share that never moved beside no stream has two."""
    terms: dict[str, Any] = {"contracted_kw": kw_text(share.contracted_kw), "baseline_kw": kw_text(share.baseline_kw)}
    if share.moves:
        terms["moves"] = [[instant_text(at), kw_text(power_kw)] for at, power_kw in share.moves]
    if share.stream_kw:
        terms["stream_kw"] = kw_text(share.stream_kw)
    if share.parties:
        terms["parties"] = [list(party) for party in share.parties]
    return terms


def in_form_of(booked: Mapping[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Return an asset's facts in the form that its entry was booked in; first entries told the service's net only."""
    if "service_uwh" not in booked:
        return facts
    ways = ("service_into_uwh", "service_from_uwh")
    net = {"service_uwh": facts["service_into_uwh"] - facts["service_from_uwh"]}
    return {name: value for name, value in facts.items() if name not in ways} | net


def fleet_facts(figures: FleetFigures) -> dict[str, Any]:
    """Return the fleet's facts for its entry."""
    return {
        "available_ratio": str(figures.available_ratio),
        "worst_error_ratio": _optional(figures.worst_error_ratio),
        "k_factor": str(figures.k_factor),
        "worst_10s_due_kw": _optional(figures.worst_10s_due_kw),
        "worst_10s_delivered_kw": _optional(figures.worst_10s_delivered_kw),
        "delivered_ratio": _optional(figures.delivered_ratio),
        "response_missed": figures.response_missed,
        "response_ms": figures.response_ms,
        "required_uwh": figures.required_uwh,
        "delivered_uwh": figures.delivered_uwh,
        **({"periods": [row.facts() for row in figures.periods]} if figures.periods else {}),
        **({"score": dict(figures.score)} if figures.score else {}),
    }


def share_from_facts(facts: Mapping[str, Any]) -> ContractedShare:
    """Return the contracted share that an entry was computed for."""
    return ContractedShare(
        site_id=facts["site_id"],
        contracted_kw=float(facts["contracted_kw"]),
        baseline_kw=float(facts["baseline_kw"]),
        moves=tuple((datetime.fromisoformat(at), float(power_kw)) for at, power_kw in facts.get("moves", ())),
        stream_kw=float(facts.get("stream_kw", 0.0)),
        parties=tuple((account, share_ppm) for account, share_ppm in facts.get("parties", ())),
    )


def as_booked(share: ContractedShare) -> ContractedShare:
    """Return a share as its entry tells it, in whole watts: the entry must be computable from its own text."""
    return share_from_facts({"site_id": share.site_id, **_terms_of(share)})


def kw_text(power_kw: float) -> str:
    """Return a power as book text, in whole watts."""
    return f"{power_kw:.3f}"


def ratio(value: float) -> Decimal:
    """Return a ratio as the book has it, six decimals, cut to what float noise cannot reach."""
    return Decimal(repr(value)).quantize(QUANTUM, rounding=ROUND_HALF_EVEN)


def _transfer(to: str, source: str, amount: Decimal, terms: Mapping[str, Any]) -> list[dict[str, Any]]:
    unit = terms["currency"]
    return [
        {"account": to, "unit": unit, "amount": str(amount)},
        {"account": source, "unit": unit, "amount": str(-amount)},
    ]


def _texts(values: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(values.items())}


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
