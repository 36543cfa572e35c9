"""Likelihood-ratio comparisons: with constant dispersion, and of nested fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hetglm import _fit
from hetglm._fit import Fit, maximum
from hetglm._linalg import contains, gram
from hetglm._replicates import Run
from hetglm._warm import Fitted
from hetglm.bootstrap import BootstrapRatio, bootstrap_ratio, of_results
from hetglm.exceptions import NotNestedError, UnboundedLikelihoodError
from hetglm.terms import (
    NOTHING,
    Hypothesis,
    Outcome,
    Submodels,
    embedded,
    hypotheses,
    likelihood_ratio,
    refit,
    score,
    wald,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class ConstantDispersionTest:
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

    def __str__(self) -> str:
        """Return the test in one line."""
        name = "LR" if self.criterion == "likelihood" else f"LR ({self.criterion})"
        if self.df == 0:
            return "The dispersion is constant."
        error = f" +/- {self.mc_error:.2g}" if np.isfinite(self.mc_error) else ""
        failed = f"; {self.failed} refits failed and do not count: {self.reasons}"
        return (
            f"Against constant dispersion: {name} = {self.statistic:.4g} on {self.df} df, "
            + (f"P {p_text(self.pvalue)}{error}" if np.isfinite(self.pvalue) else "no P")
            + (f" ({self.method})" if self.method != "chi-square" else "")
            + (failed if self.failed else "")
        )


def p_text(p: float) -> str:
    """Return '= 0.0123' or '< 1e-16'."""
    return f"= {p:.3g}" if p >= 1e-16 else "< 1e-16"


def chi_square(statistic: float, df: int) -> float:
    """Return the upper tail of chi-square; NaN for no degrees of freedom."""
    return float(stats.chi2.sf(statistic, df)) if df > 0 else np.nan


def criterion(res: Any) -> str:
    """Return what a fit maximises."""
    if res.model.core.family.exact:
        return "REML" if res.reml else "likelihood"
    return ("REML of the " if res.reml else "") + "extended quasi-likelihood"


def null_fit(model: Any, mean: str, dispersion: str, start: Any = None, reml: bool = False) -> Fit:
    """
    Return the fit of a model with one, both or neither part replaced by a constant.

    Parameters
    ----------
    model : LocationScaleModel
    mean : {"full", "constant", "empty"}
    dispersion : {"full", "constant"}
    start : ndarray, optional
        Starting values.
    reml : bool
        Whether by REML.
    """
    return null_fitted(model, mean, dispersion, start, reml).fit


def null_fitted(
    model: Any, mean: str, dispersion: str, start: Any = None, reml: bool = False
) -> Fitted:
    """Return the fit of `null_fit` as its refits need it."""
    empty = pd.DataFrame(index=range(model.core.n))
    designs = {"full": None, "constant": _constant(model), "empty": empty}
    null = model.clone(exog=designs[mean], exog_dispersion=designs[dispersion])
    fit = _fit.fit(null.core, null.parameter_names, null.estimable, start, reml=reml)
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
    constant, at_boundary = _null_of(res, "full", "constant", res.reml)
    full = maximum(res._fit)
    k = int(model.estimable.sum())
    k_constant = int(model.estimable[: model.core.k_mean].sum()) + 1
    log_n, aic, aic0, bic, bic0 = np.log(res.nobs), np.nan, np.nan, np.nan, np.nan
    if not res.reml:
        aic, aic0 = (2 * (k_ - ll) for k_, ll in ((k, full), (k_constant, constant)))
        bic, bic0 = (k_ * log_n - 2 * ll for k_, ll in ((k, full), (k_constant, constant)))
    if not constant_is_nested(model):
        both = f"AIC {aic:.6g} (BIC {bic:.6g}) against {aic0:.6g} ({bic0:.6g}) with a constant"
        if res.reml:
            both = (
                f"llf_reml {full:.6g} ({k - k_constant + 1} coefficients of the dispersion) against "
                f"{constant:.6g} with a constant"
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
        start = None if res.reml else _constant_start(res)
        null = null_fitted(model, "full", "constant", start, res.reml)
        pvalue, found = bootstrap_ratio(
            null, of_results(res), nrep, rng, sequential=sequential, run=run
        )
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
        **bootstrapped,
    )


def _bootstrap_text(found: BootstrapRatio, constant: str) -> str:
    """Return how a p-value was simulated."""
    stop = f", stopped at {found.exceeded} exceedances" if found.stopped else ""
    return f"parametric bootstrap, {len(found.ratios)} draws from constant {constant}{stop}"


def _constant(model: Any) -> pd.DataFrame:
    return pd.DataFrame({"Intercept": np.ones(model.core.n)})


def _null_of(res: Any, mean: str, dispersion: str, reml: bool = False) -> tuple[float, bool]:
    """Return the maximum of a null model, and whether it is at the boundary; fitted once."""
    known, key = res._nulls, (mean, dispersion, reml)
    if key not in known:
        start = None
        if (mean, dispersion) == ("full", "constant"):
            start = _constant_start(res)
        null = null_fit(res.model, mean, dispersion, start, reml)
        known[key] = maximum(null), null.boundary is not None
    return known[key]


def _constant_start(res: Any) -> Array | None:
    """Return the fitted mean with its average dispersion: close to the constant model's maximum."""
    core, internal = res._core, res._fit.internal
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


