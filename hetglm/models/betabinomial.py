"""The beta-binomial location-scale model."""

from __future__ import annotations

from typing import Any, ClassVar

from statsmodels.genmod.families import links

from hetglm.design.arrays import split_binomial
from hetglm.families import betabinomial
from hetglm.models.own_family import OwnFamily
from hetglm.typing import Array


class BetaBinomial(OwnFamily):
    """
    Beta-binomial model with linear predictors for the mean and the log overdispersion.

    Successes out of n with success probability from a Beta(a, b) law: mu = a/(a + b), sigma =
    1/(a + b), Var(y) = n mu (1 - mu) [1 + (n - 1) rho] and rho = sigma/(1 + sigma) the intraclass
    correlation, so that log(sigma) = logit(rho).

    Parameters
    ----------
    endog : array_like, shape (n,) or (n, 2)
        Successes and failures; or counts of successes, or proportions, with ``n_trials``.
    exog : array_like, shape (n, p)
        Design of the mean; no constant is added.
    exog_dispersion : array_like, shape (n, q), optional
        Design of log sigma; a constant by default.
    link : statsmodels link
        Link of mu, the logit by default.
    link_dispersion : statsmodels link
        Link of sigma, the logarithm by default.
    offset : array_like, shape (n,), optional
        Added to the mean's linear predictor.
    exposure : array_like, shape (n,), optional
        Its logarithm is added to the mean's linear predictor; log link only.
    offset_dispersion : array_like, shape (n,), optional
        Added to the dispersion's linear predictor.
    n_trials : array_like, shape (n,), optional
        Trials of each row.
    var_weights : None
        Not taken: the trials are what divides the variance here.
    freq_weights : array_like, shape (n,), optional
        Number of times each row was observed.
    missing : {"none", "drop", "raise"}
    hasconst : bool, optional
        Whether exog has a constant; found out by default.
    **unknown
        Any other name is a TypeError, which says what other packages' names are called here.

    References
    ----------
    Crowder, M. J. (1978). Beta-binomial Anova for proportions. Applied Statistics 27, 34-37.

    Examples
    --------
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> seeds = het.datasets.load_germination()
    >>> res = hmf.betabinomial("y + I(n - y) ~ variety * root | root", seeds).fit()
    >>> print(f"{res.llf:.4f}")
    -53.6937
    """

    _row_arrays: ClassVar[tuple[str, ...]] = (
        "offset",
        "exposure",
        "offset_dispersion",
        "n_trials",
        "freq_weights",
    )
    refused: ClassVar[dict[str, str]] = {
        "var_weights": "use n_trials for trials or freq_weights for repeated rows"
    }

    _law, _default_link = betabinomial.BetaBinomial, links.Logit

    def _response(self, arrays: dict[str, Any], name: str) -> tuple[Array, Array | None]:
        return split_binomial(arrays["endog"], arrays["n_trials"], name, whole=True)

    def _observed(self) -> Array:
        assert self.core.trials is not None
        return self.core.y / self.core.trials
