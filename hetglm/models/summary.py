"""Summary tables of a fit in statsmodels' two formats."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.iolib.summary import Summary, fmt_params
from statsmodels.iolib.summary2 import Summary as Summary2
from statsmodels.iolib.table import SimpleTable

from hetglm.exceptions import NotNestedError
from hetglm.inference import constant_dispersion
from hetglm.likelihood.links import link_text
from hetglm.models import summary_mixed
from hetglm.prediction import quantities
from hetglm.utils.display import (
    WIDTH,
    TitledSummary,
    coefficient_table,
    estimate_table,
    number,
    paragraph,
)

#: Format of rows of text: flush left, without rules.
_PLAIN = {"data_aligns": "l", "table_dec_above": None, "colsep": "", "data_fmts": ["%s"]}
#: Largest number of cells at the boundary that are listed one by one.
MAX_CELLS = 8
#: Default format of numbers in the second summary.
FLOAT_FORMAT = "%.4f"
#: Probabilities of the quantiles in the summary.
QUARTILES = (0, 0.25, 0.5, 0.75, 1)


def summary(
    res: Any, yname: str | None, xname: list[str] | None, title: str | None, alpha: float
) -> Summary:
    """Return the summary of a fit; see the results' method."""
    model = res.model
    names = list(xname) if xname is not None else model.parameter_names
    if len(names) != len(res.params):
        raise ValueError(f"xname: {len(names)} names for {len(res.params)} coefficients")
    out = TitledSummary()
    left, right = _top(res)
    out.add_table_2cols(
        res,
        gleft=left,
        gright=right,
        yname=yname or _short(model.endog_names),
        title=title or f"{type(model).__name__} Regression Results",
    )
    out.tables.append(_likelihood_rows(res))
    k = len(model.mean_names)
    mean_title = f"Mean: {link_text(model.core.link, 'mu')}"
    phi = model.core.family.symbol
    scale_title = f"Dispersion: {link_text(model.core.link_dispersion, phi)}"
    out.tables.append(_block(res, slice(0, k), names[:k], mean_title, alpha))
    both = k + len(model.dispersion_names)
    scale_names = [n.removeprefix("dispersion-") for n in names[k:both]]
    if model.core.dispersion_is_known:
        out.tables.append(SimpleTable([[_known_dispersion(res)]], title=scale_title))
    else:
        out.tables.append(_block(res, slice(k, both), scale_names, scale_title, alpha))
    if model.random:
        out.tables.append(_covariance_block(res, slice(both, None), names[both:], alpha))
    if model.core.n:
        out.tables.append(_quartiles(res))
    out.add_extra_txt(_notes(res))
    return out


def _top(res: Any) -> tuple[list[Any], list[Any]]:
    """Return the two columns of the top table."""
    family = res.model.core.family
    exact, kind = family.exact, "" if family.exact else " (EQL)"
    by, method = res.fit.criterion, "ML" if exact else "Maximum EQL"
    if not by.by_rows:
        method = f"{by.name}{kind}"
    criteria = [(f"AIC{kind}:", [f"{res.aic:.4f}"]), (f"BIC{kind}:", [f"{res.bic:.4f}"])]
    if not by.comparable_means:
        criteria = [(f"{by.name} Log-Lik.:", [f"{res.fit.maximum:.5f}"])]
    left = [
        ("Dep. Variable:", None),
        ("Model:", [type(res.model).__name__]),
        ("Family:", [family.name]),
        ("Method:", [method]),
        ("Date:", None),
        ("Time:", None),
        ("Covariance Type:", [res.cov_type]),
    ]
    right = [
        ("No. Observations:", [f"{res.nobs:.10g}"]),
        ("Df Residuals:", [f"{res.df_resid:.10g}"]),
        ("Df Model:", [f"{res.df_model:.10g}"]),
        ("Log-Likelihood:" if exact else "Log-EQL:", [f"{res.llf:.5f}"]),
        *criteria,
        ("Converged:", [f"{'yes' if res.converged else 'NO'}, {res.iterations} steps"]),
    ]
    return left, right


def _clusters(res: Any) -> str:
    """Return the number of clusters, of both ways for two-way clusters."""
    groups = res.cov_kwds.get("groups")
    if groups is None:
        return ""
    columns = np.asarray(groups).reshape(len(groups), -1).T
    return " x ".join(str(len(pd.unique(column))) for column in columns)


def _short(name: str) -> str:
    """Return the name of the response, shortened to its first column if too long."""
    return name if len(name) <= 18 else name.split(" + ")[0]


def _likelihood_rows(res: Any) -> SimpleTable:
    """Return the lines below the top table: variance, likelihood, rows left out and clusters."""
    family = res.model.core.family
    response = "the count" if family.counts_successes else "y"
    # four cells as in the top table: as_latex takes the widths of the narrowest row
    rows = [
        ["Variance:   ", f"Var({response}) = {family.variance_formula}", "", ""],
        ["Likelihood: ", _likelihood_text(res), "", ""],
    ]
    rows += [[f"{label:<12}", text, "", ""] for label, text in _random_rows(res)]
    lines = wrap(res.model.rows_text, WIDTH - len(rows[0][0]))
    rows += [["" if i else "Rows:       ", line, "", ""] for i, line in enumerate(lines)]
    if clusters := _clusters(res):
        rows.append(["Clusters:   ", clusters, "", ""])
    return SimpleTable(rows, txt_fmt=_PLAIN)


def _likelihood_text(res: Any) -> str:
    """Return what the likelihood is, and what it is adjusted for."""
    if res.model.random:
        return summary_mixed.likelihood_text(res)
    exact, by = res.model.core.family.exact, res.fit.criterion
    kind = "exact" if exact else "extended quasi-likelihood (EQL)"
    rest = "" if exact else "; not a distribution"
    return kind + (rest if by.comparable_means else f", adjusted for the mean ({by.name})")


