"""What we tell operators of when we take part (EiOpt, OpenADR 2.0b): kept until it is told, and after that for good."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db import models, transaction
from django.db.models import Q, QuerySet

from markets.core.events import OptType

REASONS: Final = (
    "economic",
    "emergency",
    "mustRun",
    "notParticipating",
    "outageRunStatus",
    "overrideStatus",
    "participating",
    "x-schedule",
)
"""OpenADR 2.0b's own words."""
MAX_AHEAD: Final = timedelta(days=366)


class OptRefused(ValueError):
    """An opt schedule that cannot be kept or ended; the message says what is accepted."""


class OperatorOpt(models.Model):
    """One window in which we, or one of our resources, take part with an operator or do not."""

    class State(models.TextChoices):
        """How far the operator knows of it."""

        WANTED = "wanted", "to be told"
        TOLD = "told", "the operator has it"
        REFUSED = "refused", "the operator refused it"
        CANCEL_WANTED = "cancel_wanted", "its end is to be told"
        CANCELLED = "cancelled", "ended"
        LAPSED = "lapsed", "its window ended before the operator heard of it"

    operator = models.CharField(max_length=63)
    opt_id = models.CharField(max_length=64, unique=True)
    opt_type = models.CharField(max_length=6, choices=[(opt.value, opt.value) for opt in OptType])
    reason = models.CharField(max_length=32, choices=[(reason, reason) for reason in REASONS])
    market_context = models.CharField(max_length=255, blank=True)
    """The program that it is about; empty: all of the operator's."""
    resource = models.CharField(max_length=64, blank=True)
    """The resource that it is about, such as a site; empty: all that we have."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.WANTED)
    answer = models.CharField(max_length=200, blank=True)
    """What the operator said when it refused."""
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        app_label = "markets"
        ordering = ["created_at", "pk"]
        indexes = [models.Index(fields=["operator", "state"], name="markets_opt_to_tell")]
        constraints = [models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="markets_opt_lasts")]

    def __str__(self) -> str:
        return f"{self.opt_id} {self.opt_type}"


def keep_opt(
    *,
    operator: str,
    starts_at: datetime,
    ends_at: datetime,
    at: datetime,
    opt_type: OptType = OptType.OPT_OUT,
    reason: str = "notParticipating",
    market_context: str = "",
    resource: str = "",
) -> OperatorOpt:
    """Keep an opt schedule to be told to its operator; raises OptRefused."""
    if not at < ends_at or not starts_at < ends_at:
        raise OptRefused(f"it ends at {ends_at.isoformat()}, accepted: after its start and after now")
    if ends_at - at > MAX_AHEAD:
        raise OptRefused(f"it ends at {ends_at.isoformat()}, accepted: up to {MAX_AHEAD.days} days ahead")
    if reason not in REASONS:
        raise OptRefused(f"reason is {reason!r}, accepted: {', '.join(REASONS)}")
    if len(market_context) > 255 or len(resource) > 64 or not (market_context + resource).isprintable():
        raise OptRefused("market context or resource, accepted: up to 255 and 64 printable characters")
    return OperatorOpt.objects.create(
        operator=operator,
        opt_id=f"opt-{secrets.token_hex(12)}",
        opt_type=opt_type,
        reason=reason,
        market_context=market_context,
        resource=resource,
        starts_at=starts_at,
        ends_at=ends_at,
        created_at=at,
        changed_at=at,
    )


@transaction.atomic
def cancel_opt(*, opt_id: str, at: datetime) -> OperatorOpt:
    """End an opt schedule; its operator is told. Raises OptRefused for one that is not in force."""
    opt = OperatorOpt.objects.select_for_update().filter(opt_id=opt_id).first()
    states = OperatorOpt.State
    if opt is None or opt.state not in (states.WANTED, states.TOLD):
        state = opt.get_state_display() if opt else "unknown"
        raise OptRefused(f"{opt_id} is not in force ({state}), accepted: one that is")
    # One that seems untold may be on its way: its end is told all the same.
    opt.state, opt.changed_at = states.CANCEL_WANTED, at
    opt.save(update_fields=["state", "changed_at"])
    return opt


@transaction.atomic
def opts_to_tell(*, operator: str, at: datetime) -> list[OperatorOpt]:
    """Return what an operator is to be told, oldest first; what is over before it was told lapses."""
    states = OperatorOpt.State
    waiting = OperatorOpt.objects.filter(operator=operator, state__in=[states.WANTED, states.CANCEL_WANTED])
    waiting.filter(state=states.WANTED, ends_at__lte=at).update(state=states.LAPSED, changed_at=at)
    return list(waiting)


def keep_told(*, opt: OperatorOpt, is_taken: bool, answer: str, at: datetime) -> None:
    """Keep what an operator answered; what was asked of it meanwhile stays to be told."""
    states = OperatorOpt.State
    if opt.state == states.CANCEL_WANTED:
        # One that the operator does not know (any more) has ended too.
        after = states.CANCELLED
    else:
        after = states.TOLD if is_taken else states.REFUSED
    same = OperatorOpt.objects.filter(pk=opt.pk, state=opt.state)
    same.update(state=after, answer="" if is_taken else answer[:200], changed_at=at)


def opted_out(*, operator: str, market_context: str, starts_at: datetime, ends_at: datetime) -> QuerySet[OperatorOpt]:
    """Return the opt-outs of all that we have that overlap a window of one operator's program."""
    states = OperatorOpt.State
    return OperatorOpt.objects.filter(
        operator=operator,
        opt_type=OptType.OPT_OUT,
        resource="",
        market_context__in=["", market_context],
        state__in=[states.WANTED, states.TOLD],
        starts_at__lt=ends_at,
        ends_at__gt=starts_at,
    )
