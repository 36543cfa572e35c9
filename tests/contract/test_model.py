"""The contract every model keeps: construction, likelihood, inference, prediction, reports."""

import pickle
import warnings

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated, which_of
from covariances import COVARIANCES, KINDS, OF_FREQUENCIES
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from specs import SPECS
from statsmodels.base.model import GenericLikelihoodModel, LikelihoodModelResults
from statsmodels.iolib.summary2 import summary_col
from statsmodels.tools.numdiff import approx_fprime

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation.start import starting_values
from hetglm.exceptions import (
    AliasedColumnWarning,
    BootstrapFailureWarning,
    ConvergenceWarning,
    NotNestedError,
    UntestedTermWarning,
)
from hetglm.prediction.quantities import QUANTITIES

#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6
#: The same numbers in another order of additions.
ROUNDING = 1e-9
#: Central differences: step 6e-6, so h^2 and eps/h are both about 1e-10, times third derivatives.
DIFFERENCES = 1e-6
#: statsmodels' optimisers stop at a gradient of 1e-5 n (gtol, per row), in standard deviations.
LOOSE_OPTIMISER = 1e-2
#: A Monte Carlo mean is within 4.5 standard errors but once in 1e5.
MONTE_CARLO = 4.5

#: Log ratio of two estimates of a standard error, from 120 rows, blocks of 6 or 13 sites.
ANOTHER_ESTIMATE = 0.7
CLUSTER = {"groups": "block"}
#: Covariances of two ways of grouping may be indefinite, whatever they are compared with.
MAY_BE_INDEFINITE = pytest.mark.filterwarnings(
    "ignore::hetglm.exceptions.IndefiniteCovarianceWarning"
)
#: Cases whose mean sm.GLM has, and those whose phi takes weights.
DOUBLE = [name for name, case in CASES.items() if case.cls is het.DoubleGLM]
WEIGHTED = [name for name, case in CASES.items() if "var_weights" not in case.cls.refused]


def designs(data):
    """Return the designs of "x + group | z + group" without a formula."""
    dummies = {f"group[T.{g}]": (data["group"] == g).astype(float) for g in "bc"}
    first = {"Intercept": np.ones(len(data)), **dummies}
    return (
        pd.DataFrame({**first, "x": data["x"]}, index=data.index),
        pd.DataFrame({**first, "z": data["z"]}, index=data.index),
    )


def spec_of(res):
    """Return the facts of the family of a fit."""
    return next(SPECS[name] for name in CASES if fitted(name) is res)


def assert_same_fit(a, b, scale=1.0):
    """Compare estimates in standard errors, standard errors relatively, and the maximum."""
    se, kept = np.asarray(b.bse), a.model.estimable
    assert_allclose(np.asarray(a.params)[kept] * scale / se, b.params / se, atol=AT_MAXIMUM)
    assert_allclose(np.asarray(a.bse)[kept] * scale, se, rtol=AT_MAXIMUM)
    assert_allclose(a.llf, b.llf, rtol=ROUNDING)


