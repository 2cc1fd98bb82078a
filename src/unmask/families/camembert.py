"""CamemBERT, a RoBERTa of French: Martin et al. 2020, https://arxiv.org/abs/1911.03894."""

from unmask.families.roberta import family

FAMILY = family("camembert", "Camembert")
