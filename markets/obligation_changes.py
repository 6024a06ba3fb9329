"""What changed on an accepted event without its operator asking: kept for good, and told to the operator."""

from __future__ import annotations

from django.db import models

from markets.core.events import OptType
from markets.core.obligations import Reason


class ObligationChange(models.Model):
    """One redeclaration: an obligation was cut, lost, or given back because of others; ``told_at`` alone changes."""

    event = models.ForeignKey("markets.MarketEvent", on_delete=models.PROTECT, related_name="changes")
    obligation = models.ForeignKey("markets.Obligation", on_delete=models.PROTECT, related_name="changes")
    revision = models.PositiveIntegerField()
    """Of the obligation, after the change."""
    changed_at = models.DateTimeField()
    before_kw = models.FloatField()
    """Size owed before it [kW]; 0: it was refused."""
    after_kw = models.FloatField()
    """Size owed from then on [kW]; 0: nothing."""
    opt_type = models.CharField(max_length=6, choices=[(opt.value, opt.value) for opt in OptType])
    """The answer that stands now, and that the operator has to hear."""
    reason = models.CharField(max_length=32, choices=[(reason.value, reason.value) for reason in Reason])
    text = models.CharField(max_length=400)
    cause = models.CharField(max_length=128, blank=True)
    """Event that it made room for, or that gave room; empty: a capacity limit."""
    told_at = models.DateTimeField(null=True)
    """When the operator was told; None: not yet."""

    class Meta:
        ordering = ["changed_at", "pk"]
        indexes = [models.Index(fields=["told_at"], name="markets_change_untold")]

    def __str__(self) -> str:
        return f"{self.obligation_id} {self.before_kw:g} -> {self.after_kw:g} kW"
