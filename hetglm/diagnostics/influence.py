"""Leverage and influence of single rows on either part of the model, and their plots."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.diagnostics import residuals
from hetglm.estimation.record import need_rows
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.axes import one_axes
from hetglm.utils.checks import flag
from hetglm.utils.display import Printed
from hetglm.utils.host import InfluencePlots
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import listed

#: Short names of `plot_index`.
NAMES = {"cooks": "cooks_distance", "hat": "hat_matrix_diag", "leverage": "hat_matrix_diag"}
#: Attributes with a number for each row.
OF_ROWS = (
    *("cooks_distance", "cooks_distance_dispersion"),
    *("hat_matrix_diag", "hat_matrix_diag_dispersion"),
    *("resid", "resid_studentized", "resid_studentized_deviance", "resid_studentized_dispersion"),
)
#: Attributes with a number for each row and coefficient.
OF_COEFFICIENTS = ("dfbetas", "d_params")


class LocationScaleInfluence(Printed, InfluencePlots):
    r"""
    Leverages, standardised residuals and Cook's distances of both parts.

    All measures are based on the expected (or observed) information: row i contributes
    :math:`A_i' W_i A_i`, with :math:`A_i` the 2 x (p + q) matrix that maps the coefficients to its two
    linear predictors and :math:`W_i` the 2 x 2 information about these; the sum over rows is J. The
    leverages are the diagonal of :math:`W_i A_i J^{-1} A_i'`; they sum to the number of coefficients
    of each part. Where mean and dispersion are orthogonal (all families but the beta-binomial) they
    are the diagonals of two hat matrices: of the GLM of the mean, :math:`W^{1/2} X (X'WX)^{-1} X'
    W^{1/2}`, and of the GLM of the dispersion, which for the Gaussian and for the extended
    quasi-likelihood is a gamma GLM of the unit deviances with prior weights 1/2.

    After REML the measures refer to the likelihood, evaluated at the REML estimates: the leverages on
    the mean agree with those in the REML criterion; those on the dispersion are not adjusted for the
    estimation of the mean.

    A row of frequency f counts as f equal rows, and the measures refer to a single one of them. Rows
    whose dispersion is fixed at the boundary have no leverage on it.

    Parameters
    ----------
    results : LocationScaleResults
    rows : ndarray of int, shape (m,), optional
        Use a subsample of many rows; the information is estimated from it by scaling. All arrays
        then have m rows in place of n.
    observed : bool
        Whether to use the observed information. Leverages may then lie outside 0 to 1, but d_params
        approximates the refits without each row better: with an error of second order.

    Attributes
    ----------
    hat_matrix_diag, hat_matrix_diag_dispersion : ndarray, shape (n,)
        Leverages h on the mean and on the dispersion.
    resid : ndarray, shape (n,)
        Pearson residuals.
    resid_studentized, resid_studentized_deviance : ndarray, shape (n,)
        Pearson and deviance residuals (with the fitted phi) over sqrt(1 - h).
    resid_studentized_dispersion : ndarray, shape (n,)
        Dispersion residuals over sqrt(1 - h).
    d_params : ndarray, shape (n, p + q)
        Change of the coefficients when the row is included: estimates minus estimates without the
        row, by one step of Fisher scoring (Newton's method with the observed information). Exact for
        the mean of a normal linear model with constant dispersion.
    dfbetas : ndarray, shape (n, p + q)
        d_params divided by the standard errors.
    cooks_distance, cooks_distance_dispersion : tuple of two ndarrays, shape (n,)
        Cook's distances: quadratic form of the change of a part's coefficients in their inverse
        covariance, divided by their number; and upper tail probabilities in the F distribution.

    References
    ----------
    Smyth, G. K. and Verbyla, A. P. (1999). Double generalized linear models: approximate REML and
    diagnostics. Proceedings of the 14th International Workshop on Statistical Modelling, 66-80.
    Williams, D. A. (1987). Generalized linear model diagnostics using the deviance and single case
    deletions. Applied Statistics 36, 181-191.
    """

    def __init__(self, results: Any, rows: Array | None = None, observed: bool = False) -> None:
        core: Likelihood = results.core
        observed = flag(observed, "observed")
        need_rows(core)
        self.results, self.endog, self.exog = results, results.model.endog, results.model.exog
        self._rows, share = rows, 1.0
        if rows is not None:
            whole, core = core, core.take(rows)
            self.endog, self.exog = self.endog[rows], self.exog[rows]
            share = _observations(core) / _observations(whole)
        self._core, self._params = replace(core, freq=None), results.fit.internal
        kept = results.fit.solved
        # evaluated once: for some families these are sums over many counts
        self._expected = self._weights = self._core.expected_factors(self._params)
        if observed:
            found = self._core.factors(self._params)
            assert found.eta_eta is not None and found.eta_zeta is not None
            assert found.zeta_zeta is not None
            self._weights = found.eta_eta, found.eta_zeta, found.zeta_zeta
        freq = 1.0 if core.freq is None else core.freq
        information = -core.assemble(*(freq * w for w in self._weights))[np.ix_(kept, kept)]
        covariance = inverse(information / share)
        self._covariance = np.zeros((len(kept), len(kept)))
        self._covariance[np.ix_(kept, kept)] = np.nan if covariance is None else covariance
        self._kept = kept
        self.resid = residuals.pearson(self._core, self._params)

    @cached_property
    def _covariance_of_predictors(self) -> tuple[Array, Array, Array]:
        """Covariance of each row's two linear predictors: mean, cross and dispersion."""
        core, V, k = self._core, self._covariance, self._core.k_mean
        X, Z = core.X, core.Z
        return (
            np.einsum("ij,ij->i", X @ V[:k, :k], X),
            np.einsum("ij,ij->i", X @ V[:k, k:], Z),
            np.einsum("ij,ij->i", Z @ V[k:, k:], Z),
        )

    @cached_property
    def _leverage(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The 2 x 2 matrix W A J^-1 A' of each row."""
        mm, mp, pp = (-w for w in self._weights)
        c_mm, c_mp, c_pp = self._covariance_of_predictors
        return (mm * c_mm + mp * c_mp, mm * c_mp + mp * c_pp), (
            mp * c_mm + pp * c_mp,
            mp * c_mp + pp * c_pp,
        )

    def _headline(self) -> str:
        return f"Influence of {self._core.n} rows on {len(self._params)} coefficients of both parts"

    def _body(self) -> list[str | pd.DataFrame]:
        frame = self.summary_frame()
        return [frame[[name for name in frame.columns if not name.startswith("dfb_")]]]

    @property
    def hat_matrix_diag(self) -> Array:
        """Leverage of each row on the mean, shape (n,)."""
        return self._leverage[0][0]

    @property
    def hat_matrix_diag_dispersion(self) -> Array:
        """Leverage of each row on the dispersion, shape (n,)."""
        return self._leverage[1][1]

    @cached_property
    def resid_studentized(self) -> Array:
        """Pearson residuals over sqrt(1 - h), shape (n,)."""
        return standardised(self.resid, self.hat_matrix_diag)

    @cached_property
    def resid_studentized_deviance(self) -> Array:
        """Deviance residuals over sqrt(1 - h), shape (n,)."""
        return standardised(residuals.deviance(self._core, self._params), self.hat_matrix_diag)

    @cached_property
    def resid_studentized_dispersion(self) -> Array:
        """Dispersion residuals over sqrt(1 - h), shape (n,)."""
        raw = residuals.dispersion(self._core, self._params, self._expected[2])
        return standardised(raw, self.hat_matrix_diag_dispersion)

    @cached_property
    def d_params(self) -> Array:
        """Estimates minus estimates without the row, by one step, shape (n, p + q)."""
        core, k = self._core, self._core.k_mean
        factors = core.factors(self._params, 1)
        (h, cross), (other, g) = self._leverage
        with np.errstate(invalid="ignore", divide="ignore"):  # a row fitted by its own coefficient
            determinant = (1 - h) * (1 - g) - cross * other
            eta = ((1 - g) * factors.eta + cross * factors.zeta) / determinant
            zeta = (other * factors.eta + (1 - h) * factors.zeta) / determinant
        V = self._covariance
        change = core.X @ V[:k] * eta[:, None]
        change += core.Z @ V[k:] * zeta[:, None]
        change[:, ~self._kept] = np.nan
        return change

    @cached_property
    def dfbetas(self) -> Array:
        """d_params divided by the standard errors, shape (n, p + q)."""
        return self.d_params / np.asarray(self.results.bse)

    @cached_property
    def cooks_distance(self) -> tuple[Array, Array]:
        """Cook's distance of each row for the mean, and its p-value in F(p, df_resid)."""
        return self._cooks(slice(0, self._core.k_mean))

    @cached_property
    def cooks_distance_dispersion(self) -> tuple[Array, Array]:
        """Cook's distance of each row for the dispersion, and its p-value in F(q, df_resid)."""
        return self._cooks(slice(self._core.k_mean, None))

    def _cooks(self, part: slice) -> tuple[Array, Array]:
        kept = np.arange(len(self._kept))[part][self._kept[part]]
        change, inner = self.d_params[:, kept], inverse(self._covariance[np.ix_(kept, kept)])
        inner = np.full((len(kept), len(kept)), np.nan) if inner is None else inner
        distance = np.einsum("ij,ij->i", change @ inner, change) / max(len(kept), 1)
        return distance, stats.f.sf(distance, len(kept), self.results.df_resid)

    def plot_influence(
        self,
        external: Any = None,
        alpha: float = 0.05,
        criterion: str = "cooks",
        size: float = 48,
        plot_alpha: float = 0.75,
        ax: Any = None,
        **kwargs: Any,
    ) -> Any:
        """
        Plot standardised Pearson residuals against leverage on the mean, as statsmodels does.

        Parameters
        ----------
        external : bool, optional
            None or False; externally studentized residuals would need n refits.
        alpha : float
            Rows are labelled whose residual is outside the central 1 - alpha of the normal.
        criterion : {"cooks"}
            Measure shown by the size of the points.
        size : float
            Range of these sizes.
        plot_alpha : float
            Opacity of the points.
        ax : matplotlib Axes, optional
        **kwargs
            Passed to the labels of the rows.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ValueError
            For an option that is not supported.
        """
        if external is not None and flag(external, "external"):
            raise ValueError(
                "external=True: externally studentized residuals are not supported; leave external out"
            )
        if criterion != "cooks":
            raise ValueError(f"criterion={criterion!r}: choose 'cooks'")
        ax, alpha = one_axes(ax), checks.share(alpha, "alpha")
        return super().plot_influence(False, alpha, criterion, size, plot_alpha, ax, **kwargs)

    def plot_index(
        self,
        y_var: str = "cooks",
        threshold: float | None = None,
        title: str | None = None,
        ax: Any = None,
        idx: int | str | None = None,
        **kwds: Any,
    ) -> Any:
        """
        Plot an influence measure against the index of the rows, as statsmodels does.

        Parameters
        ----------
        y_var : str
            "cooks", "hat" or an attribute of shape (n,), such as "cooks_distance_dispersion"; "dfbetas"
            and "d_params" need ``idx``.
        threshold : float, optional
            Rows are labelled where the absolute value is larger; by default all.
        title : str, optional
        ax : matplotlib Axes, optional
        idx : int or str, optional
            Position or name of the coefficient.
        **kwds
            Passed to matplotlib's scatter.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ValueError
            For an unknown ``y_var`` or ``idx``.
        """
        values, label = self._of_rows(y_var, idx)
        cut = "all" if threshold is None else threshold
        return self._plot_index(values, label, cut, title, one_axes(ax), **kwds)

    def _of_rows(self, y_var: str, idx: int | str | None) -> tuple[Array, str]:
        """Return a measure of each row, shape (n,), and its name."""
        name = NAMES.get(y_var, y_var) if isinstance(y_var, str) else None
        if name not in (*OF_ROWS, *OF_COEFFICIENTS):
            known = ", ".join(map(repr, (*OF_ROWS, *OF_COEFFICIENTS)))
            raise ValueError(f"y_var={y_var!r}: choose one of {known}")
        values = getattr(self, name)
        if name in OF_ROWS:
            if idx is not None:
                raise ValueError(f"idx={idx!r}: {name} has one number for each row; leave it out")
            return (values[0] if isinstance(values, tuple) else values), name
        names = self.results.model.parameter_names
        column: Any = names.index(str(idx)) if idx in names else idx
        whole = isinstance(column, (int, np.integer)) and not isinstance(column, bool)
        if not whole or not 0 <= column < len(names):
            raise ValueError(
                f"idx={idx!r}: choose a coefficient, by name or position: {listed(names)}"
            )
        return values[:, column], f"{name} of {names[column]}"

    def summary_frame(self) -> pd.DataFrame:
        """
        Return the influence of each row as a table.

        Returns
        -------
        DataFrame
            Columns as in statsmodels, ``dfb_<coefficient> cooks_d standard_resid hat_diag``, and
            ``cooks_d_dispersion standard_resid_dispersion hat_diag_dispersion``.
        """
        names = self.results.model.parameter_names
        columns = [f"dfb_{name}" for name in names]
        frame = pd.DataFrame(self.dfbetas, self._core.names.known, columns)
        return frame.assign(
            cooks_d=self.cooks_distance[0],
            standard_resid=self.resid_studentized,
            hat_diag=self.hat_matrix_diag,
            cooks_d_dispersion=self.cooks_distance_dispersion[0],
            standard_resid_dispersion=self.resid_studentized_dispersion,
            hat_diag_dispersion=self.hat_matrix_diag_dispersion,
        )


def _observations(core: Likelihood) -> float:
    return float(core.n if core.freq is None else core.freq.sum())


def standardised(residual: Array, leverage: Array) -> Array:
    """Return residuals over sqrt(1 - leverage); NaN or infinite where a row is fitted exactly."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return residual / np.sqrt(1 - leverage)
