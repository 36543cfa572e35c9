"""The double generalized linear model."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from statsmodels.genmod import families as sm_families

from hetglm.design import keywords
from hetglm.design.arrays import split_binomial
from hetglm.design.random_terms import given_terms
from hetglm.families.binomial import Binomial
from hetglm.families.of_statsmodels import of_statsmodels
from hetglm.families.quasi import QuasiBinomial
from hetglm.models.base import LocationScaleModel
from hetglm.typing import Array


class DoubleGLM(LocationScaleModel):
    """
    Double generalized linear model: a GLM for the mean and one for the dispersion.

    Var(y) = phi V(mu) / w, with the mean's predictor linked to mu and the dispersion's to phi. The
    likelihood is exact for the Gaussian, inverse Gaussian and Gamma families and the Tweedie one with
    1 < p < 2, and the extended quasi-likelihood (EQL) of Nelder and Pregibon (1987) for the Poisson,
    binomial and negative binomial ones, which have no distribution with a free dispersion, and for
    other Tweedie powers. The EQL needs expected counts that are not small against phi: a
    `SmallCountsWarning` says where they are. phi < 1 is less variance than the family's
    (underdispersion). ``fit(reml=True)`` makes up for the degrees of freedom that the mean takes from
    the dispersion.

    A dispersion part without columns (``"y ~ x | 0"``) is known: log(phi) = offset_dispersion, 0 by
    default. With phi = 1 the Poisson and binomial families are distributions, of a 0/1 response too,
    and the model is the GLM: its likelihood is exact, the estimates are those of ``sm.GLM`` and the
    standard errors too (by ``cov_type="eim"`` for a link that is not the canonical one). With
    offset_dispersion or var_weights they are EQL, with known phi.

    Parameters
    ----------
    endog : array_like, shape (n,) or (n, 2)
        Response; for the binomial family successes and failures, or proportions, or counts with
        ``n_trials``.
    exog : array_like, shape (n, p)
        Design of the mean; no constant is added.
    exog_dispersion : array_like, shape (n, q), optional
        Design of the dispersion; a constant by default. No columns (``np.empty((n, 0))``, ``X[[]]`` of a
        DataFrame) for a known dispersion.
    family : statsmodels family
        Instance of one of ``sm.families``, with its link; Gaussian by default.
    likelihood : {None, "eql", "exact"}
        ``"exact"``, the default where there is one, is the density; for ``Tweedie(var_power=p)`` with
        1 < p < 2 that of the compound Poisson-gamma distribution (Dunn and Smyth 2005). ``"eql"`` asks
        for the EQL of a Tweedie family, which moves zeros to 1/6 and is not a likelihood; the two agree
        as phi goes to 0.
    link_dispersion : statsmodels link
        Link of phi, the logarithm by default.
    offset : array_like, shape (n,), optional
        Added to the mean's linear predictor.
    exposure : array_like, shape (n,), optional
        Its logarithm is added to the mean's linear predictor; log link only.
    offset_dispersion : array_like, shape (n,), optional
        Added to the dispersion's linear predictor.
    n_trials : array_like, shape (n,), optional
        Trials of the binomial family; they divide phi.
    var_weights : array_like, shape (n,), optional
        Prior weights w, which divide phi.
    freq_weights : array_like, shape (n,), optional
        Number of times each row was observed.
    random : list of RandomTerm, optional
        Random effects; in a formula they are written as terms.
    missing : {"none", "drop", "raise"}
    hasconst : bool, optional
        Whether exog has a constant; found out by default.
    **unknown
        Any other name is a TypeError, which says what other packages' names are called here.

    References
    ----------
    Smyth, G. K. (1989). Generalized linear models with varying dispersion. JRSS B 51, 47-60.
    Dunn, P. K. and Smyth, G. K. (2005). Series evaluation of Tweedie exponential dispersion model
    densities. Statistics and Computing 15, 267-280.
    Nelder, J. A. and Pregibon, D. (1987). An extended quasi-likelihood function. Biometrika 74,
    221-232.

    Examples
    --------
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> cats = het.datasets.load_cats()
    >>> res = hmf.doubleglm("Hwt ~ Bwt | Bwt", cats).fit()
    >>> print(res.params_dispersion.round(4).to_string())
    Intercept   -1.0445
    Bwt          0.6317
    """

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_dispersion: Any = None,
        *,
        family: Any = None,
        likelihood: str | None = None,
        link_dispersion: Any = None,
        offset: Any = None,
        exposure: Any = None,
        offset_dispersion: Any = None,
        n_trials: Any = None,
        var_weights: Any = None,
        freq_weights: Any = None,
        random: Any = None,
        missing: str = "none",
        hasconst: bool | None = None,
        **unknown: Any,
    ) -> None:
        keywords.refuse(type(self), unknown)
        self.family = sm_families.Gaussian() if family is None else family
        self.likelihood = likelihood
        # phi = 1 in every row: no columns, fixed or random, no offset, no weights that would divide it
        unit = offset_dispersion is None and var_weights is None
        unit = unit and np.shape(exog_dispersion)[1:] == (0,)
        unit = unit and all(term.part == "mean" for term in given_terms(random))
        ours = of_statsmodels(self.family, likelihood, unit)
        super().__init__(
            endog,
            exog,
            exog_dispersion,
            family=ours,
            link=self.family.link,
            link_dispersion=link_dispersion,
            offset=offset,
            exposure=exposure,
            offset_dispersion=offset_dispersion,
            n_trials=n_trials,
            var_weights=var_weights,
            freq_weights=freq_weights,
            random=random,
            missing=missing,
            hasconst=hasconst,
        )

    def _design_keys(self) -> list[str]:
        return [*super()._design_keys(), "family", "likelihood"]

    def _response(self, arrays: dict[str, Any], name: str) -> tuple[Array, Array | None]:
        if isinstance(self._distribution_family, Binomial):
            y, trials = split_binomial(arrays["endog"], arrays["n_trials"], name, whole=True)
            self.single_trials = trials is None
            return y, np.ones(len(y)) if trials is None else trials
        if not isinstance(self._distribution_family, QuasiBinomial):
            return super()._response(arrays, name)
        y, trials = split_binomial(arrays["endog"], arrays["n_trials"], name, whole=False)
        if trials is None:
            # a bare proportion: its weights are its trials, as in sm.GLM
            weights = arrays["var_weights"]
            trials = np.ones(len(y)) if weights is None else weights
            self._trials_are_weights = True
        return y, trials

    _has_reml: ClassVar[bool] = True
    #: Whether the trials of a bare proportion are its var_weights.
    _trials_are_weights: bool = False

    def phi_weights(self, trials: Array | None, var_weights: Array | None) -> Array | None:
        """
        Return the trials of proportions times the var_weights, None if there are neither.

        Parameters
        ----------
        trials, var_weights : ndarray, shape (n,), or None

        Returns
        -------
        ndarray, shape (n,), or None
        """
        if (
            trials is None
            or self._trials_are_weights
            or not self._distribution_family.has_dispersion
        ):
            return var_weights
        return trials if var_weights is None else trials * var_weights