def quiet(model, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(**kwargs)


# ---- construction ----------------------------------------------------------------------------


def test_arrays_pandas_and_formula_agree(case, data):
    X, Z = designs(data)
    formula = case.formula().fit()
    frames = case.arrays(X, Z).fit()
    arrays = case.arrays(X.to_numpy(), Z.to_numpy()).fit()
    assert_same_fit(frames, formula)
    assert_same_fit(arrays, formula)
    assert isinstance(arrays.params, np.ndarray)
    assert frames.params.index.equals(formula.params.index)
    assert frames.fittedvalues.index.equals(data.index)


def test_labels(case, data):
    X, Z = designs(data)
    names = [*X.columns, *(f"dispersion-{name}" for name in Z.columns)]
    formula = case.formula().fit()
    for res in (formula, case.arrays(X, Z).fit()):
        assert res.params.index.tolist() == names
        assert res.bse.index.tolist() == res.cov_params().columns.tolist() == names
        assert res.params_mean.index.tolist() == X.columns.tolist()
        assert res.params_dispersion.index.tolist() == Z.columns.tolist()
        assert_array_equal([*res.params_mean, *res.params_dispersion], res.params)
    plain = case.arrays(X.to_numpy(), Z.to_numpy())
    expected = ["const", "x1", "x2", "x3"]
    assert plain.exog_names == [*expected, *(f"dispersion-{name}" for name in expected)]
    one_part = case.formula("x").fit()
    assert one_part.params.index.tolist() == ["Intercept", "x", "dispersion-Intercept"]


def test_is_a_statsmodels_likelihood_model(res):
    assert isinstance(res.model, GenericLikelihoodModel)
    assert isinstance(res._results, LikelihoodModelResults)


@pytest.mark.parametrize("family", ["gaussian", "beta-binomial"])
def test_number_of_rows_is_immaterial_to_names(family, data):
    X, _ = designs(data)
    constant = CASES[family].arrays(X.to_numpy()[:, :1]).fit()
    assert constant.model.exog_names == ["const", "dispersion-const"]


@pytest.mark.parametrize("name", DOUBLE)
def test_constant_dispersion_leaves_the_mean_of_a_glm(name, data):
    case = CASES[name]
    X, _ = designs(data)
    glm = sm.GLM(case.endog(data), X, family=case.kwargs["family"]).fit(tol=1e-12)
    res = case.arrays(X).fit()
    assert_allclose(res.params_mean / glm.bse, glm.params / glm.bse, atol=AT_MAXIMUM)
    assert_allclose(res.fittedvalues, glm.fittedvalues, rtol=AT_MAXIMUM)


def test_binomial_responses_are_read_alike(data):
    X, Z = designs(data)
    K, N = data["K"], data["N"]
    for cls, kwargs in ((het.DoubleGLM, CASES["binomial"].kwargs), (het.BetaBinomial, {})):
        pair = cls(np.column_stack([K, N - K]), X, Z, **kwargs).fit()
        for endog in (K, K / N):
            assert_same_fit(cls(endog, X, Z, n_trials=N, **kwargs).fit(), pair)
    # a bare proportion: its weights are its trials, as in sm.GLM
    bare = het.DoubleGLM(K / N, X, Z, var_weights=N, **CASES["binomial"].kwargs).fit()
    assert_same_fit(bare, fitted("binomial"))


# ---- likelihood and derivatives --------------------------------------------------------------


def test_gradient_is_zero_at_the_fit(res):
    score = res.model.score(np.asarray(res.params))
    information = -res.model.hessian(np.asarray(res.params))
    assert score @ np.linalg.solve(information, score) < AT_MAXIMUM**2
    assert_allclose(res.model.loglike(res.params), res.llf, rtol=ROUNDING)
    assert_allclose(res.model.loglikeobs(res.params).sum(), res.llf, rtol=ROUNDING)
    assert res.converged


def test_derivatives_agree_with_differences(res):
    model = res.model
    point = np.asarray(res.params) + 0.5 * np.asarray(res.bse) * np.cos(np.arange(len(res.params)))
    scale = np.sqrt(np.diag(-model.hessian(np.asarray(res.params))))
    score = model.score(point)
    assert np.abs(score / scale).max() > 0.1
    numerical = approx_fprime(point, model.loglike, centered=True)
    assert_allclose(score / scale, numerical / scale, atol=DIFFERENCES)
    assert_allclose(model.score_obs(point).sum(axis=0) / scale, score / scale, atol=ROUNDING)
    hessian = model.hessian(point)
    numerical = approx_fprime(point, model.score, centered=True)
    outer = np.outer(scale, scale)
    assert_allclose(hessian / outer, numerical / outer, atol=DIFFERENCES)
    assert_allclose(hessian, hessian.T, rtol=ROUNDING)


def test_expected_information(res):
    params, k = np.asarray(res.params), len(res.params_mean)
    expected = res.model.hessian(params, observed=False)
    assert np.linalg.eigvalsh(expected).max() < 0
    assert_allclose(res.model.information(params), -expected)
    orthogonal = np.all(expected[:k, k:] == 0)
    assert orthogonal == spec_of(res).orthogonal


def test_expected_information_is_the_mean_of_the_observed(exact):
    params = np.asarray(exact.params)
    draws = exact.simulate(200, rng=3)
    hessians = np.array([exact.model.clone(endog=y).hessian(params) for y in draws])
    error = hessians.mean(axis=0) - exact.model.hessian(params, observed=False)
    se = hessians.std(axis=0) / np.sqrt(len(draws))
    known = se > ROUNDING * np.abs(hessians).max()
    assert np.abs(error[known] / se[known]).max() < MONTE_CARLO
    assert_allclose(error[~known], 0, atol=1e-8 * np.abs(hessians).max())


# ---- covariances -----------------------------------------------------------------------------


def clustered(scores, labels):
    """Return the meat of a one-way cluster covariance with the correction of Stata."""
    sums = pd.DataFrame(scores).groupby(np.asarray(labels)).sum().to_numpy()
    groups, (n, k) = len(sums), scores.shape
    return sums.T @ sums * groups / (groups - 1) * (n - 1) / (n - k)


def meat(kind, scores, data):
    n, k = scores.shape
    block, site = data["block"], data["site"]
    both = 100 * block + site
    if kind == "HAC":
        lagged = scores[1:].T @ scores[:-1]
        return scores.T @ scores + 0.5 * (lagged + lagged.T)
    return {
        "HC0": lambda: scores.T @ scores,
        "HC1": lambda: scores.T @ scores * n / (n - k),
        "cluster": lambda: clustered(scores, block),
        "two-way": lambda: (
            clustered(scores, block) + clustered(scores, site) - clustered(scores, both)
        ),
    }[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_every_covariance_is_named_and_near_the_others(kind):
    """The model is right, so all estimate the same."""
    case = CASES["gaussian"]
    res, plain = case.formula("x | z").fit(**COVARIANCES[kind]), fitted("gaussian", "x | z")
    assert res.cov_type == COVARIANCES[kind]["cov_type"]
    assert res.cov_type.lower() in str(res.summary()).lower()
    assert res.cov_kwds["description"]
    assert_allclose(res.cov_params(), res.cov_params().T)
    assert_allclose(np.log(res.bse / plain.bse), 0, atol=ANOTHER_ESTIMATE)


@pytest.mark.parametrize("kind", ["nonrobust", "eim", "HC0", "HC1", "cluster", "two-way", "HAC"])
@MAY_BE_INDEFINITE
def test_covariances(case, data, kind):
    res = case.formula("x | z").fit(**COVARIANCES[kind])
    params = np.asarray(res.params)
    bread = np.linalg.inv(-res.model.hessian(params, observed=kind != "eim"))
    expected = bread
    if kind not in ("nonrobust", "eim"):
        expected = bread @ meat(kind, res.model.score_obs(params), data) @ bread
    scale = np.sqrt(np.diag(expected))
    outer = np.outer(scale, scale)
    assert_allclose(np.asarray(res.cov_params()) / outer, expected / outer, atol=AT_MAXIMUM)
    assert_allclose(res.bse, scale, rtol=AT_MAXIMUM)


@pytest.mark.parametrize("cov_type", ["HC2", "HC3", "hc3"])
def test_leverage_types_are_refused_in_words(case, cov_type):
    what = f"{cov_type}.*need the leverages of one linear predictor; use HC1; choose one of"
    with pytest.raises(ValueError, match=what):
        case.formula("x").fit(cov_type=cov_type)


@pytest.mark.parametrize("kind", OF_FREQUENCIES)
@MAY_BE_INDEFINITE
def test_frequencies_are_repeated_rows(case, data, kind):
    kwds = COVARIANCES[kind]
    repeated = data.loc[data.index.repeat(data["w"])]
    weighted = case.formula(data=data, freq_weights="w").fit(**kwds)
    long = case.formula(data=repeated).fit(**kwds)
    assert_same_fit(weighted, long)
    for name in ("nobs", "df_resid", "df_model", "aic", "bic", "llnull"):
        assert_allclose(getattr(weighted, name), getattr(long, name), rtol=ROUNDING, err_msg=name)
    assert weighted.nobs == data["w"].sum()


@pytest.mark.parametrize("kind", [k for k in COVARIANCES if k not in OF_FREQUENCIES])
def test_lags_refuse_frequencies(kind):
    model = CASES["gaussian"].formula(freq_weights="w")
    with pytest.raises(ValueError, match=f"{kind}.*freq_weights"):
        model.fit(**COVARIANCES[kind])


def test_t_distribution_only_on_request(case):
    normal, t = case.formula().fit(), case.formula().fit(use_t=True)
    clusters = case.formula().fit(use_t=True, cov_type="cluster", cov_kwds=CLUSTER)
    assert normal.use_t is False
    for res, df in ((t, t.df_resid), (clusters, 120 / 6 - 1)):
        assert_allclose(res.pvalues, 2 * stats.t.sf(np.abs(res.tvalues), df))
        half = stats.t.isf(0.025, df) * res.bse
        assert_allclose(res.conf_int()[1], res.params + half)
    assert_allclose(normal.pvalues, 2 * stats.norm.sf(np.abs(normal.tvalues)))
    assert_allclose(normal.conf_int(0.1)[0], normal.params - stats.norm.isf(0.05) * normal.bse)


# ---- invariances -----------------------------------------------------------------------------


def test_order_of_rows_is_immaterial(case, data):
    shuffled = data.sample(frac=1, random_state=1)
    a, b = case.formula(data=shuffled).fit(), case.formula(data=data).fit()
    assert_same_fit(a, b)
    assert_allclose(a.fittedvalues.loc[data.index], b.fittedvalues, rtol=AT_MAXIMUM)


def test_scale_of_columns_is_immaterial(case, data):
    scaled = data.assign(x=data["x"] * 1e6, z=data["z"] * 1e-6)
    a, b = case.formula("x | z", scaled).fit(), case.formula("x | z", data).fit()
    assert_same_fit(a, b, scale=np.array([1, 1e6, 1, 1e-6]))
    assert_allclose(a.tvalues, b.tvalues, rtol=AT_MAXIMUM)


def test_offsets_stay_in_their_part(case, data):
    plain = case.formula("x | z").fit()
    shifted = case.formula(
        "x | z", offset=0.5 * data["x"], offset_dispersion=-0.7 * data["z"]
    ).fit()
    assert_allclose(shifted.params + np.array([0, 0.5, 0, -0.7]), plain.params, atol=AT_MAXIMUM)
    assert_allclose(shifted.llf, plain.llf, rtol=ROUNDING)
    for which in which_of(plain.model):
        assert_allclose(shifted.predict(which=which), plain.predict(which=which), atol=AT_MAXIMUM)


@pytest.mark.parametrize("name", ["gamma", "inverse-gaussian", "poisson", "tweedie"])
def test_exposure_is_an_offset_of_its_logarithm(name, data):
    a = CASES[name].formula(exposure="time", offset="shift").fit()
    b = CASES[name].formula(offset=np.log(data["time"]) + data["shift"]).fit()
    assert_same_fit(a, b)
    assert not np.allclose(a.params, fitted(name).params)


@pytest.mark.parametrize("name", WEIGHTED)
def test_var_weights_divide_the_dispersion(name, data):
    weighted = CASES[name].formula(var_weights="w").fit()
    shifted = CASES[name].formula(offset_dispersion=-np.log(data["w"])).fit()
    assert_same_fit(weighted, shifted)
    assert weighted.nobs == len(data)
    phi = weighted.fitted_dispersion
    assert_allclose(shifted.fitted_dispersion, phi / data["w"], rtol=AT_MAXIMUM)
    for which in ("var", "sd"):
        assert_allclose(
            weighted.predict(which=which), shifted.predict(which=which), rtol=AT_MAXIMUM
        )
    # with the interval of a new observation, where there is a distribution, also of new rows
    frame = weighted.get_prediction().summary_frame()
    assert_allclose(frame, shifted.get_prediction().summary_frame(), rtol=AT_MAXIMUM)
    new = weighted.get_prediction(data.iloc[[5, 1]]).summary_frame()
    assert_allclose(new, frame.iloc[[5, 1]], rtol=ROUNDING)


# ---- degrees of freedom and criteria ---------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "k"),
    [("x | z", 4), ("x - 1 | z", 3), ("x | z - 1", 3), ("group - 1 | group - 1", 6), ("1", 2)],
)
def test_counts_of_coefficients(case, right, k):
    res = case.formula(right).fit()
    n = len(simulated())
    assert res.nobs == n
    assert res.df_resid == n - k
    assert res.df_model + res.model.k_constant + res.model.k_extra == k
    assert_allclose(res.aic, -2 * res.llf + 2 * k, rtol=ROUNDING)
    assert_allclose(res.bic, -2 * res.llf + np.log(n) * k, rtol=ROUNDING)


def test_null_model_has_both_parts_constant(res):
    name = next(key for key in CASES if fitted(key) is res)
    null = CASES[name].formula("1").fit()
    assert_allclose(res.llnull, null.llf, rtol=ROUNDING)
    assert_allclose(res.llr, 2 * (res.llf - null.llf), rtol=1e-7)
    assert_allclose(res.llr_pvalue, stats.chi2.sf(res.llr, 6), rtol=1e-6)
    assert 0 < res.prsquared < 1


def test_null_model_keeps_the_offsets(case):
    offsets = {"offset": "shift", "offset_dispersion": "x"}
    res, null = case.formula("x | z", **offsets).fit(), case.formula("1", **offsets).fit()
    assert_allclose(res.llnull, null.llf, rtol=ROUNDING)


# ---- starting values and optimisers -----------------------------------------------------------


def test_every_start_leads_to_the_maximum(case):
    model = case.formula()
    best = model.fit()
    starts = list(starting_values(model.core, model.estimable))
    away = np.asarray(best.params) + np.asarray(best.bse) * 3 * np.cos(np.arange(len(best.params)))
    assert starts
    for start in [*starts, away]:
        assert model.core.loglike(start) > -np.inf
        assert_same_fit(model.fit(start), best)


@pytest.mark.parametrize(
    ("method", "options"),
    [("newton", {}), ("bfgs", {}), ("lbfgs", {}), ("nm", {"xtol": 1e-8, "ftol": 1e-12})],
)
def test_other_optimisers_reach_the_maximum(case, method, options):
    model = case.formula("x | z")
    best = model.fit()
    start = np.asarray(best.params) + 0.7 * np.asarray(best.bse)
    res = model.fit(start, method=method, **options)
    assert res.converged
    assert_allclose(res.params / best.bse, best.params / best.bse, atol=LOOSE_OPTIMISER)
    assert_allclose(res.llf, best.llf, atol=LOOSE_OPTIMISER**2)
    assert res.llf <= best.llf + 1e-9


@pytest.mark.parametrize("method", ["newton-scoring", "bfgs"])
def test_failure_to_converge_is_said(case, method):
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        res = case.formula("x | z").fit(maxiter=1, method=method)
    assert not res.converged
    text = " ".join(str(res.summary()).split())
    assert "did not converge" in text
    assert f"NO, {res.iterations} steps" in text
    assert quiet(case.formula("x | z"), warn_convergence=False, maxiter=1).converged is False


# ---- tests of coefficients -------------------------------------------------------------------


def test_linear_hypotheses_over_both_parts(res):
    names, cov = res.params.index.tolist(), np.asarray(res.cov_params())
    i, j = names.index("x"), names.index("dispersion-z")
    t = res.t_test("x = 0.1, dispersion-z = 0.2")
    assert_allclose(t.effect, [res.params["x"], res.params["dispersion-z"]])
    assert_allclose(t.tvalue, (t.effect - [0.1, 0.2]) / res.bse.iloc[[i, j]], rtol=ROUNDING)
    R = np.eye(len(names))[[i, j]]
    value = np.asarray(res.params)[[i, j]]
    expected = value @ np.linalg.solve(cov[np.ix_([i, j], [i, j])], value)
    for hypothesis in ("x = 0, dispersion-z = 0", R):
        wald = res.wald_test(hypothesis)
        assert_allclose(wald.statistic, expected, rtol=ROUNDING)
        assert_allclose(wald.pvalue, stats.chi2.sf(expected, 2), rtol=ROUNDING)
        f = res.f_test(hypothesis)
        assert_allclose(f.fvalue, expected / 2, rtol=ROUNDING)
        assert_allclose(f.pvalue, stats.f.sf(expected / 2, 2, res.df_resid), rtol=ROUNDING)
    difference = res.t_test("x - dispersion-z = 0")
    expected = np.sqrt(cov[i, i] + cov[j, j] - 2 * cov[i, j])
    assert_allclose(difference.sd.item(), expected, rtol=ROUNDING)


def test_terms_of_both_parts_are_tested(res):
    table = res.wald_test_terms().table
    parts = ["Intercept", "group", "x"], ["Intercept", "group", "z"]
    names = [*parts[0], *(f"dispersion-{name}" for name in parts[1])]
    assert table.index.tolist() == names
    assert table["df_constraint"].tolist() == [1, 2, 1, 1, 2, 1]
    by_hand = res.wald_test("dispersion-group[T.b] = 0, dispersion-group[T.c] = 0")
    assert_allclose(table.loc["dispersion-group", "statistic"], by_hand.statistic)
    assert_allclose(table.loc["x", "statistic"], res.tvalues["x"] ** 2)
    assert res.wald_test_terms(skip_single=True).table.index.tolist() == [
        "group",
        "dispersion-group",
    ]


@pytest.mark.parametrize("part", ["mean", "dispersion", "both"])
def test_score_test_is_the_quadratic_form_at_the_restricted_fit(case, data, part):
    restricted = case.formula("x | z").fit()
    new = (data["x"] ** 2).to_numpy()[:, None]
    extra = (None if part == "dispersion" else new, None if part == "mean" else new)
    right = {"mean": "x + I(x**2) | z", "dispersion": "x | z + I(x**2)"}
    larger = case.formula(right.get(part, "x + I(x**2) | z + I(x**2)"))
    params = pd.Series(0.0, index=larger.parameter_names)
    params[restricted.params.index] = restricted.params
    score = larger.score(params.to_numpy())
    expected = score @ np.linalg.solve(-larger.hessian(params.to_numpy()), score)
    result = restricted.score_test(extra)
    statistic, pvalue = (
        (result.statistic, result.pvalue) if hasattr(result, "statistic") else result[:2]
    )
    assert_allclose(np.squeeze(statistic), expected, rtol=AT_MAXIMUM)
    df = 2 if part == "both" else 1
    assert_allclose(np.squeeze(pvalue), stats.chi2.sf(expected, df), rtol=AT_MAXIMUM)
    if part == "mean":
        single = restricted.score_test(new)
        assert_allclose(np.squeeze(getattr(single, "statistic", single[0])), expected)


# ---- summaries -------------------------------------------------------------------------------


def test_summary(res):
    family = res.model.core.family
    text = str(res.summary())
    assert max(map(len, text.splitlines())) <= 80
    assert f"= {family.variance_formula}" in text
    assert "Test of constant dispersion" in text
    assert f"on {res.compare_constant_dispersion().df} df" in text
    for name in ("group[T.b]", "x", "z", "Mean:", "Dispersion:", "1Q"):
        assert name in text
    assert f"{res.params['dispersion-z']:.4f}" in text
    assert ("Likelihood: exact" in text) == family.exact


@pytest.mark.parametrize("form", ["summary", "summary2"])
def test_extended_quasi_likelihood_is_labelled(res, form):
    text = " ".join(str(getattr(res, form)()).split())
    for exact, quasi in (
        ("AIC:", "AIC (EQL):"),
        ("BIC:", "BIC (EQL):"),
        ("Log-Likelihood:", "Log-EQL:"),
        ("dispersion: LR =", "LR (extended quasi-likelihood) ="),
    ):
        wanted, unwanted = (exact, quasi) if res.model.core.family.exact else (quasi, exact)
        assert wanted in text
        assert unwanted not in text


def test_every_format_of_a_summary(res):
    first, second = res.summary(), res.summary2()
    for text in (first.as_latex(), second.as_latex()):
        assert r"\begin{tabular}" in text
        assert "group" in text
    for text in (first.as_html(), second.as_html()):
        assert "<table" in text
        assert f"{res.params['x']:.4f}" in text
    assert "Dispersion" in first.as_csv()
    assert f"{res.params['dispersion-z']:.4f}" in str(second)
    both = str(summary_col([res, res], stars=True, model_names=["one", "two"]))
    assert "dispersion-z" in both
    assert both.count(f"{res.params['dispersion-z']:.4f}") == 2


def test_summary_takes_names_and_level(res):
    names = [f"name{i}" for i in range(len(res.params))]
    text = str(res.summary(yname="response", xname=names, title="A title", alpha=0.2))
    for word in ("response", "name7", "A title", "[0.1"):
        assert word in text
    with pytest.raises(ValueError, match="xname: 1 names for 8"):
        res.summary(xname=["a"])


# ---- pickling --------------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("right", ["x + group | z + group", "bs(x, df=4) | center(z) + scale(x)"])
def test_pickling(case, data, right, removed):
    res = case.formula(right).fit()
    new = data.iloc[[5, 1]]
    expected = {which: res.predict(new, which=which) for which in which_of(res.model)}
    text = str(res.summary()).split("Covariance")[1]
    size = len(pickle.dumps(res))
    if removed:
        res.remove_data()
    pickled = pickle.dumps(res)
    copy = pickle.loads(pickled)
    assert_array_equal(copy.params, res.params)
    assert copy.params.index.equals(res.params.index)
    for which, values in expected.items():
        assert_allclose(copy.predict(new, which=which), values, rtol=ROUNDING, err_msg=which)
    assert_allclose(copy.get_prediction(new, which="var").predicted, expected["var"])
    if removed:
        assert len(pickled) < 0.6 * size
        with pytest.raises(ValueError, match="remove_data"):
            copy.predict()
    else:
        assert str(copy.summary()).split("Covariance")[1] == text


def test_save_and_load(res, data, tmp_path):
    path = tmp_path / "result.pickle"
    res.save(path)
    loaded = sm.load(path)
    assert_array_equal(loaded.cov_params(), res.cov_params())
    assert_allclose(loaded.predict(data.head(1), which="sd"), res.predict(which="sd").head(1))
    small = tmp_path / "small.pickle"
    loaded.save(small, remove_data=True)
    assert_allclose(sm.load(small).predict(data.tail(2)), res.fittedvalues.tail(2))
    assert small.stat().st_size < path.stat().st_size


# ---- predictions -----------------------------------------------------------------------------


def test_predictions_follow_their_definitions(res):
    X, Z = designs(simulated())
    eta, zeta = X @ res.params_mean, Z @ res.params_dispersion
    mu, phi = res.model.link.inverse(eta), np.exp(zeta)
    family, core, n = res.model.core.family, res.model.core, simulated()["N"]
    rows = zip(mu, core.row_phi(phi), n, strict=True)
    var = np.array([spec_of(res).variance(family, *map(mp.mpf, row)) for row in rows], dtype=float)
    rho = phi / (1 + phi)
    expected = {
        "mean": mu,
        "linear": eta,
        "dispersion": phi,
        "linear-dispersion": zeta,
        "var": var,
        "sd": np.sqrt(var),
        "icc": rho,
        "design-effect": 1 + (n - 1) * rho,
        "effective-size": n / (1 + (n - 1) * rho),
    }
    for which in expected.keys() & set(which_of(res.model)):
        assert_allclose(res.predict(which=which), expected[which], err_msg=which)
    assert_allclose(res.fittedvalues, mu)
    assert_allclose(res.fitted_dispersion, phi)
    assert_allclose(res.resid, res.model.endog - mu, atol=ROUNDING)
    scale = n if family.counts_successes else 1
    assert_allclose(res.resid_pearson, scale * res.resid / np.sqrt(var), atol=ROUNDING)


def test_one_new_row_gives_one_number(res, data):
    X, Z = designs(data)
    for which in which_of(res.model):
        whole = res.predict(which=which)
        row = res.predict(data.iloc[[7]], which=which)
        assert row.shape == (1,)
        assert row.index.tolist() == [7]
        assert_allclose(row, whole.iloc[[7]])
        several = res.predict(
            data.iloc[[9, 3, 3]].set_index(pd.Index(["p", "q", "r"])), which=which
        )
        assert several.index.tolist() == ["p", "q", "r"]
        assert_allclose(several, whole.iloc[[9, 3, 3]])
        if which in ("mean", "dispersion"):
            direct = res.predict(X.iloc[[7]], Z.iloc[[7]], which=which, transform=False)
            assert_allclose(direct, row)


def test_new_arrays_need_what_the_answer_needs(case, data):
    X, Z = (design.to_numpy() for design in designs(data))
    res = case.arrays(X, Z).fit()
    trials = {"n_trials": data["N"].head(2)} if case.binomial else {}
    for which in which_of(res.model):
        whole = res.predict(which=which)
        given = trials if "rows" in QUANTITIES[which].parts else {}
        new = res.predict(X[:2], Z[:2], which=which, **given)
        assert isinstance(new, np.ndarray)
        assert_allclose(new, whole[:2])
    assert_allclose(res.predict(X[:2]), res.fittedvalues[:2])
    assert_allclose(
        res.predict(exog_dispersion=Z[:2], which="dispersion"), res.fitted_dispersion[:2]
    )
    for which in (w for w in which_of(res.model) if "dispersion" in QUANTITIES[w].parts):
        with pytest.raises(ValueError, match="exog_dispersion"):
            res.predict(X[:2], which=which, **trials)
    with pytest.raises(ValueError, match=r"^exog: "):
        res.predict(exog_dispersion=Z[:2], which="mean")
    with pytest.raises(ValueError, match=r"exog_dispersion: shape \(1, 4\)"):
        res.predict(X[:2], Z[:1], which="var", **trials)
    with pytest.raises(ValueError, match=r"exog: shape \(2, 3\).*4 columns"):
        res.predict(X[:2, :3])
    if case.binomial:
        with pytest.raises(ValueError, match="n_trials"):
            res.predict(X[:2], Z[:2], which="var")


def test_constant_dispersion_needs_no_second_design(case, data):
    X, _ = (design.to_numpy() for design in designs(data))
    res = case.arrays(X).fit()
    assert_allclose(res.predict(X[:3], which="dispersion"), res.fitted_dispersion[:3])


ARGUMENTS = [
    ("offset", "shift", "mean"),
    ("offset_dispersion", "shift", "dispersion"),
    ("exposure", "time", "mean"),
    ("var_weights", "w", "var"),
]


@pytest.mark.parametrize(("argument", "column", "which"), ARGUMENTS)
def test_row_arrays_on_new_rows(data, argument, column, which):
    case, new = CASES["poisson"], data.iloc[[4, 2]]
    named = case.formula("x | z", **{argument: column}).fit()
    array = case.formula("x | z", **{argument: data[column].to_numpy()}).fit()
    expected = named.predict(which=which).iloc[[4, 2]]
    assert_allclose(named.predict(new, which=which), expected)
    assert_allclose(array.predict(new, which=which, **{argument: new[column]}), expected)
    for predict in (array.predict, array.get_prediction):
        with pytest.raises(ValueError, match=argument):
            predict(new, which=which)
    with pytest.raises(ValueError, match=f"{argument}.*{column}"):
        named.predict(new.drop(columns=column), which=which)
    with pytest.raises(ValueError, match=rf"{argument}: shape \(1,\)"):
        array.predict(new, which=which, **{argument: [1.0]})
    other = named.predict(new, which=which, **{argument: 2 * new[column]})
    assert not np.allclose(other, expected)
    with pytest.raises(TypeError, match="offsett"):
        named.predict(new, offsett=[1.0, 2.0])


@pytest.mark.parametrize("name", ["binomial", "beta-binomial"])
def test_trials_of_new_rows(name, data):
    case, new = CASES[name], data.iloc[[4, 2]]
    two_columns = fitted(name)
    expected = two_columns.predict(which="var").iloc[[4, 2]]
    make = hmf.betabinomial if name == "beta-binomial" else hmf.doubleglm
    by_name = make("K ~ x + group | z + group", data, n_trials="N", **case.kwargs).fit()
    array = make("K ~ x + group | z + group", data, n_trials=data["N"].array, **case.kwargs).fit()
    assert_same_fit(by_name, two_columns)
    assert_same_fit(array, two_columns)
    for res in (two_columns, by_name):
        assert_allclose(res.predict(new, which="var"), expected)
        bare = new.drop(columns=["K", "N"])
        assert_allclose(res.predict(bare), res.fittedvalues.iloc[[4, 2]])
        assert_allclose(res.predict(bare, which="var", n_trials=new["N"]), expected)
        with pytest.raises(ValueError, match="n_trials"):
            res.predict(bare, which="var")
    assert_allclose(by_name.predict(new.drop(columns="K"), which="var"), expected)
    with pytest.raises(ValueError, match="n_trials"):
        array.predict(new.drop(columns=["K", "N"]), which="var")


def test_missing_values_of_new_rows_stay_missing(res, data):
    new = data.iloc[:4].copy()
    new.loc[1, "x"] = np.nan
    new.loc[2, "z"] = np.nan
    missing = {"mean": 1, "dispersion": 2}
    for which in which_of(res.model):
        values = res.predict(new, which=which)
        rows = [row for part, row in missing.items() if part in QUANTITIES[which].parts]
        assert values.index[values.isna()].tolist() == rows
        assert_allclose(values.drop(rows), res.predict(which=which).iloc[:4].drop(rows))
        frame = res.get_prediction(new, which=which).summary_frame()
        assert frame.index[frame["se"].isna()].tolist() == rows


def test_the_mean_does_not_need_the_dispersion_on_new_rows(case, data):
    res = case.formula("x | group").fit()
    new = data[["x"]].head(3)
    assert_allclose(res.predict(new), res.fittedvalues.head(3))
    frame = res.get_prediction(new).summary_frame()
    assert_allclose(frame["predicted"], res.fittedvalues.head(3))
    assert "obs_ci_lower" not in frame


def test_standard_errors_of_predictions(res):
    params, cov = np.asarray(res.params), np.asarray(res.cov_params())
    for which in which_of(res.model):
        prediction = res.get_prediction(which=which)
        jacobian = approx_fprime(
            params, lambda p, which=which: res.model.predict(p, which=which), centered=True
        )
        se = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, cov, jacobian))
        assert_allclose(prediction.se, se, rtol=DIFFERENCES, err_msg=which)
        assert_allclose(prediction.predicted, res.predict(which=which))


