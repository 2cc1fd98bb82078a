"""XLM-R, a RoBERTa of 100 languages: Conneau et al. 2020, https://arxiv.org/abs/1911.02116."""

from unmask.families.roberta import family

FAMILY = family("xlm-roberta", "XLMRoberta")
