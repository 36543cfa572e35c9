"""The model class: statsmodels' likelihood model with a second linear predictor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from statsmodels.base.data import handle_data
from statsmodels.genmod.families import links

from hetglm.design import arrays as arrays_module
from hetglm.design import formula as formula_module
from hetglm.design import keywords
from hetglm.design.arrays import (
    check_distinct,
    column_names,
    response_name,
    row_array,
    total_offset,
)
from hetglm.design.formula import TwoPartFormula, environment, with_terms
from hetglm.design.random_terms import ModelTerm, given_terms
from hetglm.design.random_terms import with_terms as kept_terms
from hetglm.design.rows import FittedRows, ModelArrays, read_arrays
from hetglm.design.terms import Term, term_list
from hetglm.estimation import checks, fit, record, start
from hetglm.families.base import Family
from hetglm.likelihood import estimability
from hetglm.likelihood.adjusted_profile import REML
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import check_link, link_text
from hetglm.likelihood.objective import LIKELIHOOD
from hetglm.mixed.covariance_structure import structure_of
from hetglm.models import random_effects
from hetglm.models.likelihood_methods import LikelihoodMethods
from hetglm.models.results import LocationScaleResults, LocationScaleResultsWrapper
from hetglm.models.results_mixed import MixedResults
from hetglm.prediction import new_rows, quantities
from hetglm.typing import Array
from hetglm.utils.checks import flag, numeric
from hetglm.utils.display import Printed
from hetglm.utils.messages import RowNames, listed, naming, require

#: Row arrays of a constructor, in addition to the designs; in a formula call each may be a column name.
ROW_ARRAYS = (
    "offset",
    "exposure",
    "offset_dispersion",
    "n_trials",
    "var_weights",
    "freq_weights",
)
#: Attributes of a model with one entry for each row, in addition to statsmodels' own.
OWN_DATA = ("frame", "exog_dispersion", "data.orig_endog", "data.orig_exog", "kept", *ROW_ARRAYS)


class LocationScaleModel(Printed, LikelihoodMethods):
    """
    Model with a linear predictor for the mean and one for the log dispersion.

    Not used directly: see `DoubleGLM`, `BetaBinomial` and `NegativeBinomial`. Subclasses name the
    family and the links and say which row arrays they take.

    Attributes
    ----------
    core : Likelihood
        Likelihood of the rows to be fitted, with response, designs and weights.
    spec : TwoPartFormula or None
        Both formulas with the designs they make; None for arrays.
    frame : DataFrame or None
        Data of a formula, on the rows to be fitted.
    mean_names, dispersion_names : list of str
        Names of the columns of both designs, those of the dispersion without their prefix.
    estimable : ndarray of bool, shape (p + q,)
        Which columns are not linear combinations of earlier ones of their part.
    random : tuple of GroupingFactor
        Grouping variables of the random terms with their columns; empty without them.
    own_random_terms : tuple of ModelTerm
        Its random terms as they are written.
    default_exog_dispersion : bool
        Whether no design of the dispersion was given, so that it is constant.
    n_passed : int
        Number of rows passed, including those left out.
    kept : ndarray of int, shape (n,)
        Positions of the rows to be fitted among those that were passed.
    """

    data: Any
    #: Number of rows left out because of missing values.
    n_missing: int
    #: Number of rows left out because of no trials or zero frequency.
    n_weightless: int
    _data_attr: list[str]
    _formula_max_endog = 2
    _row_arrays: ClassVar[tuple[str, ...]] = ROW_ARRAYS
    #: Whether it can be fitted by REML.
    _has_reml: ClassVar[bool] = False
    #: Whether the response is 0 or 1, so that a new row has one trial.
    single_trials: bool = False
    #: Row arguments that a subclass does not take -> what to use instead.
    refused: ClassVar[dict[str, str]] = {}
    #: Names of the rows passed to the constructor, where they are not all rows of the data.
    _passed_names: RowNames | None = None

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_dispersion: Any = None,
        *,
        family: Family,
        link: Any,
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
    ) -> None:
        if isinstance(endog, str):
            raise ValueError(
                f"endog={endog!r}: for a formula write {type(self).__name__}.from_formula(formula, data)"
            )
        given = dict(
            zip(
                ROW_ARRAYS,
                (offset, exposure, offset_dispersion, n_trials, var_weights, freq_weights),
                strict=True,
            )
        )
        for name, instead in self.refused.items():
            if given[name] is not None:
                raise ValueError(f"{name}: {type(self).__name__} does not take it; {instead}")
        if missing not in ("none", "drop", "raise"):
            raise ValueError(f"missing={missing!r}: choose 'none', 'drop' or 'raise'")
        self._distribution_family = family
        self.link = check_link(link, "link")
        self.link_dispersion = check_link(
            links.Log() if link_dispersion is None else link_dispersion, "link_dispersion"
        )
        self.default_exog_dispersion = exog_dispersion is None
        self.spec: TwoPartFormula | None = None
        self.frame: pd.DataFrame | None = None
        terms = given_terms(random)
        read = read_arrays(endog, exog, exog_dispersion, given, missing, self._passed_names, terms)
        self.kept, self.n_passed = read.kept, read.n_passed
        self.n_missing, self.n_weightless = read.n_missing, read.n_weightless
        self._build(endog, exog, exog_dispersion, read, hasconst)

    # -- construction -------------------------------------------------------------------------

    def _build(
        self,
        endog: Any,
        exog: Any,
        exog_dispersion: Any,
        read: ModelArrays,
        hasconst: bool | None,
    ) -> None:
        """Hand the arrays to the likelihood and to statsmodels' data layer."""
        family, arrays, endog_name = self._distribution_family, read.arrays, response_name(endog)
        with naming(read.names):
            for name in ("var_weights", "exposure"):
                if arrays[name] is not None:
                    require(arrays[name] <= 0, name, "must be positive")
            if arrays["freq_weights"] is not None:
                what = "must not be negative (0 leaves a row out)"
                require(arrays["freq_weights"] < 0, "freq_weights", what)
            y, trials = self._response(arrays, endog_name)
            family.validate(y, trials, endog_name)
        if arrays["exposure"] is not None:
            self.check_exposure()
        self.core = Likelihood(
            family,
            self.link,
            self.link_dispersion,
            y,
            arrays["exog"],
            arrays["exog_dispersion"],
            total_offset(arrays["offset"], arrays["exposure"]),
            arrays["offset_dispersion"],
            trials,
            self.phi_weights(trials, arrays["var_weights"]),
            arrays["freq_weights"],
            names=read.names,
        )
        checks.check_dispersion(self.core)
        for name in ROW_ARRAYS:
            setattr(self, name, arrays[name])
        self.n_trials = trials if arrays["endog"].ndim == 2 else arrays["n_trials"]
        self.exog_dispersion = arrays["exog_dispersion"]
        self.random = random_effects.factors(read.random, self.core)
        self.own_random_terms = tuple(
            ModelTerm(term.part, term.text, term.name, len(term.columns)) for term in read.random
        )
        names = column_names(exog, self.core.X)
        check_distinct(names, "exog")
        if exog_dispersion is not None:
            scale_names = column_names(exog_dispersion, self.core.Z)
            check_distinct(scale_names, "exog_dispersion")
        else:
            scale_names = ["Intercept" if "Intercept" in names else "const"]
        response = self._observed()
        labelled = isinstance(endog, (pd.Series, pd.DataFrame))
        if labelled or isinstance(exog, pd.DataFrame):
            index = (endog if labelled else exog).index[self.kept]
            response = pd.Series(response, index=index, name=endog_name)
            design: Any = pd.DataFrame(self.core.X, index=index, columns=names)
        else:
            design = self.core.X
        super().__init__(response, design, missing="none", hasconst=hasconst)
        self._finish(names, scale_names)

    def _finish(self, names: list[str], scale_names: list[str]) -> None:
        """Set names, ranks and degrees of freedom."""
        self.endog = np.asarray(self.data.endog, dtype=float)
        self.exog = self.core.X
        self.mean_names, self.dispersion_names = list(names), list(scale_names)
        self.data.xnames[:] = names
        self.data.param_names = self.parameter_names
        self._set_extra_params_names(self.parameter_names[len(names) :])
        self.exog_names[:] = self.parameter_names
        self.estimable = self.core.estimable()
        self.row_spaces = estimability.row_spaces(self.core, self.estimable)
        self._n_rows = self.core.n
        k = int(self.estimable.sum()) + structure_of(self.random).m
        rank_mean = int(self.estimable[: self.core.k_mean].sum())
        freq = self.core.freq
        self.nobs = float(self.core.n if freq is None else freq.sum())
        self.k_extra = k - rank_mean
        self.df_model = float(rank_mean - self.k_constant)
        self.df_resid = self.nobs - k
        self._init_keys = [*self._design_keys(), *self._row_arrays]
        of_host = [name for name in self._data_attr if name not in OWN_DATA]
        self._data_attr = [*of_host, *OWN_DATA]
        self._null_drop_keys = ["exog_dispersion"]
        self.results_class = MixedResults if self.random else LocationScaleResults
        self.results_class_wrapper = LocationScaleResultsWrapper

    def formula_text(self) -> str:
        """
        Return both formulas, or the columns of both designs, with the random terms.

        Returns
        -------
        str
        """
        if self.spec is not None:
            mean, dispersion = self.spec.formula, self.spec.dispersion_formula.removeprefix("~ ")
        else:
            mean, dispersion = (
                listed(names) or "0" for names in (self.mean_names, self.dispersion_names)
            )
            mean = f"{self.endog_names} ~ {mean}"
        return random_effects.formula_text(mean, dispersion, self.random_terms)

    def _headline(self) -> str:
        rows = f"{self.nobs:.10g} row{'s' * (self.nobs != 1)}"
        return f"{self.formula_text()}, {self.core.family.name}, {rows}"

    def _body(self) -> list[str | pd.DataFrame]:
        family, core = self.core.family, self.core
        parts = (
            ("Mean", link_text(core.link, "mu"), self.mean_names),
            ("Dispersion", link_text(core.link_dispersion, family.symbol), self.dispersion_names),
        )
        lines: list[str | pd.DataFrame] = [
            f"{part}: {of} ~ {listed(names) or '0'}" for part, of, names in parts
        ]
        lines += map(str, self.random)
        unfitted = f"{type(self).__name__}, not fitted: fit() returns the estimates"
        return [*lines, f"Variance: {family.variance_formula}", unfitted]

    def _design_keys(self) -> list[str]:
        return ["exog_dispersion", "link_dispersion"]

    def initialize(self) -> None:
        """Do nothing: ranks and degrees of freedom of both parts are set by the constructor."""

    def _response(self, arrays: dict[str, Any], name: str) -> tuple[Array, Array | None]:
        """Return the response and the trials as the family reads them."""
        if arrays["endog"].ndim == 2:
            instead = f"for their sum write I({name})" if " + " in name else "give one column"
            raise ValueError(
                f"{name}: two columns, but {self.family_name} takes one response; {instead}"
            )
        if arrays["n_trials"] is not None:
            raise ValueError(
                f"n_trials: {self.family_name} has no trials; they are for proportions"
            )
        return arrays["endog"], None

    def phi_weights(self, trials: Array | None, var_weights: Array | None) -> Array | None:
        """
        Return the weights that divide phi in each row, None if there are none.

        Parameters
        ----------
        trials, var_weights : ndarray, shape (n,), or None

        Returns
        -------
        ndarray, shape (n,), or None
        """
        return var_weights

    def check_exposure(self) -> None:
        """Raise a ValueError if an exposure has no place in the mean's predictor."""
        if not isinstance(self.link, links.Log):
            raise ValueError("exposure: needs a log link; use offset, on the scale of the link")

    def _observed(self) -> Array:
        """Return the response on the scale of the mean."""
        if not self.core.family.counts_successes:
            return self.core.y
        assert self.core.trials is not None
        return self.core.y / self.core.trials

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        exog_dispersion_formula: str | None = None,
        subset: Any = None,
        drop_cols: Any = None,
        *,
        missing: str = "drop",
        eval_env: Any = 0,
        **kwargs: Any,
    ) -> LocationScaleModel:
        """
        Create a model from a formula and a data frame.

        Parameters
        ----------
        formula : str
            ``"y ~ x"`` for the mean, or both parts as ``"y ~ x | z"``: only a bar outside brackets
            and quotes splits. For binomial responses ``"K + I(N - K) ~ ..."`` gives successes and
            failures. Either part may have random terms as lme4 writes them, in brackets:
            ``(1 | g)``, ``(x | g)``, ``(0 + x | g)``, ``(x || g)`` without correlations (also
            between the columns of a factor x), ``(1 | a:b)``, ``(1 | a/b)`` for ``(1 | a) +
            (1 | a:b)``; terms of one grouping variable with a label, ``(1 |p| g)``, are
            correlated with each other, across both parts too. The left side is a formula.
        data : DataFrame or mapping
        exog_dispersion_formula : str, optional
            Formula of the dispersion, ``"~ z"``; a constant if neither it nor a bar is given. ``"~ 0"``
            (``"y ~ x | 0"``) has no columns: the dispersion is known, link(phi) = offset_dispersion.
        subset : array_like, optional
            Rows to use, as in ``data.loc[subset]``.
        drop_cols : list of str, optional
            Columns to leave out of the mean's design.
        missing : {"drop", "raise", "none"}
            A row that misses a value in any variable of either part, or in any row array, is
            dropped from all of them; "raise" and "none" raise instead.
        eval_env : int, dict or patsy EvalEnvironment
            Where names that are no columns are looked up: 0 is the caller, -1 nowhere, a dict has
            the names itself.
        **kwargs
            Arguments of the constructor; ``n_trials``, ``offset``, ``offset_dispersion``,
            ``exposure``, ``var_weights`` and ``freq_weights`` may be names of columns, and so may
            the groups of ``random=[RandomTerm(groups), ...]``, which are added to the formula's
            random terms.

        Returns
        -------
        LocationScaleModel

        Raises
        ------
        FormulaError
            If the formula cannot be read or evaluated, or names an unknown column.
        """
        if missing not in ("none", "drop", "raise"):
            raise ValueError(f"missing={missing!r}: choose 'none', 'drop' or 'raise'")
        keywords.check_no_design(cls, kwargs)
        arrays = {name: kwargs.pop(name) for name in ROW_ARRAYS if name in kwargs}
        read = formula_module.read(
            formula,
            exog_dispersion_formula,
            data,
            environment(eval_env),
            arrays,
            subset,
            missing,
            drop_cols,
            kwargs.pop("random", None),
        )
        kwargs |= read.arrays
        if read.random:
            kwargs["random"] = read.random
        model = cls.__new__(cls)
        model._passed_names = RowNames(read.kept, read.index)
        cls.__init__(model, read.endog, read.exog, read.exog_dispersion, **kwargs)
        del model._passed_names
        model.n_missing += read.n_missing
        model.default_exog_dispersion = False
        model.formula = formula
        model.spec, model.frame = read.spec, read.frame.iloc[model.kept]
        model.kept, model.n_passed = read.kept[model.kept], read.n_passed
        return model

    def clone(
        self,
        rows: Any = None,
        exog: Any = None,
        exog_dispersion: Any = None,
        endog: Any = None,
        freq_weights: Any = "own",
        random: Sequence[ModelTerm] | None = None,
    ) -> LocationScaleModel:
        """
        Return the model on other rows, designs or responses; the one way to rebuild one.

        Parameters
        ----------
        rows : array_like, optional
            Positions (repeats allowed) or mask; every row array is sliced.
        exog, exog_dispersion : array_like, optional
            Designs that replace the model's own, on its rows; a DataFrame brings names.
        endog : array_like, shape (n,), optional
            Response in the form of the family (successes for the beta-binomial).
        freq_weights : array_like or None, optional
            Frequencies that replace the model's own, one for each of the rows; None counts every
            row once.
        random : sequence of ModelTerm, optional
            Which of the model's random terms stay; all by default.

        Returns
        -------
        LocationScaleModel
            Of the same class, without the formula when a design was replaced.
        """
        new = copy.copy(self)
        core = self.core
        if endog is not None:
            core = core.with_response(numeric(endog, "endog"))
        names, scale_names = self.mean_names, self.dispersion_names
        if exog is not None:
            core = core.with_designs(X=arrays_module.design(exog, core.n, "exog", empty=True))
            names = column_names(exog, core.X)
        if exog_dispersion is not None:
            core = core.with_designs(
                Z=arrays_module.design(
                    exog_dispersion, core.n, "exog_dispersion", empty=core.dispersion_is_known
                )
            )
            checks.check_dispersion(core)
            scale_names = column_names(exog_dispersion, core.Z)
            new.default_exog_dispersion = False
        if exog is not None or exog_dispersion is not None:
            new.spec = None
            new.__dict__.pop("formula", None)
        index = slice(None) if rows is None else np.asarray(rows)
        new.core = core if rows is None else core.take(index)
        for name in ROW_ARRAYS:
            value = getattr(self, name)
            setattr(new, name, None if value is None else value[index])
        if random is not None:
            new.random = kept_terms(self.random, self.own_random_terms, random)
            new.own_random_terms = tuple(random)
        if rows is not None:
            new.random = tuple(factor.take(index) for factor in new.random)
        if not (isinstance(freq_weights, str) and freq_weights == "own"):
            new.freq_weights = row_array(freq_weights, new.core.n, "freq_weights")
            new.core = replace(new.core, freq=new.freq_weights)
        new.exog_dispersion = new.core.Z
        new.frame = None if self.frame is None else self.frame.iloc[index]
        if rows is not None:
            new.kept, new.n_passed = np.arange(new.core.n), new.core.n
            new.n_missing = new.n_weightless = 0
        hasconst = None if new.core.k_mean else False
        new.data = handle_data(new._observed(), new.core.X, "none", hasconst)
        new.data.ynames = self.data.ynames
        new.k_constant = new.data.k_constant
        new._finish(names, scale_names)
        return new

    def with_terms(
        self, mean: Sequence[str], dispersion: Sequence[str], eval_env: Any = -1
    ) -> LocationScaleModel:
        """
        Return the model of the same rows with other terms in both parts.

        Parameters
        ----------
        mean, dispersion : sequence of str
            Names of terms, without the prefix of the dispersion; without a formula, of columns of
            the part.
        eval_env : int, dict or patsy EvalEnvironment
            Where names are looked up that neither the data nor the formula of this model know.

        Returns
        -------
        LocationScaleModel
            With its formula, if this model has one.

        Raises
        ------
        ValueError
            If a term names an unknown variable, or one with missing values in these rows.
        """
        parts = dict(zip(self.column_names, (mean, dispersion), strict=True))
        if self.spec is None:
            designs = {"exog": self.core.X, "exog_dispersion": self.core.Z}
            own = {n: pd.DataFrame(A, columns=self.column_names[n]) for n, A in designs.items()}
            return self.clone(**{n: own[n][list(terms)] for n, terms in parts.items()})._labelled(
                self
            )
        made = with_terms(self.spec, self.frame, mean, dispersion, environment(eval_env))
        new = self.clone(exog=made.exog, exog_dispersion=made.exog_dispersion)
        new.spec = made.spec
        new.formula = new.formula_text()
        return new._labelled(self)

    def with_random(self, terms: Sequence[ModelTerm]) -> LocationScaleModel:
        """
        Return the model of the same rows with some of its random terms.

        Parameters
        ----------
        terms : sequence of ModelTerm

        Returns
        -------
        LocationScaleModel
        """
        new = self.clone(random=terms)
        if new.spec is not None:
            new.formula = new.formula_text()
        return new._labelled(self)

    def _labelled(self, other: LocationScaleModel) -> LocationScaleModel:
        """Return this model with the row labels of another one on the same rows."""
        index = other.data.row_labels
        if index is not None:
            names = list(self.mean_names), list(self.dispersion_names)
            response = pd.Series(self._observed(), index=index, name=other.data.ynames)
            design = pd.DataFrame(self.core.X, index=index, columns=names[0])
            self.data = handle_data(response, design, "none", None if self.core.k_mean else False)
            self.k_constant = self.data.k_constant
            self._finish(*names)
        return self

    @property
    def random_terms(self) -> tuple[tuple[str, str], ...]:
        """Part and text of each random term."""
        return tuple((term.part, term.text) for term in self.own_random_terms)

    @property
    def rows_text(self) -> str:
        """Text on the rows left out, empty if there are none."""
        left_out = {"with missing values": self.n_missing, "without weight": self.n_weightless}
        texts = [f"{n} {what}" for what, n in left_out.items() if n]
        total = self._n_rows + self.n_missing + self.n_weightless
        return f"{self._n_rows} of {total} rows; {', '.join(texts)} left out" if texts else ""

    # -- names --------------------------------------------------------------------------------

    @property
    def family_name(self) -> str:
        """Name of the family."""
        return self._distribution_family.name

    @property
    def coefficient_names(self) -> list[str]:
        """Names of all coefficients; those of the dispersion begin with ``dispersion-``."""
        return self.mean_names + [f"dispersion-{name}" for name in self.dispersion_names]

    @property
    def parameter_names(self) -> list[str]:
        """Names of the coefficients, then of sds and correlations of the random effects."""
        return self.coefficient_names + structure_of(self.random).names

    @property
    def column_names(self) -> dict[str, list[str]]:
        """Names of the columns of both designs."""
        return {"exog": self.mean_names, "exog_dispersion": self.dispersion_names}

    @property
    def term_list(self) -> list[Term]:
        """Terms of the mean, followed by the terms of the dispersion, with their factors."""
        formulas = None if self.spec is None else (self.spec.mean, self.spec.dispersion)
        names = (self.mean_names, self.dispersion_names)
        return term_list(names, (self.core.X, self.core.Z), formulas)

    @property
    def terms(self) -> dict[str, list[int]]:
        """Positions of each term's coefficients; a column each where there is no formula."""
        return {term.name: list(term.columns) for term in self.term_list}

    def new_row_arrays(self, data: pd.DataFrame, parts: tuple[str, ...]) -> dict[str, Array]:
        """
        Return the row arrays that were column names at the fit, read from new data.

        Parameters
        ----------
        data : DataFrame
        parts : tuple of str
            Parts of the model a prediction reads; see `quantities.Quantity`.

        Returns
        -------
        dict
            ``n_trials`` too where the new data have the formula's left-hand side.
        """
        assert self.spec is not None
        return new_rows.arrays_from(self.spec, self.core.family, data, parts)

    def further_columns(
        self, mean: Any, dispersion: Any, env: Any
    ) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
        """
        Return the columns that further terms would add to either part, on the rows of the fit.

        Parameters
        ----------
        mean, dispersion : str, list of str or None
            Name of a column of the data, or of several, or a one-sided formula.
        env : patsy.EvalEnvironment
            Where names are looked up that neither the data nor the formula of this model know.

        Returns
        -------
        tuple of two DataFrames, None where nothing was asked for

        Raises
        ------
        ValueError
            Without a formula, for an unknown variable, or one with missing values in these rows.
        """
        return formula_module.further_columns(self.spec, self.frame, mean, dispersion, env)

    @property
    def _rows(self) -> FittedRows:
        """The rows to be fitted among those that were passed."""
        index = self.data.row_labels if self.frame is None else self.frame.index
        core = self.core
        return FittedRows(core.names, self.kept, core.n, self.n_passed, index, self.frame)

    def rows_of_fit(self, value: Any, name: str = "exog_extra") -> Any:
        """
        Return what was passed for the rows of the fit, or for all of the data, on the rows of the fit.

        Parameters
        ----------
        value : array_like
        name : str
            Of the argument.

        Returns
        -------
        array_like
            Of the kind that was passed.

        Raises
        ------
        ValueError
            If it is of another length, or a Series or DataFrame with another index.
        """
        return self._rows.take(value, name)

    def row_kwds(self, cov_kwds: dict[str, Any]) -> dict[str, Any]:
        """
        Translate arguments of a robust covariance to the rows of the fit.

        Parameters
        ----------
        cov_kwds : dict
            ``groups`` and ``time`` may be the name of a column (or a list of two for groups), or
            arrays on the rows of the fit or of the data passed in.

        Returns
        -------
        dict
            With integer codes of shape (n,) or (n, 2).

        Raises
        ------
        ValueError
            For an unknown column, a wrong length, another index, a missing value or a single group.
        """
        return self._rows.cov_kwds(cov_kwds)

    def check_aligned(self, value: Any, name: str) -> None:
        """
        Raise a ValueError if a Series or DataFrame has another index than the rows of the fit.

        Parameters
        ----------
        value : array_like
            On the rows of the fit or of the data passed in; what has no index is taken as it is.
        name : str
            Of the argument.
        """
        self._rows.check_aligned(value, name)

    # -- fit and predict ------------------------------------------------------------------------

    def fit(
        self,
        start_params: Any = None,
        method: str = record.DEFAULT_METHOD,
        *,
        reml: bool | str = False,
        nodes: int | str = "auto",
        cov_type: str = "nonrobust",
        cov_kwds: dict[str, Any] | None = None,
        use_t: bool | None = None,
        maxiter: int | None = None,
        tol: float = record.TOL,
        disp: bool = False,
        warn_convergence: bool = True,
        **kwargs: Any,
    ) -> Any:
        """
        Fit both parts jointly, by maximum likelihood or by REML.

        Parameters
        ----------
        start_params : array_like, shape (p + q,), optional
            Starting values of all parameters; none are needed.
        method : str
            ``"newton-scoring"``, the default, needs no tuning ("newton" is the same); or the name of
            a statsmodels optimiser ("bfgs", "lbfgs", "nm", "powell", "cg", "ncg", "minimize", ...).
        reml : bool
            `DoubleGLM` only: whether to maximise the adjusted profile likelihood of the dispersion,
            l(beta(gamma), gamma) - log det(X'WX)/2 with W the working weights of the mean, which
            makes up for the degrees of freedom that the mean takes; restricted maximum likelihood
            for the Gaussian. With random effects, of any model: True or "mean" integrates the
            coefficients of the mean out too (lmer's REML), "both" those of the dispersion as well.
        nodes : int or "auto"
            With random effects: how they are integrated out. 1 is Laplace's approximation (as in
            glmmTMB, and glmer with nAGQ=1), k Gauss-Hermite quadrature with k nodes an effect, for one
            grouping variable by maximum likelihood. "auto" takes 15 nodes for effects in the
            dispersion, and in the mean of nearly binary responses, where there are at most two of
            either, else Laplace's approximation. A Gaussian mean with identity link is integrated
            exactly.
        cov_type : str
            ``"nonrobust"`` (observed information), ``"eim"`` (expected information), or one of
            statsmodels' robust types: "HC0", "HC1", "cluster", "HAC", "hac-panel", "hac-groupsum".
            After REML, which has no robust types, ``"nonrobust"`` and ``"eim"`` are (X'WX)^-1 for the
            mean and the inverse expected REML information for the dispersion, ``"oim"`` the inverse
            observed one, with what the dispersion's uncertainty adds to the mean's. With random
            effects "nonrobust" or, by maximum likelihood, "cluster": over clusters of whole groups, by
            default those of the grouping variable with fewest levels.
        cov_kwds : dict, optional
            Arguments of the robust types; ``groups`` may be the name of a column.
        use_t : bool, optional
            Whether tests and intervals use the t distribution; False by default.
        maxiter : int, optional
            Largest number of steps: 100, or 10,000 for statsmodels' optimisers.
        tol : float
            Tolerance of the scaled gradient sqrt(g' I^-1 g).
        disp : bool
            Whether to print how the optimisation ended.
        warn_convergence : bool
            Whether a failure to converge warns.
        **kwargs
            Options of a statsmodels optimiser.

        Returns
        -------
        LocationScaleResultsWrapper

        Raises
        ------
        UnboundedLikelihoodError
            If rows can be fitted exactly and the likelihood has no maximum.
        NotImplementedError
            For an option that a fit with random effects does not have.
        ValueError
            If an argument is out of range, or not available for the model.

        References
        ----------
        Smyth, G. K. and Verbyla, A. P. (1999). Adjusted likelihood methods for modelling dispersion
        in generalized linear models. Environmetrics 10, 695-709.
        """
        if self.random:
            options = {"method": method, "cov_type": cov_type, "tol": tol, "use_t": use_t, **kwargs}
            return random_effects.fit(
                self, reml, nodes, start_params, maxiter, disp, warn_convergence, cov_kwds, options
            )
        random_effects.refuse_options(reml, nodes)
        reml = flag(reml, "reml")
        use_t = None if use_t is None else flag(use_t, "use_t")
        disp = bool(disp) if disp is None or isinstance(disp, int) else flag(disp, "disp")
        keywords.check_method(method, record.DEFAULT_METHOD, record.OWN_METHODS)
        if reml and not self._has_reml:
            raise ValueError(
                f"reml=True: REML is for DoubleGLM; fit {type(self).__name__} by maximum likelihood"
            )
        if reml:
            checks.check_reml(self.core)
        if kwargs and method in record.OWN_METHODS:
            raise keywords.unknown(self.fit, kwargs, type(self))
        keywords.check_fit(tol, cov_kwds)
        if start_params is not None:
            start_params = start.given(start_params, len(self.parameter_names))
        checks.warn_of_aliases(self.core, self.estimable, self.parameter_names)
        fitted = fit.fit(
            self.core,
            self.parameter_names,
            self.estimable,
            start_params,
            method,
            record.steps(maxiter, method),
            tol,
            disp,
            REML if reml else LIKELIHOOD,
            **kwargs,
        )
        notes = checks.diagnose(
            self.core, fitted, self.estimable, self.parameter_names, warn_convergence
        )
        results = self.results_class(self, fitted, notes, cov_type, cov_kwds, use_t)
        return self.results_class_wrapper(results)

    def predict(
        self,
        params: Any,
        exog: Any = None,
        exog_dispersion: Any = None,
        which: str = "mean",
        **kwargs: Any,
    ) -> Array:
        """
        Predict from given coefficients.

        Parameters
        ----------
        params : array_like, shape (p + q,)
            Random effects are 0.
        exog, exog_dispersion : array_like, optional
            Designs of new rows; those of the fit by default.
        which : str
            See `LocationScaleResults.predict`.
        **kwargs
            ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights`` of the
            new rows and ``y_values``.

        Returns
        -------
        ndarray, shape (n,) or (n, len(y_values)) for ``which="prob"``
            NaN in new rows that depend on coefficients without an estimate (NaN, aliased).
        """
        y_values = kwargs.pop("y_values", None)
        rows = new_rows.rows_of(self, self.core, which, exog, exog_dispersion, **kwargs)
        coefficients = np.asarray(params, dtype=float)[: len(self.coefficient_names)]
        if (exog is not None or exog_dispersion is not None) and np.isnan(coefficients).any():
            rows = new_rows.without_inestimable(self, rows, which)
        return quantities.predict(rows, coefficients, which, y_values)