def anova(*results: Any, typ: int | None = None, test: str | None = None) -> pd.DataFrame:
    """
    Compare a fit with constant mean and dispersion, term by term, or nested fits with each other.

    Parameters
    ----------
    *results : LocationScaleResults
        One fit, or two and more on the same rows.
    typ : {1, 2, 3}, optional
        For one fit, a row for each term of both parts. 1: each against the terms before it, those of
        the mean first and with constant dispersion; 2: against all terms that do not contain it; 3:
        against all other terms, whatever their coding.
    test : {"lr", "wald", "score"}, optional
        Statistic of these rows. By default the likelihood ratio, or the Wald test where the fit has
        a robust covariance, which it and the score test honour.

    Returns
    -------
    DataFrame
        For one fit with ``typ``: rows (part, term), columns df, statistic (chi-square, or F where
        the fit has ``use_t``) and P; NaN where a coefficient is at the boundary, so that chi-square
        does not hold. For one fit without, as R's ``anova.dglm``: rows "Mean model" (against a
        constant mean, or none where the mean has no constant) and "Dispersion model" (against a
        constant dispersion); columns DF, Seq.Chisq, Seq.P (mean first, with constant dispersion;
        then dispersion) and Adj.Chisq, Adj.P (each in the presence of the other). After REML rows of
        the dispersion are ratios of REML criteria; those of the mean are by maximum likelihood,
        fitted anew, for REML criteria of different means have no ratio. For several, ordered by size:
        df_resid, llf (after REML llf_reml), aic, bic, and df_diff, statistic, P against the row
        above. The columns' name says what the ratio is of.

    Raises
    ------
    NotNestedError
        If the fits are not nested or not comparable (REML fits with different means, or one by REML
        and one by maximum likelihood), or the dispersion has no constant.
    ValueError
        For an unknown type or test, or one that the fit does not allow.
    """
    if not results:
        raise ValueError("anova: give at least one fit")
    fits = [getattr(res, "_results", res) for res in results]
    for res in fits:
        if not hasattr(res, "params_dispersion"):
            raise ValueError(f"anova: {type(res).__name__} is no fit of this package")
    if typ is not None:
        if len(fits) > 1:
            raise ValueError("typ: for one fit only; several are compared with each other")
        return _by_terms(fits[0], typ, test)
    if test not in (None, "lr"):
        raise ValueError(f"test={test!r}: give typ=1, 2 or 3 with it")
    table = _one(fits[0]) if len(fits) == 1 else _several(fits)
    table.columns.name = _ratio_name(fits[0], len(fits) == 1)
    return table


