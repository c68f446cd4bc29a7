"""Tested helpers of the study: corpora -> subjects -> explainers -> metrics -> statistics -> figures.

Data flows one way, through tables on disk; see the README for the notebooks that tell the story.
"""

__version__ = "0.1.0"
