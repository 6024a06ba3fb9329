"""How a delivery is scored, one rule a module; ``registry`` has them by the name that a row of the catalogue gives."""
