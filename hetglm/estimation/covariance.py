"""Covariance of the estimates: model-based and, through statsmodels, robust."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.linalg import eigh
from statsmodels.base.covtype import get_robustcov_results

from hetglm.estimation import reml
from hetglm.estimation.record import Fit, RemlFit
from hetglm.exceptions import IndefiniteCovarianceWarning
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import warn

#: cov_type -> what the summary says of it, for the types computed here.
DESCRIPTIONS = {
    "nonrobust": "Standard errors from the observed information.",
    "eim": "Standard errors from the expected information.",
    "HC0": "Standard errors are robust to a misspecified likelihood (HC0).",
    "HC1": "Standard errors are robust to a misspecified likelihood (HC1, n/(n - k)).",
}
#: The same after REML, which has no robust ones.
REML_DESCRIPTIONS = {
    "nonrobust": "Standard errors from the expected REML information.",
    "eim": "Standard errors from the expected REML information.",
    "oim": "Standard errors from the observed REML information.",
}
#: Those that rest on the likelihood, as its ratios do.
MODEL_BASED = ("nonrobust", "eim", "oim")
#: Robust types of statsmodels with the arguments they read.
_PANEL = {"time", "maxlags", "kernel", "weights_func", "use_correction", "df_correction"} | {
    "scaling_factor"
}
ROBUST = {
    "cluster": {"groups", "use_correction", "df_correction", "scaling_factor"},
    "HAC": {"maxlags", "kernel", "weights_func", "use_correction", "scaling_factor"},
    "hac-panel": _PANEL | {"groups"},
    "hac-groupsum": _PANEL,
}
#: Eigenvalues of a robust covariance in units of a definite one, relative to the largest: what is
#: smaller is rounding (1e-13 and less of well-conditioned designs).
ROUNDING = 1e-10
INDEFINITE = (
    "The covariance of these groups or lags is not positive definite: some combinations of "
    "coefficients have a negative variance, and there is no standard error and no test of them (NaN)"
)


@dataclass(frozen=True)
class Covariance:
    """
    Covariance of all coefficients, NaN where one is not estimated.

    Attributes
    ----------
    matrix : ndarray, shape (p + q, p + q)
    internal : ndarray, shape (p + q, p + q)
        Of the coefficients that make the predictors, 0 for those that were not searched for.
    cov_type : str
    kwds : dict
        Settings of the covariance, with a description.
    df_inference : float or None
        Degrees of freedom of t tests where they are not df_resid (number of groups - 1).
    """

    matrix: Array
    internal: Array
    cov_type: str
    kwds: dict[str, Any] = field(default_factory=dict)
    df_inference: float | None = None


def covariance(
    core: Likelihood,
    fit: Fit,
    cov_type: str,
    cov_kwds: dict[str, Any],
    use_t: bool,
    df_resid: float,
) -> Covariance:
    """
    Return the covariance of the estimates.

    Parameters
    ----------
    core : Likelihood
    fit : Fit
    cov_type : str
        "nonrobust", "eim", "HC0", "HC1" or one of statsmodels' cluster and HAC types; after REML
        "nonrobust" and "eim" (expected information) or "oim" (observed).
    cov_kwds : dict
        Arguments of the latter, arrays on the rows of the fit.
    use_t : bool
    df_resid : float

    Raises
    ------
    ValueError
        For an unknown type, or one that is not defined for two linear predictors.
    """
    keep = fit.solved
    if isinstance(fit, RemlFit):
        return _after_reml(core, fit, str(cov_type), cov_kwds)
    key = next((k for k in (*DESCRIPTIONS, *ROBUST) if k.lower() == str(cov_type).lower()), None)
    if key is None:
        hint = (
            "HC2 and HC3 need one linear predictor; use HC1, " if str(cov_type)[:2] == "HC" else ""
        )
        known = ", ".join((*DESCRIPTIONS, *ROBUST))
        raise ValueError(f"cov_type={cov_type!r} is not available: {hint}choose one of {known}")
    unknown = sorted(set(cov_kwds) - ROBUST.get(key, set()))
    if unknown:
        known = ", ".join(sorted(ROBUST.get(key, set())))
        what = f"; it takes {known}" if known else "; it takes none"
        if unknown[0] == "groups":
            what = ", write cov_type='cluster'"
        raise ValueError(f"cov_kwds: cov_type={key!r} does not take {unknown[0]!r}{what}")
    if key == "eim":
        matrix = inverse(-core.expected_hessian(fit.internal)[np.ix_(keep, keep)])
    else:
        matrix = inverse(fit.information)
    kwds = {"description": DESCRIPTIONS.get(key, "")}
    df_inference = None
    if matrix is not None and key not in ("nonrobust", "eim"):
        scores = core.score_obs(fit.internal)[:, keep]
        if key in DESCRIPTIONS:
            matrix = _white(scores, matrix, core.freq, df_resid if key == "HC1" else None)
        else:
            matrix, kwds, df_inference = _by_statsmodels(
                core, scores, -fit.information, key, cov_kwds, use_t, df_resid
            )
            one_way = key == "cluster" and np.asarray(cov_kwds.get("groups")).ndim == 1
            if not one_way and _indefinite(matrix, fit.information):
                kwds["description"] = f"{kwds.get('description', '')} {INDEFINITE}.".strip()
                told = f"{INDEFINITE[0].lower()}{INDEFINITE[1:]}"
                warn(f"cov_type={key!r}: {told}", IndefiniteCovarianceWarning)
    return _of_all(fit, matrix, key, kwds, df_inference)


def _of_all(
    fit: Fit,
    matrix: Array | None,
    key: str,
    kwds: dict[str, Any],
    df_inference: float | None = None,
) -> Covariance:
    """Return the covariance of all coefficients from that of the solved ones."""
    keep = fit.solved
    internal = np.zeros((len(keep), len(keep)))
    internal[np.ix_(keep, keep)] = np.nan if matrix is None else matrix
    shown = np.outer(fit.estimated, fit.estimated)
    return Covariance(np.where(shown, internal, np.nan), internal, key, kwds, df_inference)


def _after_reml(
    core: Likelihood, fit: RemlFit, cov_type: str, cov_kwds: dict[str, Any]
) -> Covariance:
    """Return the covariance of estimates by REML, from the expected or the observed information."""
    key = cov_type.lower()
    if key not in REML_DESCRIPTIONS:
        known = ", ".join(REML_DESCRIPTIONS)
        raise ValueError(
            f"cov_type={cov_type!r} is not available after reml=True: the REML criterion is no sum "
            f"over rows, which a robust covariance needs; choose one of {known}, fit "
            "by maximum likelihood, or use bootstrap(kind='pairs') or bootstrap(kind='cluster')"
        )
    if cov_kwds:
        raise ValueError(f"cov_kwds: cov_type={key!r} does not take {min(cov_kwds)!r}")
    matrix = fit.cov_expected
    if key == "oim":
        matrix = inverse(reml.observed_information(core, fit))
    return _of_all(fit, matrix, key, {"description": REML_DESCRIPTIONS[key]})


def spectrum(cov: Array, unit: Array) -> Array | None:
    """Return the eigenvalues of a covariance in units of another one, None if that is singular."""
    if not (np.isfinite(cov).all() and np.isfinite(unit).all() and np.all(np.diag(unit) > 0)):
        return None
    s = 1 / np.sqrt(np.diag(unit))
    try:
        values = eigh(cov * s * s[:, None], unit * s * s[:, None], eigvals_only=True)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(values)


def is_definite(cov: Array, unit: Array, cov_type: str, groups: Any = None) -> bool:
    """
    Return whether a robust covariance that a test inverts is positive definite.

    Parameters
    ----------
    cov : ndarray, shape (r, r)
        Robust covariance of what is tested.
    unit : ndarray, shape (r, r)
        A definite covariance of the same, by which zero is told from rounding; where it is singular
        itself, nothing is said of the other.
    cov_type : str
    groups : ndarray, shape (n,) or (n, 2), optional

    Raises
    ------
    ValueError
        If the covariance is singular, as that of G groups is from G columns on.
    """
    what, most = f"cov_type={cov_type!r}", np.inf
    if cov_type == "cluster" and np.ndim(groups) == 1:
        most = len(np.unique(groups))
        what = f"{most} groups"
    values, r = spectrum(cov, unit), len(cov)
    least = 0.0 if values is None else ROUNDING * np.abs(values).max(initial=0.0)
    if values is not None and np.any(values < -least):
        return False
    if r >= most or (values is not None and np.any(values <= least)):
        raise ValueError(
            f"{what} cannot test {r} column{'s' * (r > 1)} jointly: their covariance is singular; test "
            "fewer, or use another cov_type"
        )
    return True


def _indefinite(matrix: Array, information: Array) -> bool:
    """Return whether a covariance has a negative variance beyond rounding."""
    unit = inverse(information)
    values = None if unit is None else spectrum(matrix, unit)
    return values is not None and bool(values.min() < -ROUNDING * np.abs(values).max())


def _white(scores: Array, bread: Array, freq: Array | None, df_resid: float | None) -> Array:
    """Return the sandwich; a row of frequency f counts as f rows."""
    weighted = scores if freq is None else scores / np.sqrt(freq)[:, None]
    n = len(scores) if freq is None else freq.sum()
    correction = 1.0 if df_resid is None else n / df_resid
    return correction * bread @ (weighted.T @ weighted) @ bread


def _by_statsmodels(
    core: Likelihood,
    scores: Array,
    hessian: Array,
    cov_type: str,
    cov_kwds: dict[str, Any],
    use_t: bool,
    df_resid: float,
) -> tuple[Array, dict[str, Any], float | None]:
    """Return statsmodels' robust covariance from our scores and Hessian."""
    if core.freq is not None and cov_type != "cluster":
        raise ValueError(f"cov_type={cov_type!r} needs single rows, not freq_weights")
    model = SimpleNamespace(score_obs=lambda params: scores, hessian=lambda params: hessian)
    stub = SimpleNamespace(model=model, params=None, use_t=use_t, df_resid=df_resid)
    try:
        get_robustcov_results(stub, cov_type=cov_type, use_self=True, use_t=use_t, **cov_kwds)
    except KeyError as exc:
        raise ValueError(f"cov_kwds: cov_type={cov_type!r} needs {exc.args[0]!r}") from exc
    except TypeError as exc:
        raise ValueError(f"cov_kwds: {exc}") from exc
    matrix, (n, k) = stub.cov_params_default, scores.shape
    if core.freq is not None and cov_kwds.get("use_correction", True):
        # the correction counts rows where freq_weights say there are more
        total = core.freq.sum()
        matrix = matrix * ((total - 1) / (total - k)) / ((n - 1) / (n - k))
    # statsmodels does not keep all it was given, and fits of submodels need it
    return matrix, cov_kwds | stub.cov_kwds, getattr(stub, "df_resid_inference", None)