def test_intervals_of_predictions(res):
    for which in which_of(res.model):
        frame = res.get_prediction(which=which).summary_frame(alpha=0.02)
        assert frame.columns.tolist()[:4] == ["predicted", "se", "ci_lower", "ci_upper"]
        assert (frame["ci_lower"] < frame["predicted"]).all()
        assert (frame["predicted"] < frame["ci_upper"]).all()
        if not QUANTITIES[which].signed and which != "mean":
            assert (frame["ci_lower"] > 0).all()
        if which == "icc":
            assert (frame["ci_upper"] < 1).all()
        delta = res.get_prediction(which=which, ci_method="delta").summary_frame(alpha=0.02)
        half = stats.norm.isf(0.01) * frame["se"]
        assert_allclose(delta["ci_lower"], frame["predicted"] - half)
        assert_allclose(delta["ci_upper"], frame["predicted"] + half)
    logs = res.get_prediction(which="linear-dispersion").summary_frame()
    phi = res.get_prediction(which="dispersion").summary_frame()
    assert_allclose(phi[["ci_lower", "ci_upper"]], np.exp(logs[["ci_lower", "ci_upper"]]))
    var, sd = (res.get_prediction(which=which).conf_int() for which in ("var", "sd"))
    assert_allclose(sd, np.sqrt(var))


