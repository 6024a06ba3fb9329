"""The operators' signals that settlements were scored against: kept once, named by their digest, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import models

from markets.core.signal_course import SignalCourse, course_of, course_of_bytes


class OperatorSignal(models.Model):
    """What an operator asked for over time, as a settlement read it."""

    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 over instants and values; the entries of a run name it."""
    source = models.CharField(max_length=255)
    packed = models.BinaryField()
    kept_at = models.DateTimeField()

    class Meta:
        app_label = "markets"

    def __str__(self) -> str:
        return f"{self.digest[:12]} {self.source}"

    @property
    def course(self) -> SignalCourse:
        """The values with their instants."""
        return course_of_bytes(bytes(self.packed))


def keep_signal(*, rows: Sequence[tuple[datetime, float]], source: str, at: datetime) -> OperatorSignal:
    """Keep a signal's (instant, value) rows; the same one kept again is the held one. Raises SignalInvalid."""
    course = course_of(rows)
    held, _ = OperatorSignal.objects.get_or_create(
        digest=course.digest, defaults={"source": source[:255], "packed": course.to_bytes(), "kept_at": at}
    )
    return held
