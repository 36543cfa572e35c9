"""Results of a fit with random effects: each method documents and hands over."""

from __future__ import annotations

from functools import cached_property, partial, wraps
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from hetglm.estimation.covariance import Covariance
from hetglm.estimation.random_effects import NOT_YET, check
from hetglm.estimation.record import need_rows
from hetglm.inference.profile import Profile
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD
from hetglm.mixed import clusters, profile, robust, t_tests, tables
from hetglm.mixed.conditional import Uncertainty, at_modes
from hetglm.mixed.covariance_structure import CovarianceStructure, structure_of
from hetglm.mixed.influence import GroupInfluence
from hetglm.mixed.record import MixedFit
from hetglm.mixed.variance_partition import VariancePartition, conditional_df
from hetglm.models.results import LocationScaleResults
from hetglm.models.results_mixed_diagnostics import MixedDiagnosticMethods
from hetglm.models.results_mixed_prediction import MixedPredictionMethods
from hetglm.typing import Array
from hetglm.utils import checks


def _wald(res: MixedResults, columns: list[int], alpha: float) -> Array:
    return tables.intervals(res.params, res.bse, res.structure, alpha)[columns]


#: What the summary says of intervals.
ON_INTERVALS = "Intervals of sds are symmetric on the log scale, of correlations on Fisher's z."


