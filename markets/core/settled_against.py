"""Which products are paid against a baseline, and by which method of the registry."""

from __future__ import annotations

from markets.core.baselines.meter import BaselineError
from markets.core.baselines.registry import method_named
from markets.core.product import Kind, Product


def require_baseline_method(name: str, product: Product) -> str:
    """Return a method's own name, or none for none.

    Raises BaselineError for a name that is not known, and for a product that is not paid against a baseline.
    """
    if not name:
        return ""
    if product.kind is not Kind.INSTRUCTION:
        raise BaselineError(
            f"baseline method {name!r} for product {product.name!r} of kind {product.kind.value}, accepted: a product "
            f"of kind {Kind.INSTRUCTION.value}"
        )
    return method_named(name).rule.name
