"""Rows of the catalogue, one file a market. A certainty of M or U is told wherever a row is used."""

from __future__ import annotations

from typing import Final

from markets.core.catalogue import aemo, china, entsoe, ercot, general, neso, nordic, pjm
from markets.core.product import Product

ROWS: Final[tuple[Product, ...]] = (
    *neso.ROWS,
    *entsoe.ROWS,
    *nordic.ROWS,
    *ercot.ROWS,
    *pjm.ROWS,
    *aemo.ROWS,
    *china.ROWS,
    *general.ROWS,
)
