"""Covariance of the estimates: model-based and, through statsmodels, robust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh
from statsmodels.base.covtype import get_robustcov_results

from hetglm.estimation import reml
from hetglm.estimation.record import Fit
from hetglm.exceptions import IndefiniteCovarianceWarning
from hetglm.likelihood.adjusted_profile import REML
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import warn

#: Eigenvalue of a robust covariance relative to a reference covariance, over the largest one, below
#: which it is rounding (1e-13 and less of well-conditioned designs).
TOL_EIGENVALUE = 1e-10

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
        Of the coefficients of the linear predictors, 0 for those that were not maximised over.
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


@dataclass(frozen=True)
class Estimates:
    """
    What the covariance of the solved coefficients is computed from.

    Attributes
    ----------
    core : Likelihood
    fit : Fit
    kwds : dict
        Arguments of the covariance type, arrays on the rows of the fit.
    use_t : bool
    df_resid : float
    """

    core: Likelihood
    fit: Fit
    kwds: dict[str, Any]
    use_t: bool
    df_resid: float

    @cached_property
    def bread(self) -> Array | None:
        """Inverse of the observed information, shape (k, k); None where it is singular."""
        return inverse(self.fit.information)

    @cached_property
    def scores(self) -> Array:
        """Gradient of each row's log-likelihood, shape (n, k)."""
        return self.core.score_obs(self.fit.internal)[:, self.fit.solved]


class Sandwich(NamedTuple):
    """A covariance by statsmodels: its settings, and degrees of freedom of t tests if not df_resid."""

    matrix: Array | None
    kwds: dict[str, Any]
    df_inference: float | None = None


@dataclass(frozen=True)
class CovarianceType:
    """
    A type of covariance; to add one, add it to `COVARIANCE_TYPES`.

    Attributes
    ----------
    name : str
        The ``cov_type`` of users, in any case.
    description : str
        What the summary says of it.
    matrix : callable
        Returns the covariance of the solved coefficients, None where it does not exist.
    needs, takes : tuple of str
        Arguments (``cov_kwds``) that it cannot do without, and its others.
    model_based : bool
        Whether it rests on the likelihood, as its ratios do.
    score_test : bool
        Whether score tests take it.
    of_resamples : bool
        Whether it can be made of any resample of the rows.
    criterion : Criterion
        What the fits maximise that it is for.
    """

    name: str
    description: str
    matrix: Callable[[Estimates], Array | Sandwich | None]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    model_based: bool = False
    score_test: bool = False
    of_resamples: bool = False
    criterion: Criterion = LIKELIHOOD

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of its arguments, in alphabetical order."""
        return tuple(sorted((*self.needs, *self.takes)))


def _expected(of: Estimates) -> Array | None:
    """Return the inverse of the expected information."""
    keep = of.fit.solved
    return inverse(-of.core.expected_hessian(of.fit.internal)[np.ix_(keep, keep)])


def _white(of: Estimates, correction: float = 1.0) -> Array | None:
    """Return the sandwich; a row of frequency f counts as f rows."""
    freq, bread = of.core.freq, of.bread
    if bread is None:
        return None
    weighted = of.scores if freq is None else of.scores / np.sqrt(freq)[:, None]
    return correction * bread @ (weighted.T @ weighted) @ bread


def _corrected_white(of: Estimates) -> Array | None:
    """Return the sandwich times n/(n - k)."""
    n = of.core.n if of.core.freq is None else of.core.freq.sum()
    return _white(of, n / of.df_resid)


def _cluster(of: Estimates) -> Sandwich:
    """Return the cluster-robust covariance, which by one grouping is never indefinite."""
    return by_statsmodels(of, "cluster", definite=np.asarray(of.kwds.get("groups")).ndim == 1)


def by_statsmodels(of: Estimates, cov_type: str, definite: bool = False) -> Sandwich:
    """Return statsmodels' robust covariance from our scores and Hessian."""
    if of.bread is None:
        return Sandwich(None, {"description": ""})
    if of.core.freq is not None and cov_type != "cluster":
        raise ValueError(f"cov_type={cov_type!r} needs single rows, not freq_weights")
    lags = of.kwds.get("maxlags")
    if not isinstance(lags, int | np.integer | None):
        raise ValueError(f"cov_kwds: maxlags={lags!r}: must be a whole number")
    scores, hessian = of.scores, -of.fit.information
    model = SimpleNamespace(score_obs=lambda params: scores, hessian=lambda params: hessian)
    stub = SimpleNamespace(model=model, params=None, use_t=of.use_t, df_resid=of.df_resid)
    try:
        get_robustcov_results(stub, cov_type=cov_type, use_self=True, use_t=of.use_t, **of.kwds)
    except KeyError as exc:
        kernel = of.kwds.get("kernel", of.kwds.get("weights_func"))
        if exc.args[0] is kernel:
            raise ValueError(
                f"cov_kwds: kernel={kernel!r}: choose 'bartlett' or 'uniform'"
            ) from exc
        raise ValueError(f"cov_kwds: cov_type={cov_type!r} needs {exc.args[0]!r}") from exc
    except TypeError as exc:
        raise ValueError(f"cov_kwds: {exc}") from exc
    matrix, (n, k) = stub.cov_params_default, scores.shape
    if of.core.freq is not None and of.kwds.get("use_correction", True):
        # statsmodels' correction counts rows, not their frequencies
        total = of.core.freq.sum()
        matrix = matrix * ((total - 1) / (total - k)) / ((n - 1) / (n - k))
    # statsmodels does not keep all arguments, and fits of submodels need them
    kwds = of.kwds | stub.cov_kwds
    if not definite and _indefinite(matrix, of.fit.information):
        kwds["description"] = f"{kwds.get('description', '')} {INDEFINITE}.".strip()
        text = f"{INDEFINITE[0].lower()}{INDEFINITE[1:]}"
        warn(f"cov_type={cov_type!r}: {text}", IndefiniteCovarianceWarning)
    return Sandwich(matrix, kwds, getattr(stub, "df_resid_inference", None))


