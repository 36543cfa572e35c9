"""Comparison with constant dispersion, and the fits with a part replaced by a constant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.estimation import fit as fit_module
from hetglm.estimation.covariance import type_of
from hetglm.estimation.record import Fit, Fitted, of_results
from hetglm.estimation.refit import refitted_from_null
from hetglm.exceptions import NotNestedError
from hetglm.inference.bootstrap_results import BootstrapRatio
from hetglm.inference.bootstrap_test import bootstrap_ratio
from hetglm.inference.likelihood_ratio import NEGATIVE_BY_ROUNDING, likelihood_ratio
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.display import Printed, p_text
from hetglm.utils.linalg import contains
from hetglm.utils.parallel import Run


@dataclass(frozen=True, repr=False)
class ConstantDispersionTest(Printed):
    """
    Likelihood ratio of a model against the same mean with a constant dispersion.

    Attributes
    ----------
    statistic : float
        2 (llf - llf_constant).
    pvalue : float
        From chi-square on df; NaN where df is 0.
    df : int
        rank(Z) - 1.
    llf, llf_constant : float
        Log-likelihoods of both models; the adjusted ones after REML.
    aic, aic_constant, bic, bic_constant : float
        NaN after REML.
    criterion : str
        "likelihood" or "extended quasi-likelihood", "REML" or "REML of the extended
        quasi-likelihood".
    method : str
        How the p-value was obtained.
    mc_error : float
        Monte-Carlo standard error of the p-value of a bootstrap, NaN for others.
    failed : int
        Draws of a bootstrap whose refits failed; they do not count.
    reasons : dict
        Why they failed, with counts.
    robust_fit : bool
        Whether the fit has a robust covariance, of which the ratio knows nothing.
    """

    statistic: float
    pvalue: float
    df: int
    llf: float
    llf_constant: float
    aic: float
    aic_constant: float
    bic: float
    bic_constant: float
    criterion: str
    method: str = "chi-square"
    mc_error: float = np.nan
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    robust_fit: bool = False

    def _headline(self) -> str:
        name = "LR" if self.criterion == "likelihood" else f"LR ({self.criterion})"
        if self.df == 0:
            return "Dispersion model: constant (no terms)."
        error = f" +/- {self.mc_error:.2g}" if np.isfinite(self.mc_error) else ""
        failed = f"; {self.failed} refits failed and do not count: {self.reasons}"
        return (
            f"Test of constant dispersion: {name} = {self.statistic:.4g} on {self.df} df, "
            + (f"P {p_text(self.pvalue)}{error}" if np.isfinite(self.pvalue) else "no P")
            + (f" ({self.method})" if self.method != "chi-square" else "")
            + (failed if self.failed else "")
            + (" (model-based: a likelihood ratio is not robust)" if self.robust_fit else "")
        )


def chi_square(statistic: float, df: int) -> float:
    """Return the upper tail of chi-square; NaN for no degrees of freedom."""
    return float(stats.chi2.sf(statistic, df)) if df > 0 else np.nan


def criterion(res: Any) -> str:
    """Return what a fit maximises."""
    by = res.fit.criterion
    if res.model.core.family.exact:
        return str(by.name)
    return ("" if by.by_rows else f"{by.name} of the ") + "extended quasi-likelihood"


def null_fit(
    model: Any, mean: str, dispersion: str, start: Any = None, by: Criterion = LIKELIHOOD
) -> Fit:
    """
    Return the fit of a model with one, both or neither part replaced by a constant.

    Parameters
    ----------
    model : LocationScaleModel
    mean : {"full", "constant", "empty"}
    dispersion : {"full", "constant"}
    start : ndarray, optional
        Starting values.
    by : Criterion
    """
    return null_fitted(model, mean, dispersion, start, by).fit


def null_fitted(
    model: Any, mean: str, dispersion: str, start: Any = None, by: Criterion = LIKELIHOOD
) -> Fitted:
    """Return the fit of `null_fit` as its refits need it."""
    empty = pd.DataFrame(index=range(model.core.n))
    designs = {"full": None, "constant": _constant(model), "empty": empty}
    null = model.clone(exog=designs[mean], exog_dispersion=designs[dispersion])
    fit = fit_module.fit(null.core, null.parameter_names, null.estimable, start, criterion=by)
    return Fitted(null.core, fit, null.parameter_names, null.estimable)


def constant_is_nested(model: Any) -> bool:
    """Return whether the dispersion's design can make a constant."""
    return contains(model.core.Z, np.ones((model.core.n, 1)))


