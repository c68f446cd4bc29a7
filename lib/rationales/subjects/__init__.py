"""Subjects: models under study, wrapped so that explainers need not know their kind."""