def _observed(model: Any, fit: MixedFit, given: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    """Return the inverse observed information, with what the summary says of it."""
    if given:
        raise ValueError("cov_kwds: cov_type='nonrobust' takes none; write cov_type='cluster'")
    text = "Standard errors: observed information of the marginal log-likelihood."
    if fit.criterion != LIKELIHOOD:
        text = (
            "Standard errors: observed information of the restricted likelihood; those of coefficients "
            "that it integrates out are given the other estimates, as lmer's are."
        )
    return fit.covariance, {"description": f"{text} {ON_INTERVALS}"}


def _by_cluster(model: Any, fit: MixedFit, given: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    """Return the cluster-robust covariance with its groups."""
    robust.check(fit, given)
    kwds = model.row_kwds(clusters.with_groups(model.random, given))
    correct = checks.flag(kwds.setdefault("use_correction", True), "cov_kwds: use_correction")
    found = robust.cluster_covariance(model.core, model.random, fit, kwds["groups"], correct)
    text = "Standard errors: robust to clusters, whose scores are those of whole groups."
    return found, {**kwds, "description": f"{text} {ON_INTERVALS}"}


#: Covariances of a fit with random effects, by ``cov_type``.
COVARIANCES = {"nonrobust": _observed, "cluster": _by_cluster}


class MixedResults(MixedDiagnosticMethods, MixedPredictionMethods, LocationScaleResults):
    """
    Results of a fit with random effects.

    What `LocationScaleResults` has for the rows of the fit (``fittedvalues``, residuals) is
    conditional on the random effects, at their modes; `predict` can also average over them.

    Attributes
    ----------
    params, bse, tvalues, pvalues : ndarray, shape (p + q + m,)
        Coefficients of the mean and of the dispersion, then standard deviations and correlations of the
        random effects, ``sd(group)`` and ``corr(group: Intercept, x)``. A standard deviation has no test
        against 0 here (NaN): 0 is at the boundary. One estimated as 0 has no standard error.
    llf : float
        Marginal log-likelihood, random effects integrated out.
    llf_reml : float
        Maximum of the restricted likelihood after ``fit(reml=...)``, NaN otherwise.
    aic, bic : float
        With the covariance parameters among the k parameters; NaN after REML.
    df_resid : float
        nobs - k.
    fit : MixedFit
        Record of the maximum, with the modes of the random effects.
    core : Likelihood
        Likelihood of the rows given the random effects, which the offsets take up.
    structure : CovarianceStructure
        Names and blocks of the covariance parameters.
    group_sizes : dict
        Numbers of rows of the groups, by grouping variable.

    Examples
    --------
    Seeds of Crowder (1978), of which a plate is a row, with a random effect of the plate in the logit:

    >>> import statsmodels.api as sm
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> seeds = het.datasets.load_germination().reset_index(names="plate")
    >>> formula = "y + I(n - y) ~ variety * root + (1 | plate) | 0"
    >>> res = hmf.doubleglm(formula, seeds, family=sm.families.Binomial()).fit(nodes=1)
    >>> print(res.variance_components[["sd", "se"]].round(3))
                  sd    se
    sd(plate)  0.235  0.11
    """

    fit: MixedFit
    #: Functions that compute the intervals of parameters, by method.
    interval_methods: ClassVar[dict[str, Any]] = {
        **LocationScaleResults.interval_methods,
        "wald": _wald,
        "profile": profile.intervals,
    }

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        self.structure: CovarianceStructure = structure_of(model.random)
        self.group_sizes = {factor.name: np.bincount(factor.codes) for factor in model.random}
        super().__init__(model, *args, **kwargs)

    def _covariance(
        self, model: Any, fit: Any, cov_type: str, cov_kwds: Any, use_t: bool | None
    ) -> Covariance:
        matrix, kwds = COVARIANCES[cov_type](model, fit, cov_kwds or {})
        inside = np.outer(fit.interior, fit.interior)
        matrix, k = np.where(inside, matrix, np.nan), len(fit.internal)
        return Covariance(matrix, np.nan_to_num(matrix[:k, :k]), cov_type, kwds)

    @property
    def core(self) -> Likelihood:
        """Likelihood of the rows given the random effects, which the offsets of both parts take up."""
        core: Likelihood = self.model.core
        return at_modes(core, self.model.random, self.fit) if core.n else core

    # -- numbers ------------------------------------------------------------------------------

    @cached_property
    def tvalues(self) -> Array:
        """Estimates over standard errors; NaN for standard deviations, whose 0 is at the boundary."""
        sds = tables.is_sd(self.structure, len(self.params))
        return np.where(sds, np.nan, np.asarray(self.params) / np.asarray(self.bse))

    @cached_property
    def llnull(self) -> float:
        """NaN: a fit with random effects has no null model of its own."""
        self.df_resid_null = np.nan
        return np.nan

    @property
    def fe_params(self) -> pd.Series:
        """Fixed effects: the coefficients of both parts, by name."""
        names = self.model.coefficient_names
        return pd.Series(np.asarray(self.params)[: len(names)], index=names)

    @property
    def bse_fe(self) -> pd.Series:
        """Standard errors of the fixed effects, by name."""
        names = self.model.coefficient_names
        return pd.Series(np.asarray(self.bse)[: len(names)], index=names)

    @property
    def n_groups(self) -> dict[str, int]:
        """Number of groups of each grouping variable."""
        return {name: len(sizes) for name, sizes in self.group_sizes.items()}

    @property
    def laplace_error(self) -> float:
        """Log-likelihood at the estimates less Laplace's approximation; NaN where that is not known."""
        return np.nan if self.fit.laplace_error is None else self.fit.laplace_error

    # -- random effects -----------------------------------------------------------------------

    @property
    def cov_re(self) -> Any:
        """Covariance matrix of the effects of a group: a DataFrame, or a dict by grouping variable."""
        matrices = self.structure.covariances(self.fit.theta)
        pairs = zip(self.model.random, matrices, strict=True)
        return tables.only({f.name: pd.DataFrame(C, f.labels, f.labels) for f, C in pairs})

    @property
    def random_effects(self) -> dict[Any, Any]:
        """Modes of the random effects, level -> Series; by grouping variable where there are several."""
        modes = [effects.modes for effects in self.fit.effects]
        return tables.by_level(self.model.random, modes, pd.Series)

    @property
    def random_effects_cov(self) -> dict[Any, Any]:
        """Covariances of the random effects given data and estimates, level -> DataFrame."""
        given = [effects.covariance for effects in self.fit.effects]
        return tables.by_level(self.model.random, given, pd.DataFrame)

    @cached_property
    def _covariances_of_effects(self) -> list[Array]:
        """Covariances of the effects of each factor with the uncertainty of the estimates."""
        return Uncertainty(self.model.core, self.model.random, self.fit).covariances

    def profile(self, name: str, values: Any = None, alpha: float = 0.001) -> Profile:
        """
        Return the profile log-likelihood of a parameter, maximised over all others.

        Parameters
        ----------
        name : str
            Coefficient, standard deviation or correlation, such as ``"sd(Subject)"``.
        values : array_like, optional
            Values of the parameter; by default 21 across the profile interval.
        alpha : float
            One minus the coverage of the profile interval.

        Returns
        -------
        Profile

        Raises
        ------
        ValueError
            After REML, and for a parameter at the boundary.
        """
        return profile.profile(self, name, values, alpha)

    def t_test(
        self,
        r_matrix: Any,
        cov_p: Any = None,
        use_t: bool | None = None,
        df_method: str | None = None,
    ) -> Any:
        """
        Test each linear hypothesis about the parameters.

        Parameters
        ----------
        r_matrix : array_like, str or tuple
            As in statsmodels.
        cov_p : array_like, optional
        use_t : bool, optional
        df_method : {"satterthwaite"}, optional
            t tests of the mean's coefficients with Satterthwaite's degrees of freedom, of any family;
            z tests by default.

        Returns
        -------
        ContrastResults

        Raises
        ------
        ValueError
            For an unknown name, or degrees of freedom of another parameter than the mean's.
        """
        if df_method is None:
            return super().t_test(r_matrix, cov_p, use_t)
        return t_tests.t_test(self, r_matrix, df_method)

    def get_influence(  # type: ignore[override]
        self, groups: Any = None, observed: bool = True
    ) -> GroupInfluence:
        """
        Return the influence of groups, each left out as a whole.

        Parameters
        ----------
        groups : array_like, shape (n,), or str, optional
            Labels or name of a column; the outermost groups of the random effects by default.
        observed : bool
            The information is the observed one, whatever is given.

        Returns
        -------
        GroupInfluence
            With ``d_params``, ``dfbetas``, ``cooks_distance``, ``summary_frame()``, and ``exact()``,
            which refits without each group.

        Raises
        ------
        ValueError
            If groups share a random effect.
        """
        given = {} if groups is None else self.model.row_kwds({"groups": groups})
        return GroupInfluence(self, given.get("groups"))

    def ranef(self) -> pd.DataFrame:
        """
        Return the random effects with their standard deviations.

        Returns
        -------
        DataFrame
            A row for each column of each level, with ``part``, ``factor``, ``level``, ``column``,
            ``mode`` (conditional mode: given the data and the estimates), ``sd``, which includes the
            uncertainty of the estimates, and ``sd_given_estimates``, which does not (lme4's condVar)
            and is too small where the fixed effects of the groups' level are uncertain.
        """
        return tables.ranef(self.fit, self.model.random, self._covariances_of_effects)

    @property
    def variance_components(self) -> pd.DataFrame:
        """
        Standard deviations of the random effects.

        A row for each, with ``part``, ``factor``, ``column``, ``sd``, ``se``, the limits of the 95 %
        interval (symmetric on the log scale; `conf_int` has other levels) and ``at_boundary``: a
        standard deviation of 0, or the effect of a singular matrix, has no standard error.
        """
        return tables.variance_components(self.fit, self.bse, self.structure, 0.05)

    # -- variance partition -------------------------------------------------------------------

    def _partition(self) -> VariancePartition:
        need_rows(self.model.core)
        return VariancePartition(self.model.core, self.model.random, self.fit)

    def icc(self) -> pd.Series:
        r"""
        Return intraclass correlations (repeatabilities) on the scale of the mean's linear predictor.

        Returns
        -------
        Series
            Of each grouping variable, and in total (``"all"``): the correlation of two responses of
            a group, the fixed effects given.

        Notes
        -----
        .. math:: \mathrm{ICC}_l = \sigma^2_l / (\sum_k \sigma^2_k + \sigma^2_\varepsilon)

        with :math:`\sigma^2_l` the average over the rows of the variance :math:`a_i' \Sigma_l a_i` by
        the mean's random effects of a grouping variable (Johnson 2014), and
        :math:`\sigma^2_\varepsilon` the variance of the response given its mean:

        - proportions with logit, probit and complementary log-log link: :math:`\pi^2/3`, 1 and
          :math:`\pi^2/6`, of the latent variable of a single trial; for the beta-binomial two trials of
          different rows are compared
        - log link: :math:`\log(1 + V(\lambda, \phi)/\lambda^2)`, the log-normal approximation
        - other links: :math:`V(\lambda, \phi) / (d\mu/d\eta)^2`, the delta method; for the Gaussian with
          identity link the residual variance

        where :math:`\lambda` and :math:`\phi` are averages over the rows and over the random effects of
        the mean and of the dispersion. It is the correlation for the average row: with a modelled
        dispersion that of a row is larger where its dispersion is smaller.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). The coefficient of determination R2
        and intra-class correlation coefficient from generalized linear mixed-effects models revisited
        and expanded. Journal of the Royal Society Interface 14, 20170213.
        Johnson, P. C. D. (2014). Extension of Nakagawa & Schielzeth's R2_GLMM to random slopes models.
        Methods in Ecology and Evolution 5, 944-946.
        """
        parts = self._partition()
        shares = parts.random / (parts.random.sum() + parts.residual)
        names = [factor.name for factor in self.model.random]
        return pd.Series([*shares, shares.sum()], index=[*names, "all"], name="icc")

    def r2_nakagawa(self) -> pd.Series:
        r"""
        Return the marginal and the conditional R2 of the mean.

        Returns
        -------
        Series
            ``marginal``: share of the variance explained by the fixed effects; ``conditional``: by
            fixed and random effects.

        Notes
        -----
        .. math:: R^2_m = \sigma^2_f / \sigma^2, \quad
                  R^2_c = (\sigma^2_f + \sum_l \sigma^2_l) / \sigma^2, \quad
                  \sigma^2 = \sigma^2_f + \sum_l \sigma^2_l + \sigma^2_\varepsilon

        with :math:`\sigma^2_f` the variance over the rows of the fixed part of the mean's linear
        predictor, without offset, and the other parts as in `icc`.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017), as in `icc`.
        """
        parts = self._partition()
        explained = np.array([parts.fixed, parts.fixed + parts.random.sum()])
        return pd.Series(explained / parts.total, index=["marginal", "conditional"], name="R2")

    @cached_property
    def conditional_df(self) -> float:
        """
        Effective degrees of freedom given the random effects.

        tr(W V), W the observed information of the rows in their linear predictors at the modes and V
        their covariance with the uncertainty of all estimates, those of the variances of the random
        effects included (Wood, Pya and Säfken 2016); given these it is for a linear mixed model the
        trace of the hat matrix, plus that of the dispersion (Vaida and Blanchard 2005). Without random
        effects the number of coefficients.
        """
        need_rows(self.model.core)
        return conditional_df(self.model.core, self.model.random, self.fit)

    @property
    def caic(self) -> float:
        """
        Conditional Akaike information criterion: for predictions of new rows of the same groups.

        -2 log f(y | b^) + 2 `conditional_df`. ``aic`` is for predictions of new groups.

        References
        ----------
        Vaida, F. and Blanchard, S. (2005). Conditional Akaike information for mixed-effects models.
        Biometrika 92, 351-370. Greven, S. and Kneib, T. (2010). On the behaviour of marginal and
        conditional AIC in linear mixed models. Biometrika 97, 773-789. Wood, S. N., Pya, N. and
        Säfken, B. (2016). Smoothing parameter and model selection for general smooth models. JASA 111,
        1548-1563.
        """
        return -2 * self.core.loglike(self.fit.internal) + 2 * self.conditional_df

    def remove_data(self) -> None:
        """Remove all arrays of the length of the data; the random effects and their tables stay."""
        assert self._covariances_of_effects
        super().remove_data()
        self.model.random = tuple(factor.without_rows() for factor in self.model.random)


def _refusing(name: str) -> Any:
    """Return the method of results that says what to use instead."""

    @wraps(getattr(LocationScaleResults, name))
    def method(self: MixedResults, *args: Any, **kwargs: Any) -> None:
        check(self.model, name)

    return method


for _name in filter(partial(hasattr, LocationScaleResults), NOT_YET):
    setattr(MixedResults, _name, _refusing(_name))
