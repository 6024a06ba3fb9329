"""Our OpenADR 2.0b VTN for the VENs below us, with its state in the database (docs/openadr.md)."""
