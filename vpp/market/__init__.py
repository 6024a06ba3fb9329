"""The market for programs: what was bought, owed and settled, read only."""
