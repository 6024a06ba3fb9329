"""What the pages keep for themselves: how often somebody tried."""

from __future__ import annotations

from django.db import models


class Attempts(models.Model):
    """Tries of one name, address or pair within a window; shared by all web processes."""

    key = models.CharField(max_length=100, primary_key=True)
    """What is counted and a hash of whose: names and addresses themselves are not kept."""
    count = models.PositiveIntegerField()
    ends_at = models.DateTimeField()
    """When they are forgotten."""

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="console_attempts_end")]