def _indefinite(matrix: Array, information: Array) -> bool:
    """Return whether a covariance has a negative variance beyond rounding."""
    reference = inverse(information)
    values = None if reference is None else spectrum(matrix, reference)
    return values is not None and bool(values.min() < -TOL_EIGENVALUE * np.abs(values).max())


def _expected_reml(of: Estimates) -> Array | None:
    """Return the inverse of the expected REML information."""
    return of.fit.cov_expected


def _observed_reml(of: Estimates) -> Array | None:
    """Return the inverse of the observed REML information."""
    return inverse(reml.observed_information(of.core, of.fit))


OF_LAGS = ("kernel", "scaling_factor", "use_correction", "weights_func")

COVARIANCE_TYPES = (
    CovarianceType(
        "nonrobust",
        "Standard errors from the observed information.",
        lambda of: of.bread,
        model_based=True,
        score_test=True,
        of_resamples=True,
    ),
    CovarianceType(
        "eim",
        "Standard errors from the expected information.",
        _expected,
        model_based=True,
        score_test=True,
        of_resamples=True,
    ),
    CovarianceType(
        "HC0",
        "Standard errors are robust to a misspecified likelihood (HC0).",
        _white,
        score_test=True,
        of_resamples=True,
    ),
    CovarianceType(
        "HC1",
        "Standard errors are robust to a misspecified likelihood (HC1, n/(n - k)).",
        _corrected_white,
        of_resamples=True,
    ),
    # statsmodels describes these itself
    CovarianceType(
        "cluster",
        "",
        _cluster,
        needs=("groups",),
        takes=("df_correction", "scaling_factor", "use_correction"),
        score_test=True,
    ),
    CovarianceType(
        "HAC", "", partial(by_statsmodels, cov_type="HAC"), needs=("maxlags",), takes=OF_LAGS
    ),
    CovarianceType(
        "hac-panel",
        "",
        partial(by_statsmodels, cov_type="hac-panel"),
        needs=("maxlags",),
        takes=("df_correction", "groups", "time", *OF_LAGS),
    ),
    CovarianceType(
        "hac-groupsum",
        "",
        partial(by_statsmodels, cov_type="hac-groupsum"),
        needs=("maxlags", "time"),
        takes=("df_correction", *OF_LAGS),
    ),
    CovarianceType(
        "nonrobust",
        "Standard errors from the expected REML information.",
        _expected_reml,
        model_based=True,
        of_resamples=True,
        criterion=REML,
    ),
    CovarianceType(
        "eim",
        "Standard errors from the expected REML information.",
        _expected_reml,
        model_based=True,
        of_resamples=True,
        criterion=REML,
    ),
    CovarianceType(
        "oim",
        "Standard errors from the observed REML information.",
        _observed_reml,
        model_based=True,
        criterion=REML,
    ),
)


def covariance_types(criterion: Criterion = LIKELIHOOD) -> dict[str, CovarianceType]:
    """Return the types for fits by a criterion, by name."""
    return {kind.name: kind for kind in COVARIANCE_TYPES if kind.criterion == criterion}


