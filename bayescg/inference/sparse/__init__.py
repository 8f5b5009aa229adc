"""Which terms, or shapes, the data support."""
