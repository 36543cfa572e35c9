"""Methods of models on their log-likelihood, as statsmodels calls them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from statsmodels.base.model import GenericLikelihoodModel

from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation import checks as fit_checks
from hetglm.estimation import refit, start
from hetglm.estimation.record import Fitted
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import Criterion
from hetglm.mixed import checks
from hetglm.mixed.clusters import cluster_codes, cluster_scores
from hetglm.mixed.fit import fit_mixed
from hetglm.mixed.record import MixedFit, Start, reml_of
from hetglm.mixed.refit import MixedFitted, embedded_start
from hetglm.mixed.reported import ReportedLikelihood
from hetglm.models import random_effects
from hetglm.typing import Array


class LikelihoodMethods(GenericLikelihoodModel):
    """The log-likelihood of a model in its parameters, with derivatives."""

    core: Likelihood
    random: tuple[GroupingFactor, ...]
    #: Fit whose nodes the marginal log-likelihood has; None for those of ``nodes="auto"``.
    integrated_as: MixedFit | None = None
    estimable: Array

    def fitted(self, fit: Any) -> Fitted:
        """
        Return the record of a fit with the data, for refits.

        Parameters
        ----------
        fit : Fit or MixedFit

        Returns
        -------
        Fitted or MixedFitted
        """
        if self.random:
            names = self.parameter_names
            return MixedFitted(self.core, fit, names, self.estimable, self.random)
        return Fitted(self.core, fit, self.parameter_names, self.estimable)

    @property
    def parameter_names(self) -> list[str]:
        """Names of all parameters."""
        raise NotImplementedError

    @property
    def coefficient_names(self) -> list[str]:
        """Names of the coefficients of both parts."""
        raise NotImplementedError

    def fit_of_random_effects(
        self, start: Start | None, criterion: Criterion, nodes: int | str
    ) -> MixedFit:
        """
        Return the record of the maximum of a criterion with random effects.

        Parameters
        ----------
        start : Start or None
            Where the search begins, by default at the fit without random effects.
        criterion : Criterion
        nodes : int or "auto"
            As in `fit`.

        Returns
        -------
        MixedFit
        """
        names, reml = self.coefficient_names, reml_of(criterion)
        return fit_mixed(self.core, self.random, names, reml, nodes, start)

    def notes_on(self, fit: Any) -> list[str]:
        """
        Return the notes on a fit, and warn of each.

        Parameters
        ----------
        fit : Fit or MixedFit

        Returns
        -------
        list of str
        """
        if self.random:
            return checks.diagnose(fit, self.random, self.parameter_names)
        return fit_checks.diagnose(self.core, fit, self.estimable, self.parameter_names)

    def clusters(self, groups: Array | None = None) -> Array:
        """
        Return the outermost groups of the random effects, or given ones, of each row.

        Parameters
        ----------
        groups : ndarray of int, shape (n,), optional

        Returns
        -------
        ndarray of int, shape (n,)
        """
        return cluster_codes(self.random, groups)

    def embedded(self, smaller: Any, fit: Any) -> Any:
        """
        Return where the search begins at the fit of a submodel.

        Parameters
        ----------
        smaller : LocationScaleModel
        fit : Fit or MixedFit
            Of the submodel.

        Returns
        -------
        ndarray, shape (p + q,), or Start
        """
        if self.random:
            own = MixedFitted(self.core, fit, self.parameter_names, self.estimable, self.random)
            return embedded_start(own, smaller.fitted(fit), fit)
        return refit.embedded(self.core, smaller.core, fit.internal)

    @property
    def marginal(self) -> Likelihood | ReportedLikelihood:
        """Log-likelihood of the parameters: ``core``, with random effects integrated out of it."""
        if not self.random:
            return self.core
        return ReportedLikelihood(self.core, self.random, self.integrated_as)

    def by_rows(self, name: str) -> Likelihood:
        """
        Return the log-likelihood as a sum over rows.

        Parameters
        ----------
        name : str
            Of the method that needs it.

        Returns
        -------
        Likelihood

        Raises
        ------
        NotImplementedError
            With random effects, of which the rows of a group share theirs.
        """
        if self.random:
            raise NotImplementedError(
                f"{name}: with random effects the log-likelihood is no sum over rows; loglike and "
                "score are its value and gradient, and core of the results is the one of the rows "
                "given the random effects"
            )
        return self.core

    def loglikeobs(self, params: Any) -> Array:
        """
        Return the log-likelihood of each row.

        Parameters
        ----------
        params : array_like, shape (p + q,)
            Coefficients of the mean, then of the dispersion.

        Returns
        -------
        ndarray, shape (n,)

        Raises
        ------
        NotImplementedError
            With random effects, as every method on rows.
        """
        return self.by_rows("loglikeobs").loglike_rows(params)

    def loglike(self, params: Any) -> float:
        """
        Return the log-likelihood; -inf where it is not defined.

        Parameters
        ----------
        params : array_like, shape (p + q,)
            With random effects, which are integrated out as by ``fit(nodes="auto")``, also their
            standard deviations and correlations.

        Returns
        -------
        float
        """
        return self.marginal.loglike(params)

    def score(self, params: Any) -> Array:
        """
        Return the gradient of the log-likelihood.

        Parameters
        ----------
        params : array_like, shape (p + q,)

        Returns
        -------
        ndarray, shape (p + q,)
        """
        return self.marginal.score(params)

    def score_obs(self, params: Any) -> Array:
        """
        Return the gradient of each row, with random effects of each of the outermost groups.

        Parameters
        ----------
        params : array_like, shape (p + q,)

        Returns
        -------
        ndarray, shape (n, p + q)
            With random effects a row for each group, in the order of its levels.

        Raises
        ------
        ValueError
            If the grouping variables are crossed, so that no rows are independent of the others.
        """
        if self.random:
            codes = cluster_codes(self.random)
            return cluster_scores(self.core, self.random, None, np.asarray(params, float), codes)
        return self.by_rows("score_obs").score_obs(params)

    def hessian(self, params: Any, observed: bool = True) -> Array:
        """
        Return the Hessian of the log-likelihood.

        Parameters
        ----------
        params : array_like, shape (p + q,)
        observed : bool
            False for its expectation.

        Returns
        -------
        ndarray, shape (p + q, p + q)
        """
        if not observed:
            return self.by_rows("hessian(observed=False)").expected_hessian(params)
        return self.marginal.observed_hessian(params)

    def information(self, params: Any) -> Array:
        """
        Return the expected information.

        Parameters
        ----------
        params : array_like, shape (p + q,)

        Returns
        -------
        ndarray, shape (p + q, p + q)
        """
        return -self.by_rows("information").expected_hessian(params)

    def score_factor(self, params: Any, endog: Any = None) -> tuple[Array, Array]:
        """
        Return the derivatives of each row in the two linear predictors.

        Parameters
        ----------
        params : array_like, shape (p + q,)
        endog : array_like, optional
            Another response, in the form of the family.

        Returns
        -------
        tuple of two ndarrays, shape (n,)
        """
        core = self.by_rows("score_factor")
        core = core if endog is None else core.with_response(np.asarray(endog))
        factors = core.factors(params, 1)
        assert factors.eta is not None and factors.zeta is not None
        return factors.eta, factors.zeta

    def score_hessian_factor(
        self, params: Any, return_hessian: bool = False, observed: bool = True
    ) -> Any:
        """
        Return first and second derivatives of each row in the two linear predictors.

        Parameters
        ----------
        params : array_like, shape (p + q,)
        return_hessian : bool
            Whether to return the second derivatives too.
        observed : bool
            False for their expectation.

        Returns
        -------
        tuple
            (eta, zeta), and (eta eta, eta zeta, zeta zeta) if asked for; each of shape (n,).
        """
        first = self.score_factor(params)
        return (first, self.hessian_factor(params, observed)) if return_hessian else first

    def hessian_factor(self, params: Any, observed: bool = True) -> tuple[Array, Array, Array]:
        """
        Return the second derivatives of each row in the two linear predictors.

        Parameters
        ----------
        params : array_like, shape (p + q,)
        observed : bool
            False for their expectation.

        Returns
        -------
        tuple of three ndarrays, shape (n,)
            eta eta, eta zeta, zeta zeta.
        """
        core = self.by_rows("score_hessian_factor")
        if not observed:
            return core.expected_factors(params)
        factors = core.factors(params, 2)
        second = factors.eta_eta, factors.eta_zeta, factors.zeta_zeta
        return cast("tuple[Array, Array, Array]", second)

    def _get_exogs(self) -> tuple[Array, Array]:
        return self.core.X, self.core.Z

    def _deriv_mean_dparams(self, params: Array) -> Array:
        """Return the derivative of each mean with respect to the coefficients, shape (n, p + q)."""
        slope = self.by_rows("_deriv_mean_dparams").predictors(params).mean.d1
        return np.column_stack([self.core.X * slope[:, None], np.zeros_like(self.core.Z)])

    def _deriv_score_obs_dendog(self, params: Array) -> Array:
        """Return the derivative of each row's score with respect to its response, shape (n, p + q)."""
        return self.by_rows("_deriv_score_obs_dendog").score_by_response(params)

    @property
    def start_params(self) -> Array:
        """Starting values of all parameters, from the response alone."""
        if self.random:
            return random_effects.start_params(self)
        return next(start.starting_values(self.core, self.estimable))