def test_interval_with_t(res):
    t = res.model.fit(use_t=True)
    ratio = np.log(t.get_prediction(which="var").conf_int()[:, 1] / t.predict(which="var"))
    normal = np.log(res.get_prediction(which="var").conf_int()[:, 1] / res.predict(which="var"))
    expected = stats.t.isf(0.025, res.df_resid) / stats.norm.isf(0.025)
    assert_allclose(ratio / normal, expected, rtol=AT_MAXIMUM)


def counts_of(res, data):
    """Return what takes the mean to that of the response, and the response of a distribution."""
    successes = res.model.core.family.counts_successes
    return (data["N"], data["K"]) if successes else (1, res.model.endog)


def test_prediction_intervals(exact, data):
    frame = exact.get_prediction(data.head(9), obs_ci="plugin").summary_frame(alpha=0.1)
    frozen = exact.get_distribution(data.head(9))
    assert_allclose(frame["obs_ci_lower"], frozen.ppf(0.05))
    assert_allclose(frame["obs_ci_upper"], frozen.ppf(0.95))
    inside = exact.get_prediction().summary_frame()
    _, y = counts_of(exact, data)
    covered = (inside["obs_ci_lower"] <= y) & (y <= inside["obs_ci_upper"])
    assert 0.9 <= covered.mean() < 1
    assert "obs_ci_lower" not in exact.get_prediction(which="var").summary_frame()


