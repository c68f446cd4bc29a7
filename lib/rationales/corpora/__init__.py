"""Corpora: `load_corpus(name, **options)` reads one; each reader module registers itself with `@corpus`."""

from rationales.corpora.registry import CORPORA, load_corpus

__all__ = ["CORPORA", "load_corpus"]
