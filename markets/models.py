"""Programs, market events, obligations, and the grid-support book with its statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from django.core.validators import MinValueValidator
from django.db import models

from markets import measuring
from markets.capacity_limits import CapacityLimit  # noqa: F401 - Django finds an app's models here
from markets.core import course
from markets.core.course import Course
from markets.core.events import DEFAULT_OPERATOR, EventStatus, OptType
from markets.core.obligations import ProgramTerms, Reason
from markets.core.products import Kind, Product, product_named
from markets.core.settlement import ASSET_KIND, FLEET_KIND, REVERSAL_KIND, kind_of, reversal_body, run_of
from markets.obligation_changes import ObligationChange  # noqa: F401 - Django finds an app's models here
from markets.offers import models as offers_models  # noqa: F401 - likewise
from markets.openadr.vtn20b import models as vtn20b_models  # noqa: F401 - likewise
from markets.operator_opts import OperatorOpt  # noqa: F401 - likewise
from markets.owners import OwnerShare  # noqa: F401 - likewise
from markets.report_orders import ReportOrder  # noqa: F401 - likewise
from markets.signals import OperatorSignal  # noqa: F401 - likewise
from sites.core.intervals import Interval
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.models import Entry

MAX_RAW_BYTES = 1_000_000
"""A message larger than this is refused before it is read."""


class Program(models.Model):
    """What was agreed with a grid operator: one market context, one product, one sign."""

    class SignalSign(models.IntegerChoices):
        """Service [kW] = sign x payload."""

        NEGATIVE = -1, "negative payload: less consumption, power into the grid (upward service)"
        POSITIVE = 1, "positive payload: more consumption, power out of the grid (downward service)"

    name = models.CharField(max_length=64, unique=True)
    operator = models.CharField(max_length=63, default=DEFAULT_OPERATOR)
    """Whose it is, by its name in the table of operators; no other operator's event reaches it."""
    market_context = models.CharField(max_length=255)
    """What names the program in the operator's events: 2.0b's market context (a URI), OpenADR 3's programName."""
    product = models.CharField(max_length=64)
    """Row of markets.core.products, such as ``neso-dc-low``."""
    signal_name = models.CharField(max_length=64, default="LOAD_DISPATCH")
    signal_type = models.CharField(max_length=32, default="delta")
    signal_sign = models.SmallIntegerField(choices=SignalSign.choices)
    """Sign convention of the payload; the size owed is positive in the product's own direction."""
    unit_kw = models.FloatField(default=1.0, validators=[MinValueValidator(1e-6)])
    """Meaning of one unit of a payload that carries no unit of its own [kW]."""
    allows_part = models.BooleanField(default=False)
    is_emergency = models.BooleanField(default=False)
    """Its events go before those of economic programs (``markets.core.precedence``)."""
    min_power_kw = models.FloatField(default=1.0, validators=[MinValueValidator(1e-3)])
    min_notice_s = models.FloatField(default=2.0, validators=[MinValueValidator(0.0)])
    """Shortest time from decision to start [s]."""
    currency = models.CharField(max_length=3)
    baseline_method = models.CharField(max_length=40, blank=True)
    """Of ``markets.core.baselines``, for a product paid against a baseline; empty: the declared power of each share."""
    sign_note = models.CharField(max_length=255)
    """The sign convention in words, as agreed with the operator."""

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["operator", "market_context"], name="markets_one_program_per_context")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> ProgramTerms:
        """What the decision needs to know."""
        product = self.catalogue_row
        is_instruction = product.kind is Kind.INSTRUCTION
        return ProgramTerms(
            name=self.name,
            market_context=self.market_context,
            product=self.product,
            dispatch_prefix=product.dispatch_prefix,
            signal_name=self.signal_name,
            signal_type=self.signal_type,
            signal_sign=self.signal_sign,
            unit_kw=self.unit_kw,
            allows_part=self.allows_part,
            min_power_kw=self.min_power_kw,
            min_notice_s=self.min_notice_s,
            is_stepped=is_instruction or product.kind is Kind.LIMIT,
            is_two_way=is_instruction and product.sign == 0,
            is_limit=product.kind is Kind.LIMIT,
        )

    @property
    def catalogue_row(self) -> Product:
        """The product's row; raises ProductError for a name that the catalogue does not hold."""
        return product_named(self.product)