@pytest.mark.parametrize("argument", ["offset_dispersion", "var_weights"])
@pytest.mark.parametrize("named", [True, False])
def test_prediction_intervals_of_new_rows_use_every_row_array(data, argument, named):
    value = "w" if named else data["w"].to_numpy()
    res = CASES["gaussian"].formula("x | z", **{argument: value}).fit()
    given = {} if named else {argument: data["w"].head(3)}
    new = res.get_prediction(data.head(3), **given).summary_frame()
    assert_allclose(new, res.get_prediction().summary_frame().head(3))


def test_moments_of_the_distribution(exact, data):
    frozen = exact.get_distribution()
    scale, y = counts_of(exact, data)
    density = frozen.logpmf(y) if exact.model.core.family.discrete else frozen.logpdf(y)
    assert_allclose(frozen.mean(), scale * exact.fittedvalues, rtol=1e-7)
    assert_allclose(frozen.var(), exact.predict(which="var"), rtol=1e-7)
    assert_allclose(density.sum(), exact.llf, rtol=1e-8)


def test_probabilities_of_counts(data):
    res = fitted("beta-binomial")
    table = res.predict(which="prob")
    assert table.shape == (len(data), data["N"].max() + 1)
    assert_allclose(table.sum(axis=1), 1)
    assert_allclose(table @ np.arange(table.shape[1]), data["N"] * res.fittedvalues)
    some = res.predict(data.head(3), which="prob", y_values=[2, 0])
    assert some.columns.tolist() == [2, 0]
    assert_allclose(some, table.iloc[:3, [2, 0]])
    params, cov = np.asarray(res.params), np.asarray(res.cov_params())
    jacobian = approx_fprime(
        params, lambda p: res.model.predict(p, which="prob", y_values=3)[:, 0], centered=True
    )
    prediction = res.get_prediction(which="prob", y_values=3)
    se = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, cov, jacobian))
    assert_allclose(prediction.se, se, rtol=DIFFERENCES)
    frame = prediction.summary_frame()
    assert ((0 < frame["ci_lower"]) & (frame["ci_upper"] < 1)).all()
    with pytest.raises(ValueError, match="intervals are for a single count"):
        res.get_prediction(which="prob", y_values=[1, 2])


