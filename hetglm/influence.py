"""Leverage and influence of single rows on either part of the model."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.outliers_influence import _BaseInfluenceMixin

from hetglm import residuals
from hetglm._likelihood import Likelihood
from hetglm._linalg import inverse

Array = NDArray[Any]


class LocationScaleInfluence(_BaseInfluenceMixin):
    r"""
    Leverages, standardised residuals and Cook's distances of both parts.

    All of it rests on the information, the expected one or the observed: row i has the information
    :math:`A_i' W_i A_i`, with :math:`A_i` the 2 x (p + q) matrix that takes the coefficients to its two
    linear predictors and :math:`W_i` the 2 x 2 information of these, and the sample has their sum J.
    The leverages are the diagonal of :math:`W_i A_i J^{-1} A_i'`; they sum to the number of
    coefficients of each part. Where mean and dispersion are orthogonal (all but the beta-binomial)
    these are the hat matrix of the mean's GLM, :math:`W^{1/2} X (X'WX)^{-1} X' W^{1/2}`, and that of
    the dispersion's: a gamma GLM of the unit deviances with prior weights 1/2 for the Gaussian and for
    the extended quasi-likelihood.

    After REML all this is of the likelihood at the estimates of REML: the leverages on the mean are
    those of its criterion, the others are not adjusted for the mean.

    A row of frequency f counts as f equal rows, and what is returned is of one of them. Rows whose
    dispersion is held at the boundary have no leverage on it.

    Parameters
    ----------
    results : LocationScaleResults
    rows : ndarray of int, shape (m,), optional
        Look at a sample of very many rows only, and take the information of all to be that of the
        sample, scaled up; n is then m everywhere.
    observed : bool
        Whether the information is the observed one. Leverages are then no longer between 0 and 1,
        but d_params comes nearer to the refits without each row: its error is of second order in
        the change.

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
        Coefficients less those without the row, by one step of Fisher scoring (of Newton's method with
        the observed information); exact for the mean of a normal linear model of constant dispersion.
    dfbetas : ndarray, shape (n, p + q)
        d_params in standard errors.
    cooks_distance, cooks_distance_dispersion : tuple of two ndarrays, shape (n,)
        Quadratic form of the change of a part's coefficients in their inverse covariance, over their
        number; and its place in the F distribution, as p-value.

    References
    ----------
    Smyth, G. K. and Verbyla, A. P. (1999). Double generalized linear models: approximate REML and
    diagnostics. Proceedings of the 14th International Workshop on Statistical Modelling, 66-80.
    Williams, D. A. (1987). Generalized linear model diagnostics using the deviance and single case
    deletions. Applied Statistics 36, 181-191.
    """

    def __init__(self, results: Any, rows: Array | None = None, observed: bool = False) -> None:
        core: Likelihood = results._core
        if core.n == 0:
            raise ValueError("the data of the fit were removed (remove_data); fit again")
        self.results, self.endog, self.exog = results, results.model.endog, results.model.exog
        self._rows, share = rows, 1.0
        if rows is not None:
            whole, core = core, core.take(rows)
            self.endog, self.exog = self.endog[rows], self.exog[rows]
            share = _observations(core) / _observations(whole)
        self._core, self._params = replace(core, freq=None), results._fit.internal
        kept = results._fit.solved
        # one pass over the rows: of some families these are sums over many counts
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
    def _spread(self) -> tuple[Array, Array, Array]:
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
        c_mm, c_mp, c_pp = self._spread
        return (mm * c_mm + mp * c_mp, mm * c_mp + mp * c_pp), (
            mp * c_mm + pp * c_mp,
            mp * c_mp + pp * c_pp,
        )

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
        return _standardised(self.resid, self.hat_matrix_diag)

    @cached_property
    def resid_studentized_deviance(self) -> Array:
        """Deviance residuals over sqrt(1 - h), shape (n,)."""
        return _standardised(residuals.deviance(self._core, self._params), self.hat_matrix_diag)

    @cached_property
    def resid_studentized_dispersion(self) -> Array:
        """Dispersion residuals over sqrt(1 - h), shape (n,)."""
        raw = residuals.dispersion(self._core, self._params, self._expected[2])
        return _standardised(raw, self.hat_matrix_diag_dispersion)

    @cached_property
    def d_params(self) -> Array:
        """Coefficients less those without the row, by one step, shape (n, p + q)."""
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
        """Changes of the coefficients in their standard errors, shape (n, p + q)."""
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
        index = self.results.model.data.row_labels
        if self._rows is not None:
            index = self._rows if index is None else index[self._rows]
        frame = pd.DataFrame(self.dfbetas, index, [f"dfb_{name}" for name in names])
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


def _standardised(residual: Array, leverage: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return residual / np.sqrt(1 - leverage)
