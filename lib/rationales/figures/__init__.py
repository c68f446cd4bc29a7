"""Figures and display tables: one style for the study, drawn from finished summaries.

Nothing is estimated here; estimates and intervals come from `rationales.statistics`.
"""