def test_probabilities_of_impossible_counts(data):
    res = fitted("beta-binomial")
    frame = res.get_prediction(which="prob", y_values=int(data["N"].max())).summary_frame()
    short = data["N"] < data["N"].max()
    assert (frame.loc[short, "predicted"] == 0).all()
    assert (frame.loc[~short, "predicted"] > 0).all()
    assert frame.loc[~short, "se"].notna().all()


def test_probabilities_of_rows_with_missing_trials(data):
    res = fitted("beta-binomial")
    new = data.head(3).assign(N=[np.nan, *data["N"][1:3]])
    frame = res.get_prediction(new, which="prob", y_values=2).summary_frame()
    assert frame.isna().all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "call",
    [
        lambda res: res.get_distribution(),
        lambda res: res.simulate(rng=1),
        lambda res: res.predict(which="prob"),
        lambda res: res.predict(which="prob", y_values=[1]),
        lambda res: res.get_prediction(which="prob", y_values=1),
        lambda res: res.bootstrap(2, kind="parametric", rng=1),
    ],
)
def test_quasi_likelihood_has_no_distribution(quasi, call):
    with pytest.raises(NotImplementedError, match=r"quasi-likelihood.*bootstrap\(kind='pairs'\)"):
        call(quasi)


def test_quasi_likelihood_has_no_prediction_interval(quasi):
    assert "obs_ci_lower" not in quasi.get_prediction().summary_frame()
    with pytest.raises(ValueError, match="no prediction interval"):
        quasi.get_prediction().conf_int(obs=True)


# ---- simulation and bootstrap ----------------------------------------------------------------


def test_simulation(exact):
    draws = exact.simulate(300, rng=5)
    assert draws.shape == (300, len(simulated()))
    assert_array_equal(draws, exact.simulate(300, rng=np.random.default_rng(5)))
    assert not np.array_equal(draws, exact.simulate(300, rng=6))
    assert not np.array_equal(exact.simulate(), exact.simulate())
    frozen = exact.get_distribution()
    z = (draws.mean(axis=0) - frozen.mean()) / frozen.std() * np.sqrt(300)
    assert abs(z.mean()) * np.sqrt(len(z)) < MONTE_CARLO
    assert np.abs(z).max() < 6  # the skewed families have heavier tails than the normal


def test_global_generator_is_not_touched(exact):
    before = np.random.get_state()  # noqa: NPY002 - it is what must not change
    exact.simulate()
    exact.bootstrap(2, rng=1)
    exact.bootstrap(2, kind="parametric")
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


