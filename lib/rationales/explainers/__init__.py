"""Explainers: an example and a subject in, one score per word (or a set of words) out."""
