"""Stages of the study: each reads the tables of earlier stages, computes, and writes its own; notebooks call them."""
