"""Relevance propagation: AttnLRP and CP-LRP as rules on transformers models, and the method of Chefer et al."""
