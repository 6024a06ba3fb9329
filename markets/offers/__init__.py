"""From offer to award: units, evidence, offers, locked baselines, awards, redeclarations."""