def covariance_type(cov_type: str, criterion: Criterion = LIKELIHOOD) -> CovarianceType:
    """
    Return a type of covariance by its name in any case.

    Raises
    ------
    ValueError
        For an unknown type, or one that is not defined for two linear predictors or by this criterion.
    """
    kinds = covariance_types(criterion)
    for name, kind in kinds.items():
        if name.lower() == str(cov_type).lower():
            return kind
    known, what = ", ".join(kinds), f"cov_type={cov_type!r} is not available"
    if not criterion.by_rows:
        raise ValueError(
            f"{what} for a fit by {criterion.name}: its criterion is no sum over "
            f"rows, which a robust covariance needs; choose one of {known}, fit "
            "by maximum likelihood, or use bootstrap(kind='pairs') or bootstrap(kind='cluster')"
        )
    hint = ""
    if str(cov_type).upper().startswith("HC"):  # leverages are in diagnostics, a higher room
        hint = "HC2 and HC3 need the leverages of one linear predictor; use HC1; "
    raise ValueError(f"{what}: {hint}choose one of {known}")


def type_of(res: Any) -> CovarianceType:
    """Return the type of a result's covariance."""
    return covariance_type(res.cov_type, res.fit.criterion)


def refuse_other_arguments(kind: CovarianceType, cov_kwds: dict[str, Any]) -> None:
    """Raise a ValueError for an argument that a type does not take."""
    unknown = sorted(set(cov_kwds) - set(kind.arguments))
    if not unknown:
        return
    what = f"; it takes {', '.join(kind.arguments) or 'none'}"
    if unknown[0] == "groups" and kind.criterion.by_rows:
        what = "; write cov_type='cluster'"
    raise ValueError(f"cov_kwds: cov_type={kind.name!r} does not take {unknown[0]!r}{what}")


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
        Name of one of `COVARIANCE_TYPES`.
    cov_kwds : dict
        Its arguments, arrays on the rows of the fit.
    use_t : bool
    df_resid : float

    Raises
    ------
    ValueError
        As in `covariance_type`, and for an argument that is missing or that the type does not take.
    """
    kind = covariance_type(cov_type, fit.criterion)
    refuse_other_arguments(kind, cov_kwds)
    made = kind.matrix(Estimates(core, fit, cov_kwds, use_t, df_resid))
    if not isinstance(made, Sandwich):
        made = Sandwich(made, {"description": kind.description})
    keep = fit.solved
    internal = np.zeros((len(keep), len(keep)))
    internal[np.ix_(keep, keep)] = np.nan if made.matrix is None else made.matrix
    shown = np.where(np.outer(fit.estimated, fit.estimated), internal, np.nan)
    return Covariance(shown, internal, kind.name, made.kwds, made.df_inference)


def spectrum(cov: Array, reference: Array) -> Array | None:
    """Return the eigenvalues of a covariance in units of another one, None if that is singular."""
    if not (
        np.isfinite(cov).all() and np.isfinite(reference).all() and np.all(np.diag(reference) > 0)
    ):
        return None
    s = 1 / np.sqrt(np.diag(reference))
    try:
        values = eigh(cov * s * s[:, None], reference * s * s[:, None], eigvals_only=True)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(values)


def is_definite(cov: Array, reference: Array, cov_type: str, groups: Any = None) -> bool:
    """
    Return whether a robust covariance that a test inverts is positive definite.

    Parameters
    ----------
    cov : ndarray, shape (r, r)
        Robust covariance of what is tested.
    reference : ndarray, shape (r, r)
        Positive definite covariance of the same statistics, relative to which eigenvalues are rounding
        or not; where it is singular itself, only the number of groups is checked.
    cov_type : str
    groups : ndarray, shape (n,) or (n, 2), optional

    Raises
    ------
    ValueError
        If the covariance is singular, as the one of G groups is for G columns or more.
    """
    what, most = f"cov_type={cov_type!r}", np.inf
    if cov_type == "cluster" and np.ndim(groups) == 1:
        most = len(np.unique(groups))
        what = f"{most} groups"
    values, r = spectrum(cov, reference), len(cov)
    least = 0.0 if values is None else TOL_EIGENVALUE * np.abs(values).max(initial=0.0)
    if values is not None and np.any(values < -least):
        return False
    if r >= most or (values is not None and np.any(values <= least)):
        raise ValueError(
            f"{what} cannot test {r} column{'s' * (r > 1)} jointly: their covariance is singular; test "
            "fewer, or use another cov_type"
        )
    return True
