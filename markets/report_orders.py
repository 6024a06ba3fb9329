"""Reports that operators asked us for: kept, so that a restarted process goes on with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import models, transaction

from markets.core.report_orders import Order


class ReportOffer(models.Model):
    """The list of reports that an operator was told; told anew when it, or our registration, changes."""

    operator = models.CharField(max_length=255, unique=True)
    registration_id = models.CharField(max_length=128)
    digest = models.CharField(max_length=64)
    """SHA-256 over the list."""
    told_at = models.DateTimeField()

    class Meta:
        app_label = "markets"

    def __str__(self) -> str:
        return f"reports offered to {self.operator}"


class ReportOrder(models.Model):
    """One report that an operator (OpenADR 2.0b) asked for."""

    class State(models.TextChoices):
        """Where it stands."""

        RUNNING = "running", "made"
        DONE = "done", "made to its end"
        CANCELLED = "cancelled", "taken back by the operator"
        REPLACED = "replaced", "not asked for again after reports were offered anew"
        UNKNOWN = "unknown", "no longer known to the operator"

    operator = models.CharField(max_length=255)
    order_id = models.CharField(max_length=128)
    """The operator's reportRequestID."""
    specifier = models.CharField(max_length=64)
    points = models.JSONField()
    granularity_s = models.PositiveIntegerField()
    back_s = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    is_history = models.BooleanField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    sent_through = models.DateTimeField()
    """All samples up to here have been told, or told as missing."""
    asked_at = models.DateTimeField()

    class Meta:
        app_label = "markets"
        ordering = ["asked_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["operator", "order_id"], name="markets_one_report_order")]

    def __str__(self) -> str:
        return f"{self.order_id} of {self.operator}"

    @property
    def order(self) -> Order:
        """What is to be made."""
        return Order(
            self.order_id, self.specifier, tuple(self.points), self.granularity_s, self.back_s,
            self.starts_at, self.ends_at, self.is_history,
        )  # fmt: skip


class SentEventReport(models.Model):
    """One report on an event of OpenADR 3 that is there at the operator: it is not made twice."""

    operator = models.CharField(max_length=255)
    event_id = models.CharField(max_length=128)
    digest = models.CharField(max_length=64)
    """SHA-256 over what it reports: payload type, resources' form and intervals."""
    report_id = models.CharField(max_length=128)
    """The operator's id of it; empty where it was refused for good."""
    sent_at = models.DateTimeField()

    class Meta:
        app_label = "markets"
        constraints = [
            models.UniqueConstraint(fields=["operator", "event_id", "digest"], name="markets_one_event_report")
        ]

    def __str__(self) -> str:
        return f"report on {self.event_id} of {self.operator}"


def offer_told(*, operator: str, registration_id: str, digest: str) -> bool:
    """Tell whether the operator has this list under this registration."""
    return ReportOffer.objects.filter(operator=operator, registration_id=registration_id, digest=digest).exists()


@transaction.atomic
def keep_offer(*, operator: str, registration_id: str, digest: str, kept: Collection[str], at: datetime) -> None:
    """Note that the list was told; telemetry that the operator did not ask for again in its answer is replaced."""
    ReportOffer.objects.update_or_create(
        operator=operator, defaults={"registration_id": registration_id, "digest": digest, "told_at": at}
    )
    running = ReportOrder.objects.filter(operator=operator, state=ReportOrder.State.RUNNING, asked_at__lt=at)
    running.filter(is_history=False).exclude(order_id__in=list(kept)).update(state=ReportOrder.State.REPLACED)


def running_orders(*, operator: str) -> list[ReportOrder]:
    """Return the reports that an operator is to be sent, oldest first."""
    return list(ReportOrder.objects.filter(operator=operator, state=ReportOrder.State.RUNNING))


@transaction.atomic
def keep_orders(*, operator: str, orders: Sequence[Order], at: datetime) -> None:
    """Keep what was asked for; a known id is asked anew from now on."""
    for order in orders:
        ReportOrder.objects.update_or_create(
            operator=operator,
            order_id=order.order_id,
            defaults={
                "specifier": order.specifier,
                "points": list(order.points),
                "granularity_s": order.granularity_s,
                "back_s": order.back_s,
                "starts_at": order.starts_at,
                "ends_at": order.ends_at,
                "is_history": order.is_history,
                "state": ReportOrder.State.RUNNING,
                "sent_through": max(order.starts_at, at) if not order.is_history else order.starts_at,
                "asked_at": at,
            },
        )


def mark_sent(*, operator: str, order_id: str, through: datetime, is_done: bool) -> None:
    """Note how far an order has been reported."""
    state = ReportOrder.State.DONE if is_done else ReportOrder.State.RUNNING
    ReportOrder.objects.filter(operator=operator, order_id=order_id, state=ReportOrder.State.RUNNING).update(
        sent_through=through, state=state
    )


def end_order(*, operator: str, order_id: str, state: ReportOrder.State) -> ReportOrder | None:
    """End a running order and return it; None when none of that id runs."""
    row = ReportOrder.objects.filter(operator=operator, order_id=order_id, state=ReportOrder.State.RUNNING).first()
    if row is not None:
        ReportOrder.objects.filter(pk=row.pk).update(state=state)
    return row


def event_reports_sent(*, operator: str) -> set[tuple[str, str]]:
    """Return (event id, digest) of the reports that are there at the operator."""
    return set(SentEventReport.objects.filter(operator=operator).values_list("event_id", "digest"))


def keep_event_report(*, operator: str, event_id: str, digest: str, report_id: str, at: datetime) -> None:
    """Note that a report is there."""
    SentEventReport.objects.get_or_create(
        operator=operator, event_id=event_id, digest=digest, defaults={"report_id": report_id, "sent_at": at}
    )
