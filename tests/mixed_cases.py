"""Grouping factors of arrays, and the reference cases of models with random effects."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

import hetglm.formula.api as hmf
from hetglm.datasets import load_splicing
from hetglm.design.random_terms import GroupingFactor
from hetglm.mixed.fit import fit_mixed

REFERENCE = Path(__file__).parent / "reference"


def reference(name):
    """Return a reference case."""
    return json.loads((REFERENCE / f"{name}.json").read_text())


def data(name):
    """Return a data set of the reference cases; labels that are numbers are read as numbers."""
    folder = files("hetglm.datasets") if name == "sleepstudy" else REFERENCE / "data"
    return pd.read_csv(str(folder / f"{name}.csv"))


def factor(name, labels, mean=(), dispersion=(), blocks=None):
    """Return a grouping factor: columns of each part as names -> values, all in one block by default."""
    levels, codes = np.unique(np.asarray(labels), return_inverse=True)
    columns = [(c, "mean", v) for c, v in dict(mean).items()]
    columns += [(c, "dispersion", v) for c, v in dict(dispersion).items()]
    names, parts, values = zip(*columns, strict=True)
    ones = np.ones(len(codes))
    matrix = np.column_stack([ones * np.asarray(v, dtype=float) for v in values])
    blocks = blocks or (tuple(range(len(names))),)
    return GroupingFactor(name, tuple(levels), codes.reshape(-1), matrix, names, parts, blocks)


def fitted(model, *factors, **options):
    """Return the fit of a model's likelihood with random effects."""
    return fit_mixed(model.core, factors, model.parameter_names, **options)


ONE = {"Intercept": 1.0}


def sleepstudy(dispersion="1", slope=True, in_dispersion=False):
    """Return the model of sleepstudy and its grouping factor."""
    frame = data("sleepstudy")
    model = hmf.doubleglm(f"Reaction ~ Days | {dispersion}", frame)
    mean = {**ONE, "Days": frame["Days"]} if slope else ONE
    blocks = ((0, 1), (2,)) if in_dispersion else None
    of_dispersion = ONE if in_dispersion else {}
    return model, factor("Subject", frame["Subject"], mean, of_dispersion, blocks)


def splicing(dispersion=False, labelled=False):
    """Return the model of splicing with the gene's effect in the mean, or in both parts."""
    frame = load_splicing()
    model = hmf.betabinomial("K + I(N - K) ~ 1 | group + treatment", frame)
    blocks = ((0, 1),) if labelled else ((0,), (1,))
    if not dispersion:
        return model, factor("id", frame["id"], ONE)
    return model, factor("id", frame["id"], ONE, ONE, blocks)


def owls():
    """Return the negative binomial model of owls and its grouping factor."""
    frame = data("owls")
    formula = "SiblingNegotiation ~ FoodTreatment * SexParent | FoodTreatment"
    model = hmf.negativebinomial(formula, frame, offset=frame["logBroodSize"])
    return model, factor("Nest", frame["Nest"], ONE)


def cbpp():
    """Return the beta-binomial model of cbpp and its grouping factor."""
    frame = data("cbpp").assign(period=lambda f: f["period"].astype(str))
    model = hmf.betabinomial("incidence + I(size - incidence) ~ period | 1", frame)
    return model, factor("herd", frame["herd"], ONE)


def cbpp_binomial():
    """Return the binomial model of cbpp, which lme4 fits, and its grouping factor."""
    frame = data("cbpp").assign(period=lambda f: f["period"].astype(str))
    formula = "incidence + I(size - incidence) ~ period | 0"
    model = hmf.doubleglm(formula, frame, family=sm.families.Binomial())
    return model, factor("herd", frame["herd"], ONE)
