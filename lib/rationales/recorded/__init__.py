"""Recorded answers of large models, as their authors published them, in the tables of this study."""
