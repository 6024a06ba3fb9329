"""A column of float64 values: an array on PostgreSQL, packed little-endian bytes on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import models


def pack_vector(values: Sequence[float]) -> bytes:
    """Return values as they stand in SQLite."""
    return np.asarray(values, dtype="<f8").tobytes()


def unpack_vector(data: bytes) -> tuple[float, ...]:
    """Return the values of packed bytes."""
    return tuple(np.frombuffer(data, dtype="<f8").tolist())


class VectorField(models.Field):  # type: ignore[type-arg]
    """A tuple of floats; not-a-number stands for a value that is not known."""

    description = "float64 values"

    def db_type(self, connection: Any) -> str:
        """Return the column's type."""
        return "double precision[]" if connection.vendor == "postgresql" else "BLOB"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return the value as the database's driver takes it."""
        if value is None:
            return None
        return [float(v) for v in value] if connection.vendor == "postgresql" else pack_vector(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> tuple[float, ...] | None:
        """Return the value as Python sees it."""
        if value is None:
            return None
        return tuple(value) if connection.vendor == "postgresql" else unpack_vector(value)