KINDS = [
    (name, kind)
    for name, case in CASES.items()
    for kind in ("pairs", "cluster", "parametric")
    if case.exact or kind != "parametric"
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_bootstrap(name, kind):
    case = CASES[name]
    groups = CLUSTER if kind == "cluster" else {}
    cov_type = {"pairs": "HC0", "cluster": "cluster", "parametric": "nonrobust"}[kind]
    res = case.formula("x | z").fit(cov_type=cov_type, cov_kwds=groups)
    boot = res.bootstrap(80, kind, rng=11, **groups)
    mean, std, params = boot
    assert params.shape == (80, 4)
    assert_allclose(mean, params.mean(axis=0))
    assert_allclose(std, params.std(axis=0))
    assert (boot.nrep, boot.failed, boot.kind) == (80, 0, kind)
    assert_array_equal(
        params, res.bootstrap(80, kind, rng=np.random.default_rng(11), **groups).params
    )
    # by quartiles, as a replicate whose alpha is next to zero is far out; 80 give that to 13 %
    spread = np.diff(np.percentile(params, [25, 75], axis=0), axis=0)[0] / (
        2 * stats.norm.ppf(0.75)
    )
    assert_allclose(spread / res.bse, 1, atol=0.6)


@pytest.mark.parametrize("name", ["gaussian", "beta-binomial"])
def test_pairs_resample_both_designs(name):
    """Unresampled, the second design is noise: its coefficient would go to 0, not to 0.9."""
    res = CASES[name].formula("x | z", simulated(600)).fit()
    boot = res.bootstrap(100, rng=2)
    # 100 replicates give a standard deviation to 7 %, and the model-based one is right here
    assert_allclose(boot.std / res.bse, 1, atol=0.3)
    assert_allclose((boot.mean - res.params) / res.bse, 0, atol=0.5)


def test_clone_replaces_frequencies_only(data):
    model = CASES["gaussian"].formula(freq_weights="w", var_weights="w")
    once = model.clone(freq_weights=None)
    assert once.freq_weights is None and once.core.freq is None
    assert_array_equal(once.var_weights, model.var_weights)
    twice = model.clone(rows=[3, 1], freq_weights=[2, 2])
    assert_array_equal(twice.core.freq, [2, 2])
    assert_array_equal(model.clone(rows=[3, 1]).core.freq, model.core.freq[[3, 1]])
    # other row arrays were dropped without a word
    with pytest.raises(TypeError, match="var_weights"):
        model.clone(var_weights=None)


def test_every_row_array_is_resampled(data):
    model = CASES["gaussian"].formula(
        offset="shift", offset_dispersion="x", var_weights="w", freq_weights="w"
    )
    rows = np.array([5, 5, 0, 7, 100, 31, 8, 9, 77, 64, 41, 13])
    clone = model.clone(rows=rows)
    direct = CASES["gaussian"].formula(
        data=data.iloc[rows],
        offset="shift",
        offset_dispersion="x",
        var_weights="w",
        freq_weights="w",
    )
    params = np.linspace(-0.5, 0.5, 8)
    assert_allclose(clone.loglikeobs(params), direct.loglikeobs(params), rtol=ROUNDING)
    assert clone.nobs == direct.nobs == data["w"].iloc[rows].sum()


@pytest.mark.parametrize("kind", ["pairs", "parametric"])
def test_bootstrap_repeats_rows_by_their_frequency(data, kind):
    repeated = data.loc[data.index.repeat(data["w"])]
    weighted = CASES["gaussian"].formula("x | z", freq_weights="w").fit()
    long = CASES["gaussian"].formula("x | z", repeated).fit()
    a, b = (res.bootstrap(100, kind, rng=8).std for res in (weighted, long))
    # 100 replicates each: the ratio is right to 10 %; rows counted once give a ratio of 1.4
    assert_allclose(a / b, 1, atol=0.3)


def test_failed_refits_are_counted(data):
    few = data.head(40).assign(rare=lambda d: np.where(d.index == 3, "yes", "no"))
    res = CASES["gaussian"].formula("x + rare", few).fit()
    with pytest.warns(BootstrapFailureWarning, match=r"\d+ of 30 bootstrap refits failed"):
        boot = res.bootstrap(30, rng=4)
    assert 0 < boot.failed < 30
    assert len(boot.params) == 30 - boot.failed
    assert sum(boot.reasons.values()) == boot.failed
    assert np.isfinite(boot.std).all()


# ---- comparisons -----------------------------------------------------------------------------


def test_comparison_with_constant_dispersion(case):
    full, constant = case.formula().fit(), case.formula("x + group").fit()
    test = full.compare_constant_dispersion()
    assert test.df == 3
    assert_allclose(test.llf_constant, constant.llf, rtol=ROUNDING)
    assert_allclose(test.statistic, 2 * (full.llf - constant.llf), rtol=1e-7)
    assert_allclose(test.pvalue, stats.chi2.sf(test.statistic, 3), rtol=ROUNDING)
    assert_allclose([test.aic_constant, test.bic_constant], [constant.aic, constant.bic])
    assert ("extended quasi-likelihood" in str(test)) == (not case.exact)
    without = constant.compare_constant_dispersion()
    assert (without.df, without.statistic) == (0, 0)
    assert "constant" in str(without)


def test_comparison_without_an_intercept(case):
    cells = case.formula("x | group - 1").fit()
    assert cells.compare_constant_dispersion().df == 2  # 1 is in the space of the cells
    slope, constant = case.formula("x | z - 1").fit(), case.formula("x").fit()
    numbers = [f"{value:.6g}" for fit in (slope, constant) for value in (fit.aic, fit.bic)]
    message = "not a special case.*column space.*" + ".*".join(numbers).replace(".", r"\.")
    message = message.replace(r"\.*", ".*")
    with pytest.raises(NotNestedError, match=message):
        slope.compare_constant_dispersion()
    with pytest.warns(UntestedTermWarning, match="column space"):
        table = het.anova(slope)
    untested = ["DF", "Seq.Chisq", "Seq.P", "Adj.Chisq", "Adj.P"]
    assert table.loc["Dispersion model", untested].isna().all()
    assert table.loc["Mean model", ["DF", "Adj.Chisq", "Adj.P"]].notna().all()
    assert "column space" in table.attrs["reasons"]["Dispersion model"]
    assert "no intercept" in " ".join(str(slope.summary()).split())


def test_comparison_keeps_the_offset_of_the_dispersion(case):
    full = case.formula("x | z", offset_dispersion="shift", offset="shift").fit()
    null = case.formula("x", offset_dispersion="shift", offset="shift").fit()
    assert_allclose(full.compare_constant_dispersion().llf_constant, null.llf, rtol=ROUNDING)
    assert not np.isclose(null.llf, case.formula("x", offset="shift").fit().llf)


def test_anova_of_one_fit(case):
    fits = {right: case.formula(right).fit() for right in ("x | z", "x", "1 | z", "1")}
    llf = {right: fit.llf for right, fit in fits.items()}
    table = het.anova(fits["x | z"])
    assert table.columns.tolist() == ["DF", "Seq.Chisq", "Seq.P", "Adj.Chisq", "Adj.P"]
    assert table.index.tolist() == ["Mean model", "Dispersion model"]
    assert table["DF"].tolist() == [1, 1]
    dispersion = 2 * (llf["x | z"] - llf["x"])
    expected = [
        [2 * (llf["x"] - llf["1"]), 2 * (llf["x | z"] - llf["1 | z"])],
        [dispersion, dispersion],
    ]
    chisq = table[["Seq.Chisq", "Adj.Chisq"]]
    assert_allclose(chisq, expected, rtol=1e-7)
    assert_allclose(table[["Seq.P", "Adj.P"]], stats.chi2.sf(chisq, 1))
    assert table.columns.name == ("LR" if case.exact else "EQL ratio")


def test_anova_of_a_mean_without_a_constant(data):
    table = het.anova(CASES["gaussian"].formula("x - 1 | z").fit())
    empty = stats.norm.logpdf(data["gaussian"], scale=np.sqrt(np.mean(data["gaussian"] ** 2))).sum()
    full = CASES["gaussian"].formula("x - 1").fit().llf
    assert_allclose(table.loc["Mean model", "Seq.Chisq"], 2 * (full - empty), rtol=1e-7)
    assert table.loc["Mean model", "DF"] == 1


def test_anova_of_several_fits(case):
    fits = [case.formula(right).fit() for right in ("x", "x | z", "x + group | z + group")]
    table = het.anova(fits[2], fits[0], fits[1])  # ordered by size
    for name in ("df_resid", "llf", "aic", "bic"):
        assert_allclose(table[name], [getattr(fit, name) for fit in fits])
    statistic = 2 * np.diff([fit.llf for fit in fits])
    assert_allclose(table["statistic"][1:], statistic, rtol=1e-7)
    assert table["df_diff"].tolist()[1:] == [1, 4]
    assert_allclose(table["P"][1:], stats.chi2.sf(statistic, [1, 4]))
    assert table.columns.name == ("LR" if case.exact else "EQL ratio")


def gaussian(right="x", data=None, **kwargs):
    return CASES["gaussian"].formula(right, data, **kwargs).fit()


REFUSALS = {
    "families": (lambda: (gaussian(), fitted("gamma")), "different families.*AIC"),
    "models": (lambda: (fitted("binomial"), CASES["beta-binomial"].formula("1").fit()), "families"),
    "rows": (lambda: (gaussian(), gaussian("x | z", simulated().head(90))), "different rows"),
    "mean": (lambda: (gaussian("group"), gaussian("x + z | z")), "mean model of the smaller"),
    "dispersion": (
        lambda: (gaussian("x | x"), gaussian("x | z + group")),
        "dispersion model of the smaller",
    ),
    "size": (lambda: (gaussian("x"), gaussian("z")), "same number of coefficients.*AIC"),
    "offset": (lambda: (gaussian(), gaussian("x | z", offset="shift")), "offset"),
    "offset_dispersion": (
        lambda: (gaussian(), gaussian("x | z", offset_dispersion="shift")),
        "offset_dispersion",
    ),
    "weights": (lambda: (gaussian(), gaussian("x | z", var_weights="w")), "weights"),
    "frequencies": (lambda: (gaussian(), gaussian("x | z", freq_weights="w")), "freq"),
    "links": (
        lambda: (
            CASES["gamma"].formula("1").fit(),
            hmf.doubleglm("positive ~ 1 | z", simulated(), family=sm.families.Gamma()).fit(),
        ),
        "links",
    ),
    "variance": (
        lambda: tuple(
            hmf.doubleglm(
                f"positive ~ {right}",
                simulated(),
                family=sm.families.Tweedie(sm.families.links.Log(), var_power=power),
                likelihood="eql",
            ).fit()
            for right, power in (("1", 1.2), ("x", 1.8))
        ),
        "variance functions",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_fits_that_are_not_nested_are_refused(reason):
    fits, message = REFUSALS[reason]
    with pytest.raises(NotNestedError, match=message):
        het.anova(*fits())


def test_anova_of_something_else(data):
    with pytest.raises(ValueError, match="at least one"):
        het.anova()
    with pytest.raises(ValueError, match="anova compares hetglm results only; got OLSResults"):
        het.anova(sm.OLS(data["gaussian"], data["x"]).fit())


# ---- aliased columns -------------------------------------------------------------------------

ALIASED = ["I(2 * x)", "dispersion-I(z + 1)"]


@pytest.fixture
def aliased(case):
    with pytest.warns(AliasedColumnWarning) as caught:
        res = case.formula("x + I(2 * x) + group | z + I(z + 1)").fit()
    (warned,) = (w for w in caught if w.category is AliasedColumnWarning)
    assert all(name in str(warned.message) for name in ALIASED)
    return res, case.formula("x + group | z").fit()


def test_aliased_columns_are_left_out(aliased):
    res, plain = aliased
    kept = res.params.notna()
    assert res.params.index[~kept].tolist() == ALIASED
    assert res.bse[ALIASED].isna().all()
    assert np.isnan(res.conf_int().loc[ALIASED]).all(axis=None)
    assert_same_fit(res, plain)
    for name in ("aic", "bic", "df_resid", "df_model", "llnull", "prsquared"):
        assert_allclose(getattr(res, name), getattr(plain, name), rtol=ROUNDING, err_msg=name)
    assert res.df_model + res.model.k_constant + res.model.k_extra == kept.sum()
    text = " ".join(str(res.summary()).split())
    assert "aliased" in text
    assert all(name in text for name in ALIASED)


def test_aliased_columns_do_not_disturb_what_follows(aliased, data):
    res, plain = aliased
    for which in which_of(res.model):
        a, b = (fit.get_prediction(data.head(4), which=which) for fit in (res, plain))
        assert_allclose(a.summary_frame(), b.summary_frame(), rtol=AT_MAXIMUM)
    assert_allclose(res.t_test("x = 0").tvalue, plain.t_test("x = 0").tvalue, rtol=AT_MAXIMUM)
    tables = res.wald_test_terms().table, plain.wald_test_terms().table
    assert_allclose(*tables, rtol=AT_MAXIMUM)
    assert_allclose(het.anova(res), het.anova(plain), rtol=1e-6)
    a, b = (fit.bootstrap(3, rng=2).params for fit in (res, plain))
    kept = res.params.notna().to_numpy()
    assert_allclose(a[:, kept] / plain.bse.to_numpy(), b / plain.bse.to_numpy(), atol=AT_MAXIMUM)
    for name in ALIASED:
        with pytest.raises(ValueError, match="aliased"):
            res.t_test(f"{name} = 0")
        with pytest.raises(ValueError, match="aliased"):
            res.wald_test(f"x = 0, {name} = 0")
        with pytest.raises(ValueError, match="aliased"):
            res.t_test(np.eye(len(res.params)))


@pytest.mark.parametrize("kind", COVARIANCES)
@MAY_BE_INDEFINITE
def test_covariances_skip_aliased_columns(case, kind):
    res = quiet(case.formula("x + I(2 * x) | z"), **COVARIANCES[kind])
    plain = case.formula("x | z").fit(**COVARIANCES[kind])
    kept = res.params.notna()
    assert_allclose(res.bse[kept], plain.bse, rtol=AT_MAXIMUM)
