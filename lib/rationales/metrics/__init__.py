"""Measures of explanations: plausibility, faithfulness, agreement and stability."""