class Registration(models.Model):
    """Our standing with one VTN; a restarted process goes on with it."""

    vtn_url = models.CharField(max_length=255)
    ven_name = models.CharField(max_length=128)
    ven_id = models.CharField(max_length=128)
    registration_id = models.CharField(max_length=128)
    poll_s = models.FloatField()
    """Poll period that the VTN asked for [s]."""
    registered_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["vtn_url", "ven_name"], name="markets_one_registration_per_vtn")]

    def __str__(self) -> str:
        return f"{self.ven_name} at {self.vtn_url}"


class MarketEvent(models.Model):
    """One version of an operator's event: its own bytes, and what we answered and why."""

    class Status(models.TextChoices):
        """What became of this version."""

        DECIDED = "decided", "decided"
        SUPERSEDED = "superseded", "replaced by a higher modification"
        IGNORED = "ignored", "older than the version held"
        WITHDRAWN = "withdrawn", "no longer listed by the operator"

    operator = models.CharField(max_length=63, default=DEFAULT_OPERATOR)
    """Who sent it, by the connection that it came over."""
    vtn_id = models.CharField(max_length=128)
    event_id = models.CharField(max_length=128)
    modification_number = models.PositiveBigIntegerField()
    program = models.ForeignKey(Program, on_delete=models.PROTECT, null=True, related_name="events")
    """None when its market context belongs to no program of ours."""
    market_context = models.CharField(max_length=255, blank=True)
    raw = models.BinaryField()
    """The event's own element: of 2.0b oadrEvent in canonical form, of OpenADR 3 the object as JSON."""
    message_hash = models.CharField(max_length=64, blank=True)
    """SHA-256 over the whole message that brought it, as it came over the wire."""
    content_hash = models.CharField(max_length=64)
    """SHA-256 over what was asked; a repetition has the same."""
    operator_status = models.CharField(max_length=16)
    """OpenADR event status at receipt (accepted ones: markets.core.events.EventStatus)."""
    is_test = models.BooleanField(default=False)
    received_at = models.DateTimeField()
    decided_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    """When the operator had our answer where that is a message of its own (OpenADR 3); None before, and for 2.0b."""
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.DECIDED)
    opt_type = models.CharField(max_length=6, choices=[(opt.value, opt.value) for opt in OptType])
    reason = models.CharField(max_length=32, choices=[(reason.value, reason.value) for reason in Reason])
    reason_text = models.CharField(max_length=400)
    requested_kw = models.FloatField(null=True)
    """Size of the service asked for [kW]."""
    available_kw = models.FloatField()
    """What the fleet could keep up when it was decided [kW]."""
    priority = models.BigIntegerField(default=0)
    """OpenADR: 1 is the highest, 0 none."""
    placed_at = models.DateTimeField(null=True)
    """Since when it stands as it is, which counts among equals; None: from its receipt on."""
    asked = models.JSONField(default=dict, blank=True)
    """What a readable event asks for (``markets.owing.stored_asked``)."""

    class Meta:
        ordering = ["received_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "vtn_id", "event_id", "modification_number"],
                name="markets_one_row_per_modification",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_id} modification {self.modification_number}"

    @property
    def is_cancelled(self) -> bool:
        """Tell whether the operator took the event back."""
        return self.operator_status == EventStatus.CANCELLED or self.status == self.Status.WITHDRAWN


class RefusedMessage(models.Model):
    """A message from an operator in which no event could be read; kept for inspection."""

    received_at = models.DateTimeField()
    source = models.CharField(max_length=255)
    error = models.CharField(max_length=40)
    detail = models.CharField(max_length=400)
    size_bytes = models.PositiveIntegerField()
    raw = models.BinaryField()
    """The first bytes, cut at 64 KiB."""

    class Meta:
        indexes = [models.Index(fields=["received_at"], name="markets_refused_at")]

    def __str__(self) -> str:
        return f"{self.error} from {self.source}"


