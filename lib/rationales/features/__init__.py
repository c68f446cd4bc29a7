"""Readable features of texts, the linear model on them, and features derived from a transformer's explanations (P4)."""