def _random_rows(res: Any) -> list[tuple[str, str]]:
    return summary_mixed.rows(res) if res.model.random else []


def _block(res: Any, part: slice, names: list[str], title: str, alpha: float) -> SimpleTable:
    """Return the table of one part's coefficients."""
    columns = (res.params, res.bse, res.tvalues, res.pvalues, res.conf_int(alpha))
    rows = tuple(np.asarray(column)[part] for column in columns)
    return coefficient_table(names, rows, title, alpha, res.use_t)


def _known_dispersion(res: Any) -> str:
    """Return what a dispersion without coefficients is."""
    symbol = res.model.core.family.symbol
    given = res.model.core.offset_dispersion is not None
    return "known: offset_dispersion" if given else f"fixed: {symbol} = 1"


def _covariance_block(res: Any, part: slice, names: list[str], alpha: float) -> SimpleTable:
    """Return the table of the standard deviations and correlations of the random effects."""
    columns = (res.params, res.bse, res.conf_int(alpha))
    return estimate_table(names, [np.asarray(c)[part] for c in columns], "Random effects", alpha)


def _quartiles(res: Any) -> SimpleTable:
    """Return quartiles of the standardised residuals and of the fitted standard deviations."""
    core = res.core
    sd = quantities.predict(core, res.fit.internal, "sd")
    rows = [
        ("Standardised residuals", np.asarray(res.resid_pearson)),
        ("Fitted sd of the count" if core.family.counts_successes else "Fitted sd", sd),
    ]
    with np.errstate(
        invalid="ignore"
    ):  # interpolation between infinite values, where phi is infinite
        quartiles = [np.quantile(values, QUARTILES) for _, values in rows]
    data = [
        [number(q, digits=5) for q in np.nan_to_num(part, nan=np.inf, posinf=np.inf)]
        for part in quartiles
    ]
    header = ["min", "1Q", "median", "3Q", "max"]
    return SimpleTable(data, header, [name for name, _ in rows], txt_fmt=fmt_params)


def _notes(res: Any) -> list[str]:
    """Return the notes below the tables."""
    family = res.model.core.family
    untested = res.model.core.dispersion_is_known or res.model.random
    notes = [] if untested else [_constant_dispersion(res)]
    notes.append(res.cov_kwds.get("description", ""))
    if not family.exact:
        by, what = res.fit.criterion, "and so are AIC, BIC and every ratio"
        what = what if by.comparable_means else f"adjusted as {by.name} does"
        notes.append(f"The criterion is the extended quasi-likelihood (EQL), {what}.")
    notes += [f"Note: {note}" for note in res.notes]
    if res.boundary is not None and res.model.core.n and not res.model.random:
        notes += _boundary_lines(res)
    return [line for note in notes for line in paragraph(" ".join(note.split())).splitlines()]


def _constant_dispersion(res: Any) -> str:
    """Return the test of constant dispersion, or why there is none."""
    try:
        return str(constant_dispersion.compare_constant(res))
    except (NotNestedError, ValueError) as exc:
        return f"Test of constant dispersion: {exc}"


def _boundary_lines(res: Any) -> list[str]:
    """Return a line for each cell at the boundary, with the limit of its dispersion."""
    family, cells = res.model.core.family, len(res.boundary.cells)
    if cells > MAX_CELLS:
        return [f"{cells} cells are at the {family.limit_at_zero} boundary; see boundary_limits()."]
    return [
        f"At the {family.limit_at_zero} boundary: {cell} ({row['rows']:.0f} rows): {family.symbol} = 0, "
        f"95 % profile interval up to {row['upper']:.4g}"
        for cell, row in res.boundary_limits().iterrows()
    ]


def summary2(
    res: Any,
    yname: str | None,
    xname: list[str] | None,
    title: str | None,
    alpha: float,
    float_format: str,
) -> Summary2:
    """Return the summary in statsmodels' second format; see the results' method."""
    model = res.model
    names = list(xname) if xname is not None else model.parameter_names
    left, right = _top(res)
    pairs = [
        ("Dep. Variable:", [yname or _short(model.endog_names)]),
        *left[1:4],
        *left[6:],
        *right,
    ]
    cells = [(name, value[0]) for name, value in pairs]
    if clusters := _clusters(res):
        cells.append(("Clusters:", clusters))
    half = (len(cells) + 1) // 2
    cells += [("", "")] * (2 * half - len(cells))
    top = pd.DataFrame([[*cells[i], *cells[half + i]] for i in range(half)])
    ci = np.asarray(res.conf_int(alpha))
    stat = "t" if res.use_t else "z"
    table = pd.DataFrame(
        {
            "Coef.": np.asarray(res.params),
            "Std.Err.": np.asarray(res.bse),
            stat: np.asarray(res.tvalues),
            f"P>|{stat}|": np.asarray(res.pvalues),
            f"[{alpha / 2:g}": ci[:, 0],
            f"{1 - alpha / 2:g}]": ci[:, 1],
        },
        index=names,
    )
    fixed = len(model.coefficient_names)
    out = Summary2()
    out.add_title(title or f"Results: {type(model).__name__}")
    out.add_df(top, index=False, header=False, align="l")
    if float_format == FLOAT_FORMAT:
        table = table.apply(lambda column: [number(x) for x in column])
    out.add_df(table[:fixed], float_format=float_format)
    if model.random:
        out.add_df(table[fixed:].drop(columns=[stat, f"P>|{stat}|"]), float_format=float_format)
    lines = [f"{label} {text}" for label, text in _random_rows(res)]
    for line in filter(None, [*lines, model.rows_text, *_notes(res)]):
        out.add_text(line)
    return out