def _ratio_name(res: Any, both: bool) -> str:
    """Return what a likelihood-ratio table shows, of both parts or of one."""
    name = "LR" if res.model.core.family.exact else "EQL ratio"
    return name + (" by REML" + (", mean by ML" if both else "") if res.reml else "")


def _by_terms(res: Any, typ: int, test: str | None) -> pd.DataFrame:
    """Return a table with a row for each term of both parts."""
    if typ not in (1, 2, 3):
        raise ValueError(f"typ={typ!r}: choose 1 (sequential), 2 (hierarchical) or 3 (marginal)")
    robust = res.cov_type not in ("nonrobust", "eim")
    test = ("wald" if robust else "lr") if test is None else test
    if test not in ("lr", "wald", "score"):
        raise ValueError(f"test={test!r}: choose 'lr', 'wald' or 'score'")
    if test == "lr" and robust:
        raise ValueError(
            f"test='lr': a likelihood ratio knows nothing of cov_type={res.cov_type!r}; use 'wald' or "
            "'score', or fit with the model-based covariance"
        )
    if test == "score" and res.reml:
        raise ValueError("test='score': not after REML; use 'lr' or 'wald', or fit by ML")
    submodels = Submodels(res.model, res._fit)
    mean = submodels
    if res.reml and test == "lr":
        mean = Submodels(res.model, refit(res.model))
    outcome = {
        "lr": lambda h: _ratio_outcome(mean if h.term.part == "mean" else submodels, h),
        "wald": lambda h: wald(res, submodels, h),
        "score": lambda h: score(res, submodels, h),
    }[test]
    tested = hypotheses(res.model.term_list, typ)
    rows = pd.MultiIndex.from_tuples(
        [(h.term.part, h.term.name.removeprefix("dispersion-")) for h in tested],
        names=["part", "term"],
    )
    table = pd.DataFrame(map(outcome, tested), index=rows, columns=["df", "statistic", "P"])
    table.columns.name = {"lr": _ratio_name(res, True), "wald": "Wald", "score": "Score"}[test]
    return table


def _ratio_outcome(submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the likelihood-ratio test of a term; no P where the null's dispersion is at an end."""
    statistic, df = submodels.ratio(hypothesis)
    if df == 0:
        return NOTHING
    null = submodels.without({*hypothesis.absent, *hypothesis.term.columns})[1]
    regular = hypothesis.term.part == "mean" or null.boundary is None
    return Outcome(df, statistic, chi_square(statistic, df) if regular else np.nan)


def _one(res: Any) -> pd.DataFrame:
    model = res.model
    dispersion = compare_constant(res)
    with_constant = contains(model.core.X, np.ones((model.core.n, 1)))
    null = "constant" if with_constant else "empty"
    df = int(model.estimable[: model.core.k_mean].sum()) - with_constant
    sequential = adjusted = 0.0
    if df:
        constant, full = dispersion.llf_constant, dispersion.llf
        if res.reml:
            constant, full = _by_ml(res)
        sequential = likelihood_ratio(constant, _null_of(res, null, "constant")[0], "the mean")
        adjusted = likelihood_ratio(full, _null_of(res, null, "full")[0], "the mean")
    rows = [
        (df, sequential, chi_square(sequential, df), adjusted, chi_square(adjusted, df)),
        (dispersion.df, *2 * (dispersion.statistic, dispersion.pvalue)),
    ]
    columns = ["DF", "Seq.Chisq", "Seq.P", "Adj.Chisq", "Adj.P"]
    return pd.DataFrame(rows, columns=columns, index=["Mean model", "Dispersion model"])


def _by_ml(res: Any) -> tuple[float, float]:
    """Return the log-likelihoods of the full mean with constant and full dispersion, after REML."""
    try:
        return _null_of(res, "full", "constant")[0], _null_of(res, "full", "full")[0]
    except UnboundedLikelihoodError as exc:
        raise UnboundedLikelihoodError(
            "anova: the row of the mean needs maximum likelihood (REML criteria of different means have "
            f"no ratio), but {exc}. compare_constant_dispersion() tests the dispersion by REML",
            exc.where,
        ) from exc


def _several(fits: list[Any]) -> pd.DataFrame:
    fits = sorted(fits, key=lambda res: -res.df_resid)
    criteria = [_comparable(res) for res in fits]
    rows = []
    for i, res in enumerate(fits):
        row = [res.df_resid, maximum(res._fit), res.aic, res.bic, np.nan, np.nan, np.nan]
        if i:
            smaller = fits[i - 1]
            _check_nested(smaller, res)
            df = round(smaller.df_resid - res.df_resid)
            what = f"model {i} against model {i - 1}"
            criteria[i] = max(criteria[i], _again(smaller, res, criteria[i] < criteria[i - 1]))
            statistic = likelihood_ratio(criteria[i], criteria[i - 1], what)
            regular = smaller.boundary is None or contains(smaller.model.core.Z, res.model.core.Z)
            row[4:] = df, statistic, chi_square(statistic, df) if regular else np.nan
        rows.append(row)
    llf = "llf_reml" if fits[0].reml else "llf"
    columns = ["df_resid", llf, "aic", "bic", "df_diff", "statistic", "P"]
    return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(len(fits), name="model"))


