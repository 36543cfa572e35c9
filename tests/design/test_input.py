"""Bad input: every message names the argument, row or term, and says what to write instead."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose
from statsmodels.iolib.summary2 import summary_col

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import (
    AliasedColumnWarning,
    DroppedRowsWarning,
    FormulaError,
    MissingValueError,
    NotNestedError,
    SeparationWarning,
    UnboundedLikelihoodError,
)

FAMILIES = sm.families
LINKS = FAMILIES.links
LOG = LINKS.Log()
#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6
#: At eta = -30 or beyond a separated cell's share of the likelihood is below 1e-12 a row.
SEPARATED = 1e-5

D = simulated()
N_ROWS = len(D)
ONES = np.ones(N_ROWS)
K, N, X = D["K"], D["N"], D[["x"]]
ZERO_ONE = (D["x"] > 0).astype(int)
BINOMIAL = FAMILIES.Binomial()


def replaced(value, row=4, column="x"):
    """Return the data with one value replaced."""
    data = D.copy()
    data[column] = data[column].astype(float)
    data.loc[row, column] = value
    return data


def betabinomial(endog, **kwargs):
    return het.BetaBinomial(endog, ONES, **kwargs)


def gaussian(right="x | z", data=D, **kwargs):
    return hmf.doubleglm(f"gaussian ~ {right}", data, **kwargs)


RESPONSES = {
    "K > N": (
        lambda: betabinomial(K + N, n_trials=N),
        "^y: more successes than trials; see rows 0, 1",
    ),
    "K > N, quasi": (
        lambda: het.DoubleGLM(K + N, ONES, family=BINOMIAL, n_trials=N),
        "^y: more successes than trials",
    ),
    "negative": (
        lambda: betabinomial(K - 30, n_trials=N),
        "^K: .*must not be negative; see rows 0",
    ),
    "negative column": (
        lambda: hmf.betabinomial("K + I(N - K - 30) ~ x", D),
        r"K \+ I\(N - K - 30\): .*must not be negative",
    ),
    "fractions": (
        lambda: betabinomial(K + 0.5, n_trials=N),
        "^K: .*neither counts nor proportions",
    ),
    "fractional columns": (
        lambda: betabinomial(np.column_stack([K + 0.5, N - K])),
        "^y: .*whole number",
    ),
    "fractional trials": (lambda: betabinomial(K, n_trials=N + 0.5), "n_trials.*whole numbers"),
    "proportions that are no counts": (
        lambda: betabinomial(K / N * 0.99 + 0.001, n_trials=N),
        "^y: proportion x n_trials is not a whole number.*give the counts",
    ),
    "negative trials": (lambda: betabinomial(K, n_trials=-N), "^n_trials: .*not be negative"),
    "no trials": (lambda: betabinomial(K), "^K: .*n_trials=.*two columns"),
    "proportions without trials": (
        lambda: hmf.betabinomial("I(K / N) ~ x", D),
        r"^I\(K / N\): .*n_trials=.*two columns",
    ),
    "trials twice": (
        lambda: hmf.betabinomial("K + I(N - K) ~ x", D, n_trials="N"),
        "two columns.*leave n_trials out",
    ),
    "one trial": (lambda: betabinomial(ZERO_ONE, n_trials=ONES), "one trial.*unidentified"),
    "one trial, two columns": (
        lambda: betabinomial(np.column_stack([ZERO_ONE, 1 - ZERO_ONE])),
        "one trial.*unidentified",
    ),
    "one trial, quasi": (
        lambda: het.DoubleGLM(ZERO_ONE, ONES, family=BINOMIAL),
        "one trial.*unidentified",
    ),
    "counts for proportions": (
        lambda: het.DoubleGLM(K, ONES, family=BINOMIAL),
        r"^K: .*proportion must lie in \[0, 1\]",
    ),
    "Gamma": (
        lambda: hmf.doubleglm("count ~ x", D, family=FAMILIES.Gamma(LOG)),
        "^count: a Gamma response must be positive; see row",
    ),
    "inverse Gaussian": (
        lambda: hmf.doubleglm("gaussian ~ x", D, family=FAMILIES.InverseGaussian(LOG)),
        "^gaussian: an inverse Gaussian response must be positive; see row",
    ),
    "Poisson": (
        lambda: hmf.doubleglm("gaussian ~ x", D, family=FAMILIES.Poisson()),
        "^gaussian: a Poisson response must not be negative; see row",
    ),
    "all zero": (
        lambda: hmf.doubleglm("I(0 * count) ~ x", D, family=FAMILIES.Poisson()),
        "every response is 0.*no finite estimate",
    ),
    "two columns": (lambda: hmf.doubleglm("K + N ~ x", D), r"^K \+ N: two columns.*Gaussian"),
    "three columns": (lambda: hmf.betabinomial("K + N + x ~ z", D), r"^endog: shape \(120, 3\)"),
    "text": (lambda: hmf.doubleglm("group ~ x", D), "response 'group' is not numeric"),
    "truth values": (lambda: hmf.doubleglm("I(x > 0) ~ z", D), r"'I\(x > 0\)' is not numeric"),
    "text array": (lambda: het.DoubleGLM(["a", "b"], [[1], [1]]), "^endog: not numeric"),
    "trials of a Gaussian": (lambda: gaussian(n_trials="N"), "^n_trials: Gaussian has no trials"),
}


@pytest.mark.parametrize("reason", RESPONSES)
def test_bad_responses(reason):
    call, message = RESPONSES[reason]
    with pytest.raises(ValueError, match=message):
        call()


ARRAYS = {
    "infinite": (
        lambda: het.DoubleGLM(D["z"], np.where(X > 1, np.inf, X)),
        "^exog.*x1.*infinite.*rows? 3",
    ),
    "infinite response": (
        lambda: het.DoubleGLM(replaced(np.inf)["x"], ONES),
        "^endog: infinite value in row 4",
    ),
    "missing": (
        lambda: het.DoubleGLM(D["z"], ONES, replaced(np.nan)[["x"]]),
        "^exog_dispersion.*'x'.*missing value in row 4.*missing='drop'",
    ),
    "missing offset": (
        lambda: het.DoubleGLM(D["z"], ONES, offset=replaced(np.nan)["x"]),
        "^offset: missing value in row 4",
    ),
    "missing raises": (
        lambda: het.DoubleGLM(D["z"], replaced(np.nan)[["x"]], missing="raise"),
        "missing values in row 4",
    ),
    "infinite term": (lambda: gaussian("I(1 / (x * 0))"), r"I\(1 / \(x \* 0\)\).*infinite.*row"),
    "short exog": (lambda: het.DoubleGLM(D["z"], X[:5]), r"^exog: shape \(5, 1\).*120 rows"),
    "short second design": (
        lambda: het.DoubleGLM(D["z"], X, X[:5]),
        r"^exog_dispersion: shape \(5, 1\).*120 rows",
    ),
    "short offset": (lambda: het.DoubleGLM(D["z"], X, offset=[1, 2]), r"^offset: shape \(2,\)"),
    "scalar weights": (
        lambda: het.DoubleGLM(D["z"], X, var_weights=2.0),
        r"^var_weights: shape \(\), but there are 120 rows",
    ),
    "short column": (lambda: gaussian(offset=[1, 2]), r"^offset: shape \(2,\).*120 rows"),
    "three dimensions": (lambda: het.DoubleGLM(D["z"], np.ones((120, 1, 1))), "^exog: shape"),
    "no columns": (lambda: het.DoubleGLM(D["z"], np.ones((120, 0))), "^exog: no columns"),
    "no exog": (lambda: het.DoubleGLM(D["z"], None), "^exog: .*column of ones"),
    "empty": (lambda: het.DoubleGLM([], []), "data are empty"),
    "empty frame": (lambda: gaussian(data=D.head(0)), "data are empty"),
    "empty subset": (lambda: gaussian(subset=D["x"] > 99), "no rows left"),
    "all missing": (lambda: gaussian(data=D.assign(x=np.nan)), "no rows left.*misses a value"),
    "negative weights": (
        lambda: het.DoubleGLM(D["z"], X, var_weights=-ONES),
        "^var_weights: .*posit",
    ),
    "negative frequencies": (
        lambda: gaussian(freq_weights=-ONES),
        r"^freq_weights: must not be negative \(0 leaves a row out\)",
    ),
    "exposure": (lambda: gaussian(exposure="time"), "^exposure: needs a log link; use offset"),
    "negative exposure": (
        lambda: hmf.doubleglm("count ~ x", D, family=FAMILIES.Poisson(), exposure=-ONES),
        "^exposure: .*positive",
    ),
    "var_weights": (
        lambda: hmf.betabinomial("K + I(N - K) ~ x", D, var_weights="w"),
        "^var_weights: BetaBinomial does not take it; use n_trials.*freq_weights",
    ),
    "missing=": (lambda: gaussian(missing="ignore"), "missing='ignore': choose 'none'"),
    "missing= of arrays": (lambda: het.DoubleGLM(D["z"], X, missing=None), "missing=None: choose"),
}


@pytest.mark.parametrize("reason", ARRAYS)
def test_bad_arrays(reason):
    call, message = ARRAYS[reason]
    with pytest.raises(ValueError, match=message):
        call()


def test_missing_and_infinite_values_have_their_own_class():
    with pytest.raises(MissingValueError):
        het.DoubleGLM(D["z"], ONES, offset=replaced(np.nan)["x"])
    assert issubclass(MissingValueError, ValueError)


NAMES = {
    "mean": (lambda: gaussian("nope"), "nope"),
    "dispersion": (lambda: gaussian("x | nope"), "nope"),
    "n_trials": (lambda: hmf.betabinomial("K ~ x", D, n_trials="nope"), "n_trials='nope'.*column"),
    "offset": (lambda: gaussian(offset="nope"), "offset='nope' is not a column"),
    "var_weights": (lambda: gaussian(var_weights="nope"), "var_weights='nope' is not a column"),
    "groups": (
        lambda: gaussian().fit(cov_type="cluster", cov_kwds={"groups": "nope"}),
        "groups='nope' is not a column",
    ),
}


@pytest.mark.parametrize("where", NAMES)
def test_unknown_columns_are_named(where):
    call, message = NAMES[where]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian(nope=1),
        lambda: het.DoubleGLM(D["z"], X, nope=1),
        lambda: het.BetaBinomial(K, X, n_trials=N, nope=1),
        lambda: hmf.betabinomial("K ~ x", D, n_trials="N", nope=1),
        lambda: gaussian().fit(nope=1),
        lambda: gaussian().fit(method="bfgs", nope=1),
        lambda: fitted("gaussian").predict(nope=1),
        lambda: fitted("gaussian").get_prediction(nope=1),
        lambda: fitted("gaussian").bootstrap(2, nope=1),
    ],
)
def test_unknown_keywords_are_type_errors(call):
    with pytest.raises(TypeError, match="nope"):
        call()


RES = fitted("beta-binomial")

ARGUMENTS = {
    "family class": (lambda: gaussian(family=FAMILIES.Gamma), r"instance, sm.families.Gamma\(\)"),
    "family name": (
        lambda: gaussian(family="gamma"),
        r"family='gamma': pass an instance.*Gamma\(\)",
    ),
    "link class": (
        lambda: hmf.betabinomial("K + I(N - K) ~ x", D, link=LINKS.Probit),
        "^link: pass an instance.*not Probit",
    ),
    "link name": (
        lambda: hmf.betabinomial("K + I(N - K) ~ x", D, link="probit"),
        "^link: pass an instance.*'probit'",
    ),
    "dispersion link": (lambda: gaussian(link_dispersion=LINKS.Log), "^link_dispersion: .*not Log"),
    "cov_type": (
        lambda: gaussian().fit(cov_type="nope"),
        "cov_type='nope'.*choose one of.*cluster",
    ),
    "no groups": (lambda: gaussian().fit(cov_type="cluster"), "needs 'groups'"),
    "no maxlags": (lambda: gaussian().fit(cov_type="HAC"), "needs 'maxlags'"),
    "kwds of nonrobust": (lambda: gaussian().fit(cov_kwds={"groups": "w"}), "nonrobust.*groups"),
    "few groups": (
        lambda: gaussian().fit(cov_type="cluster", cov_kwds={"groups": [1, 2]}),
        r"^groups: shape \(2,\).*120 rows",
    ),
    "missing group": (
        lambda: gaussian().fit(cov_type="cluster", cov_kwds={"groups": replaced(np.nan)["x"]}),
        "^groups: missing value in row 4",
    ),
    "start shape": (lambda: gaussian().fit([1, 2]), r"start_params: shape \(2,\).*4 coefficients"),
    "start text": (lambda: gaussian().fit(list("abcd")), "start_params: not numeric"),
    "start infinite": (lambda: gaussian().fit([np.inf, 0, 0, 0]), "start_params: .*not finite"),
    "start outside": (
        lambda: hmf.doubleglm("positive ~ x", D, family=FAMILIES.Gamma(LINKS.Identity())).fit(
            [-1, 0, 0]
        ),
        "start_params: .*not finite",
    ),
    "method": (lambda: gaussian().fit(method="nope"), "nope|method must be one of.*bfgs"),
    "maxiter": (lambda: gaussian().fit(maxiter=-1), r"maxiter=-1: must be a whole number"),
    "tol": (lambda: gaussian().fit(tol=0), r"tol=0: must be positive"),
    "rng text": (lambda: RES.simulate(rng="a"), "^rng: .*not str"),
    "rng state": (lambda: RES.simulate(rng=np.random), "^rng: .*not module"),
    "rng truth": (lambda: RES.bootstrap(2, rng=True), "^rng: .*not bool"),
    "nrep": (lambda: RES.bootstrap(0), "nrep=0: must be a whole number of at least 1"),
    "nrep fraction": (lambda: RES.bootstrap(2.5), "nrep=2.5: must be a whole number"),
    "nrep text": (lambda: RES.bootstrap("many"), "nrep='many'"),
    "nrep none": (lambda: RES.bootstrap(None), "nrep=None"),
    "nsim": (lambda: RES.simulate(-1), "nsim=-1: must be a whole number"),
    "kind": (lambda: RES.bootstrap(2, kind="nope"), "kind='nope': choose 'pairs'"),
    "no clusters": (
        lambda: RES.bootstrap(2, kind="cluster"),
        "groups: give groups with kind='cluster'",
    ),
    "clusters of pairs": (
        lambda: RES.bootstrap(2, groups="w"),
        "groups: give groups with kind='cluster'",
    ),
    "short clusters": (
        lambda: RES.bootstrap(2, kind="cluster", groups=[1, 2]),
        r"^groups: shape \(2,\)",
    ),
    "missing cluster": (
        lambda: RES.bootstrap(2, kind="cluster", groups=replaced(np.nan)["x"]),
        "^groups: missing value in row 4",
    ),
    "two clusters": (lambda: RES.bootstrap(2, kind="cluster", groups=["w", "block"]), "groups"),
    "which": (lambda: RES.predict(which="nope"), "which='nope': choose one of 'mean'"),
    "which of an interval": (lambda: RES.get_prediction(which="nope"), "which='nope': choose"),
    "icc": (lambda: fitted("gaussian").predict(which="icc"), "which='icc': Gaussian"),
    "prob": (lambda: fitted("gamma").predict(which="prob"), "which='prob': Gamma is continuous"),
    "ci_method": (lambda: RES.get_prediction(ci_method="nope"), "ci_method='nope': choose"),
    "ci method": (lambda: RES.get_prediction().conf_int(method="nope"), "'nope': choose"),
    "hypothesis": (lambda: RES.t_test("nope = 0"), "cannot read the hypothesis 'nope = 0'"),
    "restriction": (lambda: RES.wald_test([1, 0]), "r_matrix: 2 columns.*8 coefficients"),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_bad_arguments(argument):
    call, message = ARGUMENTS[argument]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, np.nan])
@pytest.mark.parametrize(
    "call",
    [
        lambda alpha: RES.conf_int(alpha),
        lambda alpha: RES.summary(alpha=alpha),
        lambda alpha: RES.summary2(alpha=alpha),
        lambda alpha: RES.get_prediction().summary_frame(alpha=alpha),
        lambda alpha: RES.get_prediction().conf_int(alpha=alpha),
    ],
)
def test_alpha_out_of_range(call, alpha):
    with pytest.raises(ValueError, match=f"alpha={alpha}: .*between 0 and 1"):
        call(alpha)


# ---- rows without information ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["binomial", "beta-binomial"])
def test_rows_without_trials_are_left_out_with_a_word(name):
    empty = D.copy()
    empty.loc[[3, 8], ["K", "N"]] = 0
    case = CASES[name]
    with pytest.warns(
        DroppedRowsWarning, match="^2 rows were dropped because n_trials is 0: index labels 3, 8$"
    ) as caught:
        model = case.formula("x | z", empty)
    assert len(caught) == 1
    res = model.fit(cov_type="cluster", cov_kwds={"groups": D["block"]})
    assert Path(caught[0].filename).name == "conftest.py"  # the caller of the formula function
    plain = case.formula("x | z", empty.drop([3, 8])).fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    )
    assert_allclose(res.params, plain.params, rtol=AT_MAXIMUM)
    assert_allclose(res.bse, plain.bse, rtol=AT_MAXIMUM)
    assert res.nobs == N_ROWS - 2
    assert res.fittedvalues.index.equals(plain.fittedvalues.index)


def test_rows_of_frequency_zero_are_left_out_with_a_word():
    weights = np.where(D.index == 5, 0, 1)
    with pytest.warns(
        DroppedRowsWarning, match="^1 row was dropped because freq_weights is 0: index label 5$"
    ):
        res = gaussian(freq_weights=weights).fit()
    assert_allclose(res.params, gaussian(data=D.drop(5)).fit().params, rtol=AT_MAXIMUM)


# ---- data without a maximum ------------------------------------------------------------------

SEPARABLE = D.assign(
    K=D["K"].where(D["group"] != "c", 0), count=D["count"].where(D["group"] != "c", 0)
)


@pytest.mark.parametrize("name", ["binomial", "beta-binomial", "poisson"])
def test_a_separated_mean_is_named_and_the_other_numbers_are_right(name):
    case = CASES[name]
    with pytest.warns(SeparationWarning, match=r"separated: .*group\[T\.c\].*no finite estimate"):
        res = case.formula("group + x | z", SEPARABLE).fit()
    # the same maximum with the cell held at its limit by an offset
    held = case.formula(
        "I(group == 'b') + x | z", SEPARABLE, offset=np.where(D["group"] == "c", -40.0, 0.0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        limit = held.fit()
    others = [0, 1, 3, 4, 5]
    se = limit.bse.to_numpy()
    assert_allclose(res.params.to_numpy()[others] / se, limit.params / se, atol=SEPARATED)
    assert_allclose(res.bse.to_numpy()[others], se, rtol=SEPARATED)
    assert_allclose(res.llf, limit.llf, rtol=1e-8)
    assert "separated" in " ".join(str(res.summary()).split())


def test_an_extreme_but_finite_mean_is_not_called_separated():
    """A slope of 8 per unit takes some rows to 1e-9 and yet has its estimate."""
    rng = np.random.default_rng(3)
    x = np.linspace(-3, 3, 200)
    p = 1 / (1 + np.exp(-8 * x))
    y = rng.binomial(30, rng.beta(4 * p, 4 * (1 - p)))
    res = het.BetaBinomial(y, sm.add_constant(x), n_trials=np.full(200, 30)).fit()
    assert abs(res.params[1] - 8) < 4 * res.bse[1]


ALONE = D.assign(
    alone=(D.index == 7).astype(int),
    more=D["count"] + 1,
    share=(D["K"] + 1) / (D["N"] + 2),
)
UNBOUNDED = {
    "gaussian": ("gaussian", FAMILIES.Gaussian()),
    "gamma": ("positive", FAMILIES.Gamma(LOG)),
    "inverse-gaussian": ("wald", FAMILIES.InverseGaussian(LOG)),
    "poisson": ("more", FAMILIES.Poisson()),
    "negative-binomial": ("more", FAMILIES.NegativeBinomial(LOG, alpha=0.5)),
    "tweedie": ("positive", FAMILIES.Tweedie(LOG, var_power=1.5)),
    "binomial": ("share", BINOMIAL),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_dispersion_cell_of_one_row_is_unbounded(name):
    response, family = UNBOUNDED[name]
    # the density of the Tweedie is bounded, as no other criterion is
    likelihood = "eql" if name == "tweedie" else None
    model = hmf.doubleglm(
        f"{response} ~ x + alone | z + alone", ALONE, family=family, likelihood=likelihood
    )
    message = r"without bound: row 7 .*along dispersion-alone;"
    with pytest.raises(UnboundedLikelihoodError, match=message):
        model.fit()


@pytest.mark.parametrize("name", ["poisson", "binomial", "negative-binomial"])
def test_a_cell_of_zeros_with_its_own_dispersion_is_unbounded(name):
    with pytest.raises(UnboundedLikelihoodError, match=r"without bound.*dispersion-group\[T\.c\]"):
        CASES[name].formula("group | group", SEPARABLE).fit()


@pytest.mark.parametrize("right", ["x | z", "x"])
def test_an_exact_fit_is_unbounded(right):
    with pytest.raises(UnboundedLikelihoodError, match="without bound"):
        hmf.doubleglm(f"I(1 + 2 * x) ~ {right}", D).fit()


def test_a_mean_for_every_row_is_unbounded():
    with pytest.raises(
        UnboundedLikelihoodError, match=r"without bound.*take terms out of the mean"
    ):
        gaussian("C(x)").fit()


def test_few_but_enough_rows_are_fitted():
    """Two rows in a dispersion cell with a common mean have a maximum."""
    two = D.assign(pair=(D.index < 2).astype(int))
    assert gaussian("x | pair", two).fit().converged


def test_an_aliased_column_is_named():
    with pytest.warns(AliasedColumnWarning, match=r"aliased.*I\(2 \* x\)"):
        res = gaussian("x + I(2 * x) | z").fit()
    assert np.isnan(res.params["I(2 * x)"])


def test_every_error_of_input_is_a_value_error():
    for cls in (FormulaError, MissingValueError, NotNestedError, UnboundedLikelihoodError):
        assert issubclass(cls, ValueError)


def test_data_that_is_no_frame():
    with pytest.raises(ValueError, match="data: cannot make a DataFrame of str"):
        gaussian(data="abc")
    with pytest.raises(ValueError, match="data"):
        gaussian(data=None)
    assert gaussian(data={name: D[name].to_numpy() for name in D}).fit().nobs == N_ROWS


@pytest.mark.parametrize("shuffled", ["exog", "exog_dispersion", "n_trials"])
def test_pandas_arguments_must_be_aligned(shuffled):
    x = sm.add_constant(D[["x"]])
    given = {"exog": x, "exog_dispersion": x, "n_trials": D["N"]}
    het.BetaBinomial(D["K"], **given)
    given[shuffled] = given[shuffled].iloc[::-1]
    with pytest.raises(
        ValueError, match=f"^{shuffled}: its index differs from that of endog.*reindex"
    ):
        het.BetaBinomial(D["K"], **given)


SHUFFLED = D.sample(frac=1, random_state=2)
DESIGN = sm.add_constant(D[["x"]])
ARRAYS_FIT = het.NegativeBinomial(D["count"], DESIGN, DESIGN).fit()
OTHER_INDEX = {
    "exposure": (
        lambda: hmf.negativebinomial("count ~ x", D, exposure=SHUFFLED["time"]),
        "exposure",
    ),
    "freq_weights": (lambda: gaussian(freq_weights=SHUFFLED["w"]), "freq_weights"),
    "offset of a subset": (
        lambda: gaussian(subset=D.index < 100, offset=SHUFFLED["shift"][:100]),
        "offset",
    ),
    "groups": (
        lambda: gaussian().fit(cov_type="cluster", cov_kwds={"groups": SHUFFLED["block"]}),
        "groups",
    ),
    "two groups": (
        lambda: gaussian().fit(
            cov_type="cluster", cov_kwds={"groups": SHUFFLED[["block", "site"]]}
        ),
        "groups",
    ),
    "groups of arrays": (
        lambda: ARRAYS_FIT.bootstrap(2, "cluster", groups=SHUFFLED["block"]),
        "groups",
    ),
    "groups before rows were left out": (
        lambda: gaussian(data=replaced(np.nan)).fit(
            cov_type="cluster", cov_kwds={"groups": SHUFFLED["block"]}
        ),
        "groups",
    ),
    "score test": (lambda: RES.score_test(SHUFFLED[["shift"]]), "exog_extra"),
    "exposure of the rows of the fit": (
        lambda: (
            hmf.negativebinomial("count ~ x", D, exposure="time")
            .fit()
            .predict(exposure=SHUFFLED["time"])
        ),
        "exposure",
    ),
    "exposure of new rows": (
        lambda: (
            hmf.negativebinomial("count ~ x", D, exposure=D["time"].to_numpy())
            .fit()
            .predict(D[:9], exposure=D["time"][8::-1])
        ),
        "exposure",
    ),
    "design of new rows": (
        lambda: ARRAYS_FIT.predict(DESIGN[:9], DESIGN[8::-1]),
        "exog_dispersion",
    ),
    "interval of new rows": (
        lambda: ARRAYS_FIT.get_prediction(DESIGN[:9], DESIGN[8::-1], "var"),
        "exog_dispersion",
    ),
}


@pytest.mark.parametrize("argument", OTHER_INDEX)
def test_rows_in_another_order_are_refused(argument):
    call, name = OTHER_INDEX[argument]
    with pytest.raises(
        ValueError, match=rf"^{name}: its index differs from that of .*to_numpy\(\)"
    ):
        call()


def test_a_variable_of_the_caller_in_another_order_is_refused():
    outside = SHUFFLED["shift"]
    with pytest.raises(ValueError, match=r"^outside: its index differs"):
        hmf.doubleglm("gaussian ~ outside", D)
    assert len(outside) == N_ROWS


def test_series_aligned_with_all_the_data_serve_a_fit_of_some_rows():
    data = replaced(np.nan).set_axis(D.index + 7)
    arrays = {"freq_weights": data["w"], "offset": data["shift"]}
    kept = data.index % 2 == 0
    res = gaussian(data=data, subset=kept, **arrays).fit(
        cov_type="cluster", cov_kwds={"groups": data["block"]}
    )
    own = data[kept].dropna()
    alone = gaussian(data=own, freq_weights="w", offset="shift").fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    )
    assert_allclose(res.bse, alone.bse, rtol=AT_MAXIMUM)
    a = res.bootstrap(3, "cluster", groups=data["block"], rng=1).params
    assert_allclose(a, res.bootstrap(3, "cluster", groups=own["block"], rng=1).params)


def test_columns_of_a_new_design_in_another_order_are_refused():
    with pytest.raises(ValueError, match=r"^exog: column 'x' is where the fit has 'const'"):
        ARRAYS_FIT.predict(DESIGN[["x", "const"]])
    with pytest.raises(ValueError, match=r"^exog_dispersion: column 'x' is where"):
        ARRAYS_FIT.predict(exog_dispersion=DESIGN[["x", "const"]], which="dispersion")
    assert_allclose(ARRAYS_FIT.predict(DESIGN), ARRAYS_FIT.predict())
    assert_allclose(ARRAYS_FIT.predict(DESIGN.to_numpy()), ARRAYS_FIT.predict())


def test_columns_of_one_name_are_refused():
    twice = pd.concat([DESIGN, D["x"] ** 2], axis=1)
    with pytest.raises(ValueError, match=r"^exog: 2 columns have the name 'x'; rename"):
        het.DoubleGLM(D["gaussian"], twice, DESIGN)
    with pytest.raises(ValueError, match=r"^exog_dispersion: 2 columns have the name 'x'"):
        het.DoubleGLM(D["gaussian"], DESIGN, twice)
    as_text = DESIGN.set_axis([1, "1"], axis=1)
    with pytest.raises(ValueError, match=r"^exog: 2 columns have the name '1'"):
        het.DoubleGLM(D["gaussian"], as_text)


@pytest.mark.parametrize("groups", [np.zeros(N_ROWS), np.column_stack([ONES, D["block"]])])
def test_a_single_group_is_refused(groups):
    given = {"cov_type": "cluster", "cov_kwds": {"groups": groups}}
    for call in (
        lambda: gaussian().fit(**given),
        lambda: RES.score_test(D[["shift"]], **given),
        lambda: RES.bootstrap(2, "cluster", groups=groups),
    ):
        with pytest.raises(ValueError, match=r"^groups: all rows are in one group"):
            call()


@pytest.mark.parametrize("name", ["gaussian", "beta-binomial"])
def test_the_summary_needs_no_data(name, tmp_path):
    full, path = fitted(name), tmp_path / "res.pickle"
    CASES[name].formula().fit().save(path, remove_data=True)
    res = sm.load(path)
    text, before = [str(r.summary()) for r in (res, full)]
    block = slice(before.index("Mean: "), before.index("Standardised residuals"))
    coefficients = before[block].rsplit("\n", 3)[0]
    assert coefficients in text
    assert full.model.endog_names.split(" + ")[0] in text
    assert "the data were removed by remove_data()" in text
    assert "Standardised" not in text
    assert "dispersion-z" in str(res.summary2())
    assert "dispersion-z" in str(summary_col([res]))


@pytest.mark.parametrize(
    "call",
    [
        lambda res: res.get_margeff(),
        lambda res: res.dispersion_ratios(),
        lambda res: res.test_overdispersion(),
        lambda res: res.test_overdispersion("model"),
        lambda res: res.score_test(D[["shift"]]),
        lambda res: res.simulate(),
        lambda res: res.predict(),
        lambda res: res.get_resid("pearson"),
        lambda res: res.get_influence(),
        lambda res: res.plot_diagnostics(),
        lambda res: het.stepwise(res),
        lambda res: het.cross_validate(res),
    ],
)
def test_what_needs_the_data_says_so(call):
    res = CASES["beta-binomial"].formula("x | z").fit()
    res.remove_data()
    with pytest.raises(
        ValueError, match=r"^the data were removed by remove_data\(\); refit the model$"
    ):
        call(res)