def compare_constant(
    res: Any,
    test: str = "lr",
    nrep: int | None = None,
    rng: Any = None,
    sequential: int | None = None,
    run: Run | None = None,
) -> ConstantDispersionTest:
    """
    Return the comparison with constant dispersion; see the results' method.

    Where chi-square does not hold and ``nrep`` is None there is no p-value.
    """
    if test not in ("lr", "bootstrap"):
        raise ValueError(f"test={test!r}: choose 'lr' or 'bootstrap'")
    model = res.model
    by = res.fit.criterion
    constant, at_boundary = null_maximum(res, "full", "constant", by)
    nested = constant_is_nested(model)
    fit = mended(res, "full", "constant", by) if nested else res.fit
    full = fit.maximum
    k = int(model.estimable.sum())
    k_constant = int(model.estimable[: model.core.k_mean].sum()) + 1
    log_n, aic, aic0, bic, bic0 = np.log(res.nobs), np.nan, np.nan, np.nan, np.nan
    if by.comparable_means:
        aic, aic0 = (2 * (k_ - ll) for k_, ll in ((k, full), (k_constant, constant)))
        bic, bic0 = (k_ * log_n - 2 * ll for k_, ll in ((k, full), (k_constant, constant)))
    if not nested:
        both = f"AIC {aic:.6g} (BIC {bic:.6g}) against {aic0:.6g} ({bic0:.6g}) with a constant"
        both += "" if model.core.family.exact else ", all of the extended quasi-likelihood (EQL)"
        if not by.comparable_means:
            both = (
                f"llf_{by.name.lower()} {full:.6g} ({k - k_constant + 1} coefficients of the "
                f"dispersion) against {constant:.6g} with a constant"
            )
        raise NotNestedError(
            "a constant dispersion is not a special case of this model: 1 is not in the column space of "
            "the dispersion's design (it has no intercept), so a likelihood ratio has no meaning. "
            f"{both}"
        )
    df = k - k_constant
    statistic = likelihood_ratio(full, constant, "the dispersion") if df else 0.0
    pvalue, method, bootstrapped = chi_square(statistic, df), "chi-square", {}
    symbol = model.core.family.symbol
    if df and at_boundary:
        pvalue, method = np.nan, f"constant {symbol} = 0: use compare_constant_dispersion(nrep=...)"
    if df and nrep and (at_boundary or test == "bootstrap"):
        start = constant_start(res) if by.by_rows else None
        null = null_fitted(model, "full", "constant", start, by)
        larger = replace(of_results(res), fit=fit)
        pvalue, found = bootstrap_ratio(null, larger, nrep, rng, sequential=sequential, run=run)
        method = _bootstrap_text(found, f"{symbol} = 0" if at_boundary else "dispersion")
        bootstrapped = {name: getattr(found, name) for name in ("mc_error", "failed", "reasons")}
    return ConstantDispersionTest(
        statistic,
        pvalue,
        df,
        full,
        constant,
        aic,
        aic0,
        bic,
        bic0,
        criterion(res),
        method,
        robust_fit=not type_of(res).model_based,
        **bootstrapped,
    )


def _bootstrap_text(found: BootstrapRatio, constant: str) -> str:
    """Return how a p-value was simulated."""
    stop = f", stopped at {found.exceeded} exceedances" if found.stopped else ""
    return f"parametric bootstrap, {len(found.ratios)} draws from constant {constant}{stop}"


def _constant(model: Any) -> pd.DataFrame:
    return pd.DataFrame({"Intercept": np.ones(model.core.n)})


def null_maximum(
    res: Any, mean: str, dispersion: str, by: Criterion = LIKELIHOOD
) -> tuple[float, bool]:
    """Return the maximum of a null model, and whether it is at the boundary; fitted once."""
    known, key = res.null_maxima, (mean, dispersion, by)
    if key not in known:
        of_results(res)  # one without its rows says so
        start = None
        if (mean, dispersion) == ("full", "constant"):
            start = constant_start(res)
        null = null_fit(res.model, mean, dispersion, start, by)
        known[key] = null.maximum, null.boundary is not None
    return known[key]


def mended(res: Any, mean: str, dispersion: str, by: Criterion) -> Fit:
    """Return a fit, or where it failed, being below a null model, what is reached from that."""
    below = null_maximum(res, mean, dispersion, by)[0] - res.fit.maximum
    if 2 * below <= NEGATIVE_BY_ROUNDING * (1 + abs(res.fit.maximum)):
        return res.fit
    null = null_fitted(res.model, mean, dispersion, by=by)
    return refitted_from_null(res.model, res.fit, null.core, null.fit)


def constant_start(res: Any) -> Array | None:
    """Return the fitted mean with its average dispersion: close to the constant model's maximum."""
    core, internal = res.core, res.fit.internal
    zeta = core.predictors(internal).zeta
    offset = 0.0 if core.offset_dispersion is None else core.offset_dispersion
    inside = np.isfinite(zeta)
    if not inside.any():
        return None
    weights = None if core.freq is None else core.freq[inside]
    level = np.average((zeta - offset)[inside], weights=weights)
    start = np.concatenate([internal[: core.k_mean], [level]])
    core = res.model.core
    ones = core.with_designs(Z=np.ones((core.n, 1)))
    return start if ones.loglike(start) > -np.inf else None