def _again(smaller: Any, larger: Any, failed: bool) -> float:
    """Return what a fit that failed reaches from a smaller one's estimates."""
    if not failed:
        return -np.inf
    start = embedded(larger.model.core, smaller.model.core, smaller._fit.internal)
    return _comparable(larger, refit(larger.model, start, larger.reml))


def _comparable(res: Any, fitted: Fit | None = None) -> float:
    """Return the maximum, by REML freed of how the columns of the mean are scaled and coded."""
    value = maximum(res._fit if fitted is None else fitted)
    if not res.reml:
        return value
    X = res.model.core.X[:, res.model.estimable[: res.model.core.k_mean]]
    s = 1 / np.sqrt(np.einsum("ij,ij->j", X, X))
    log_det = np.linalg.slogdet(gram(X, None, X) * s * s[:, None])[1] - 2 * np.log(s).sum()
    return value + 0.5 * float(log_det)


def _check_nested(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError, with the reason, where a likelihood ratio has no meaning."""
    a, b = smaller.model.core, larger.model.core
    if type(smaller.model) is not type(larger.model) or a.family.name != b.family.name:
        raise NotNestedError(
            f"the fits are of different families ({a.family.name}, {b.family.name}); compare their AIC"
        )
    if smaller.reml != larger.reml:
        raise NotNestedError(
            "one fit is by REML and the other by maximum likelihood; fit both by the same"
        )
    if a.n != b.n or not np.array_equal(a.y, b.y):
        raise NotNestedError(
            f"the fits are on different rows ({a.n} and {b.n}), perhaps because of missing values; fit "
            "both to the same rows"
        )
    for name in ("trials", "weights", "freq", "offset", "offset_dispersion"):
        first, second = (getattr(core, name) for core in (a, b))
        if (first is None) != (second is None) or not np.array_equal(
            0 if first is None else first, 0 if second is None else second
        ):
            raise NotNestedError(f"the fits differ in their {name}")
    links = [(type(c.link), type(c.link_dispersion)) for c in (a, b)]
    if links[0] != links[1] or a.family.variance_formula != b.family.variance_formula:
        raise NotNestedError(
            "the fits differ in their links or variance functions; compare their AIC"
        )
    if smaller.reml and not (contains(a.X, b.X) and contains(b.X, a.X)):
        raise NotNestedError(
            "the fits by REML have different means, and the criterion depends on the mean's design: a "
            "ratio compares dispersions only; to compare means, fit both by maximum likelihood"
        )
    if smaller.df_resid == larger.df_resid:
        raise NotNestedError("the fits have the same number of coefficients; compare their AIC")
    for part, X0, X1 in (("mean", a.X, b.X), ("dispersion", a.Z, b.Z)):
        if not contains(X1, X0):
            raise NotNestedError(f"the {part} of the smaller fit is not part of the larger one's")