class Obligation(models.Model):
    """What the fleet owes for one accepted event; the dispatcher reads it."""

    class Status(models.TextChoices):
        """Where it stands. Whether its window is open is a matter of time, not of status."""

        OPEN = "open", "owed"
        CANCELLED = "cancelled", "taken back"
        SETTLED = "settled", "booked"

    dispatch_id = models.CharField(max_length=100, unique=True)
    """Joins the books, such as ``DC-<event id>``."""
    program = models.ForeignKey(Program, on_delete=models.PROTECT, related_name="obligations")
    event = models.ForeignKey(MarketEvent, on_delete=models.PROTECT, related_name="obligations")
    """The version of the event in force."""
    revision = models.PositiveIntegerField(default=1)
    """Rises when a modification changes power or window; the fleet is armed anew then."""
    power_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """Size owed [kW, > 0] in the product's direction; of a course the largest from the last revision on."""
    steps = models.JSONField(default=list, blank=True)
    """[instant, power [kW]] where what is owed changes in the window (``markets.core.course``); empty: one power."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "dispatch_id"]
        indexes = [models.Index(fields=["status", "ends_at"], name="markets_obligation_open")]

    def __str__(self) -> str:
        return self.dispatch_id

    @property
    def window(self) -> Interval:
        """The half-open period in which it is owed."""
        return Interval(self.starts_at, self.ends_at)

    @property
    def course(self) -> Course:
        """What is owed over the window, in steps."""
        return course.read(self.steps) if self.steps else course.constant(self.window, self.power_kw)

    @property
    def settled_kw(self) -> float:
        """The mean size owed over the window [kW]: what is paid by time."""
        return course.mean_size_kw(self.course, self.window)


class GridSupportEntry(Entry):
    """The grid-support book: capacity, activation, money; no carbon. Append-only, chained per asset."""

    def recalculated_body(self) -> dict[str, Any] | None:
        """Return the body computed again from the meter book."""
        return type(self).recalculated_bodies([self])[0]

    @classmethod
    def recalculated_bodies(cls, entries: Sequence[Self]) -> list[dict[str, Any] | None]:
        """Return the bodies of entries computed again from the meter book, in their order.

        An asset's entry takes the other assets' weights from the fleet's entry of its dispatch, and
        that entry is computed again from all their meters: together nothing is taken on trust.
        """
        runs = {(entry.dispatch_id, run_of(entry.kind)[1]) for entry in entries}
        fleet_rows = cls._default_manager.filter(
            kind__in={kind_of(FLEET_KIND, run) for _, run in runs}, dispatch_id__in={name for name, _ in runs}
        )
        fleet_bodies = {(row.dispatch_id, run_of(row.kind)[1]): json.loads(row.body) for row in fleet_rows}
        return [cls._recalculated(entry, fleet_bodies) for entry in entries]

    @classmethod
    def _recalculated(cls, entry: Self, fleet_bodies: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any] | None:
        base, run = run_of(entry.kind)
        if base == REVERSAL_KIND:
            taken_back = cls._default_manager.filter(
                chain=entry.chain,
                dispatch_id=entry.dispatch_id,
                kind__in=[kind_of(ASSET_KIND, run), kind_of(FLEET_KIND, run)],
            ).first()
            if taken_back is None:
                return {"facts": {}, "postings": []}
            return reversal_body(body=json.loads(taken_back.body), entry_hash=taken_back.entry_hash, run=run)
        return measuring.recalculated_body(
            kind=entry.kind,
            chain=entry.chain,
            fleet_body=fleet_bodies.get((entry.dispatch_id, run)),
            merkle_root=cls.merkle_root(entry.dispatch_id, run) if base == FLEET_KIND else "",
        )

    @classmethod
    def merkle_root(cls, dispatch_id: str, run: int) -> str:
        """Return the RFC 6962 root [64 hex] over the asset entries of one run, by chain."""
        rows = cls._default_manager.filter(kind=kind_of(ASSET_KIND, run), dispatch_id=dispatch_id)
        return merkle_root_of_hashes(list(rows.order_by("chain", "position").values_list("entry_hash", flat=True)))


class Statement(models.Model):
    """What one obligation came to in one settlement run, with the anchor of its entries; never changed."""

    obligation = models.ForeignKey(Obligation, on_delete=models.PROTECT, related_name="statements")
    run = models.PositiveIntegerField(default=1)
    """Counts from 1; the last one stands, the entries of those before it are reversed."""
    basis = models.CharField(max_length=16)
    """``live`` or ``demonstration``."""
    amount = models.DecimalField(max_digits=20, decimal_places=6)
    """Owed to the fleet [currency], rounded once."""
    difference = models.DecimalField(max_digits=20, decimal_places=6)
    """What this run changed against the one before [currency]; all of the amount for the first."""
    currency = models.CharField(max_length=3)
    k_factor = models.DecimalField(max_digits=7, decimal_places=6)
    entries = models.PositiveIntegerField()
    """Number of asset entries."""
    entry_hash = models.CharField(max_length=64)
    """Hash of the fleet's entry in the grid-support book."""
    merkle_root = models.CharField(max_length=64)
    """RFC 6962 root over the hashes of the asset entries, by chain."""
    settled_at = models.DateTimeField()

    class Meta:
        ordering = ["obligation", "run"]
        constraints = [models.UniqueConstraint(fields=["obligation", "run"], name="markets_one_statement_per_run")]

    def __str__(self) -> str:
        return f"{self.obligation} run {self.run} {self.amount} {self.currency}"
