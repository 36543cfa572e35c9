"""The data of a model and every criterion in (beta, gamma), with derivatives."""
