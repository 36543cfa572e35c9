"""Comparison of a model with the same mean and a constant dispersion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats

from hetglm.estimation.covariance import type_of
from hetglm.estimation.record import Fit, fitted_of
from hetglm.exceptions import NotNestedError
from hetglm.inference.bootstrap_results import BootstrapRatio
from hetglm.inference.bootstrap_test import bootstrap_ratio
from hetglm.inference.likelihood_ratio import likelihood_ratio
from hetglm.inference.null_model import NullModel
from hetglm.utils.display import Printed, p_text
from hetglm.utils.parallel import Run

#: Said of a dispersion part without columns.
KNOWN = "the dispersion has no columns (| 0): it is known, so there is nothing to test"


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
        rank(Z) - 1, and the covariance parameters of random effects of the dispersion.
    llf, llf_constant : float
        Log-likelihoods of both models; after REML their REML criteria.
    aic, aic_constant, bic, bic_constant : float
        NaN after REML.
    criterion : str
        "likelihood" or "extended quasi-likelihood", "REML" or "REML of the extended
        quasi-likelihood".
    method : str
        Reference distribution of the p-value, or the bootstrap.
    mc_error : float
        Monte-Carlo standard error of a bootstrap p-value, else NaN.
    failed : int
        Number of bootstrap draws whose refits failed; they are left out.
    reasons : dict
        Reasons of the failed refits, with counts.
    robust_fit : bool
        Whether the fit has a robust covariance, which the likelihood ratio ignores.
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
        failed = f"; {self.failed} refits failed and are left out: {self.reasons}"
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
    if res.model.core.dispersion_is_known:
        raise ValueError(KNOWN)
    null = NullModel(res, "full", "constant", res.fit.criterion)
    if not null.is_nested:
        raise NotNestedError(
            "a constant dispersion is not a special case of this model: 1 is not in the column space of "
            "the dispersion's design (it has no intercept), so a likelihood ratio has no meaning. "
            f"{_both_criteria(null)}"
        )
    fit = null.larger_fit()
    found = _by_chi_square(null, fit)
    if found.df and nrep and (null.at_boundary or test == "bootstrap"):
        larger = replace(fitted_of(res), fit=fit)
        _, draws = bootstrap_ratio(null.fitted, larger, nrep, rng, sequential=sequential, run=run)
        return _by_bootstrap(found, null, draws)
    if found.df and null.at_boundary:
        how = f"{_at_boundary(null)}: use compare_constant_dispersion(nrep=...)"
        return replace(found, pvalue=np.nan, method=how)
    return found


def _by_chi_square(null: NullModel, fit: Fit) -> ConstantDispersionTest:
    """Return the likelihood ratio of a fit against its null model with the P of chi-square."""
    res, (k, k_null) = null.res, _counts(null)
    df, full, constant = k - k_null, fit.maximum, null.fit.maximum
    statistic = likelihood_ratio(full, constant, "the dispersion") if df else 0.0
    (aic, bic), (aic0, bic0) = _aic_bic(res, full, k), _aic_bic(res, constant, k_null)
    return ConstantDispersionTest(
        statistic,
        chi_square(statistic, df),
        df,
        full,
        constant,
        aic,
        aic0,
        bic,
        bic0,
        criterion(res),
        robust_fit=not type_of(res).model_based,
    )


def _by_bootstrap(
    found: ConstantDispersionTest, null: NullModel, draws: BootstrapRatio
) -> ConstantDispersionTest:
    """Return the comparison with the P of a bootstrap."""
    constant = "dispersion" if null.fit.boundary is None else f"{null.model.core.family.symbol} = 0"
    stop = f", stopped at {draws.exceeded} exceedances" if draws.stopped else ""
    how = f"parametric bootstrap, {len(draws.ratios)} draws from constant {constant}{stop}"
    names = ("pvalue", "mc_error", "failed", "reasons")
    return replace(found, method=how, **{name: getattr(draws, name) for name in names})


def _at_boundary(null: NullModel) -> str:
    """Return what is at the boundary under H0, in words."""
    if null.without_variances:
        return "a variance of a random effect is 0 under H0"
    return f"constant {null.model.core.family.symbol} = 0"


def _counts(null: NullModel) -> tuple[int, int]:
    """Return the number of estimated parameters, and that with a constant dispersion."""
    full, constant = (round(model.nobs - model.df_resid) for model in (null.res.model, null.model))
    return full, constant


def _aic_bic(res: Any, maximum: float, k: int) -> tuple[float, float]:
    """Return AIC and BIC of a maximum, NaN where it does not compare different means."""
    if not res.fit.criterion.comparable_means:
        return np.nan, np.nan
    return 2 * (k - maximum), k * np.log(res.nobs) - 2 * maximum


def _both_criteria(null: NullModel) -> str:
    """Return what a model is compared by in which a constant dispersion is not nested, in words."""
    res, (k, k_null) = null.res, _counts(null)
    full, constant, by = res.fit.maximum, null.fit.maximum, res.fit.criterion
    if not by.comparable_means:
        return (
            f"llf_{by.name.lower()} {full:.6g} ({k - k_null + 1} coefficients of the dispersion) "
            f"against {constant:.6g} with a constant"
        )
    (aic, bic), (aic0, bic0) = _aic_bic(res, full, k), _aic_bic(res, constant, k_null)
    rest = "" if res.model.core.family.exact else ", all of the extended quasi-likelihood (EQL)"
    return f"AIC {aic:.6g} (BIC {bic:.6g}) against {aic0:.6g} ({bic0:.6g}) with a constant{rest}"
