"""The negative binomial location-scale model."""

from __future__ import annotations

from typing import ClassVar

from statsmodels.genmod.families import links

from hetglm.families import negbin
from hetglm.models.own_family import OwnFamily


class NegativeBinomial(OwnFamily):
    """
    Negative binomial model (NB2) with linear predictors for the mean and the log dispersion.

    Counts with Var(y) = mu + alpha mu^2: Poisson counts whose mean varies by a Gamma law of shape
    1/alpha. alpha = 0 is the Poisson. glmmTMB's ``nbinom2`` has phi = 1/alpha; gamlss's ``NBI`` and
    Stata's ``gnbreg`` have log(alpha), as here.

    Parameters
    ----------
    endog : array_like, shape (n,)
        Counts.
    exog : array_like, shape (n, p)
        Design of the mean; no constant is added.
    exog_dispersion : array_like, shape (n, q), optional
        Design of log alpha; a constant by default.
    link : statsmodels link
        Link of mu, the logarithm by default.
    link_dispersion : statsmodels link
        Link of alpha, the logarithm by default.
    offset : array_like, shape (n,), optional
        Added to the mean's linear predictor.
    exposure : array_like, shape (n,), optional
        Its logarithm is added to the mean's linear predictor; log link only.
    offset_dispersion : array_like, shape (n,), optional
        Added to the dispersion's linear predictor.
    n_trials, var_weights : None
        Not taken: a count has no trials, and its variance nothing to divide.
    freq_weights : array_like, shape (n,), optional
        Number of times each row was observed.
    missing : {"none", "drop", "raise"}
    hasconst : bool, optional
        Whether exog has a constant; found out by default.
    **unknown
        Any other name is a TypeError, which says what other packages' names are called here.

    References
    ----------
    Lawless, J. F. (1987). Negative binomial and mixed Poisson regression. Canadian Journal of
    Statistics 15, 209-225.

    Examples
    --------
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> splicing = het.datasets.load_splicing()
    >>> res = hmf.negativebinomial("N ~ id | group", splicing).fit()
    >>> print(res.params_dispersion.round(4).to_string())
    Intercept    -3.3185
    group[T.b]   -0.2087
    """

    _row_arrays: ClassVar[tuple[str, ...]] = (
        "offset",
        "exposure",
        "offset_dispersion",
        "freq_weights",
    )
    refused: ClassVar[dict[str, str]] = {
        "n_trials": "counts out of n trials are for BetaBinomial; for time or area use exposure",
        "var_weights": "use exposure for time or area, freq_weights for repeated rows",
    }

    _law, _default_link = negbin.NegativeBinomial, links.Log
