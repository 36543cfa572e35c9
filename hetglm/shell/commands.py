"""What ``python -m hetglm fit`` does: reads, checks, fits, writes and prints."""

from __future__ import annotations

import argparse
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.genmod import families

from hetglm import models
from hetglm.diagnostics.residuals import require_distribution
from hetglm.estimation.covariance import covariance_type
from hetglm.exceptions import UntestedTermWarning
from hetglm.inference.anova import anova
from hetglm.likelihood.adjusted_profile import REML
from hetglm.likelihood.objective import LIKELIHOOD
from hetglm.shell.files import DataFile, Format, check_folder, read_table, write
from hetglm.shell.options import FAMILIES, LINKS, MODELS
from hetglm.utils import axes
from hetglm.utils.messages import listed

#: Options of a doubleglm -> the family that they apply to.
DOUBLEGLM_ONLY = {
    "family": None,
    "likelihood": None,
    "alpha": "negative-binomial",
    "var_power": "tweedie",
}
#: Options that name a numeric column -> argument of the model.
NUMERIC = {
    "n_trials": "n_trials",
    "weights": "var_weights",
    "freq_weights": "freq_weights",
    "offset": "offset",
    "offset_dispersion": "offset_dispersion",
    "exposure": "exposure",
}
#: Names available in formulas in addition to the columns and patsy's functions.
NAMES = {"np": np}
#: File of the coefficients.
COEFFICIENTS = "coefficients.csv"
#: File of the diagnostic plots.
PLOT = "diagnostics.png"
#: Share of numbers in a text column from which the other values are reported as mistakes.
MIN_NUMBER_SHARE = 0.5
#: Share of values that look like dates from which a text column is treated as dates.
MIN_DATE_SHARE = 0.9
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([ T].*)?"
)
#: Share of distinct values in a text column from which they are unlikely to be labels.
MIN_DISTINCT_SHARE = 0.5
_MEASURED = re.compile(r"[-+<>=~$€£\s]*\d[\d.,' ]*\s*[^\W\d_%°]{0,4}[%°/.²³\w]*")
_COMMA_NUMBER = re.compile(r"[-+]?\d*,\d+")
#: Seconds after which a step is announced.
MIN_ANNOUNCED_SECONDS = 2.0


# -- the columns ------------------------------------------------------------------------------------


def check_columns(table: DataFile, args: argparse.Namespace) -> None:
    """Raise a ValueError where a column that should be numbers has text or dates."""
    columns = table.frame.columns
    for option in (*NUMERIC, "groups"):
        column, flag = getattr(args, option), f"--{option.replace('_', '-')}"
        if column is not None and column not in columns:
            raise ValueError(
                f"{flag} {column}: no such column; there are {listed(list(columns), 20)}"
            )
        if column is not None and option in NUMERIC:
            _check_numbers(table, column, 0.0, flag)
    formula = _without_labels(args.formula)
    for column in columns:
        if re.search(rf"(?<![\w.]){re.escape(column)}(?!\w|\s*\()", formula):
            if column in table.repeated:
                raise ValueError(f"column {column!r} is there twice; rename one of them")
            _check_dates(table.frame[column])
            _check_numbers(table, column, MIN_NUMBER_SHARE)
            _check_units(table.frame[column])


def _without_labels(formula: str) -> str:
    """Return a formula without what is inside ``C()``: labels may be of any kind."""
    while found := re.search(r"\bC\(", formula):
        depth, i = 1, found.end()
        while depth and i < len(formula):
            depth += {"(": 1, ")": -1}.get(formula[i], 0)
            i += 1
        formula = formula[: found.start()] + formula[i:]
    return formula


def _is_text(values: pd.Series) -> bool:
    return bool(pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values))


def _check_dates(values: pd.Series) -> None:
    given = values.dropna()
    dates = pd.api.types.is_datetime64_any_dtype(values)
    if not dates and _is_text(given) and len(given):
        dates = given.astype(str).str.fullmatch(_DATE.pattern).mean() >= MIN_DATE_SHARE
    if dates:
        name = values.name
        raise ValueError(
            f"column {name!r} has dates ({given.iloc[0]}): add a column of numbers to the file, such as "
            f"days since the first date, or write C({name}) for a level of its own for each date"
        )


def _check_numbers(table: DataFile, column: str, share: float, option: str = "") -> None:
    """Raise where a text column has at least a share of numbers; ``option`` needs nothing else."""
    given = table.frame[column].dropna()
    if not _is_text(given) or not len(given):
        return
    given = given.astype(str).str.strip()
    bad = given[pd.to_numeric(given, errors="coerce").isna()]
    numbers = 1 - len(bad) / len(given)
    if not len(bad) or numbers < share:
        return
    kinds = [repr(kind) for kind in bad.unique()]
    place = table.place + "s" * (len(bad) > 1)
    advice = []
    if bad.str.fullmatch(_COMMA_NUMBER.pattern).any():
        advice.append("for a decimal comma write --decimal ,")
    elif numbers >= MIN_NUMBER_SHARE:
        # argparse takes "-x" for an option
        marks = " ".join(f'--na{"=" if m[:1] == "-" else " "}"{m}"' for m in bad.unique()[:3])
        advice.append(f"if that marks a missing value, write {marks}")
    advice.append(f"{option} takes numbers" if option else f"for labels write C({column})")
    raise ValueError(
        f"column {column!r} should be numbers but has text: {listed(kinds, 3)} in {len(bad)} of "
        f"{len(table.frame)} rows ({place} {listed(list(bad.index[:5]))}{', ...' * (len(bad) > 5)}); "
        f"{'; '.join(advice)}"
    )


def _check_units(values: pd.Series) -> None:
    """Raise where text looks like numbers with units, a level for nearly each row."""
    given = values.dropna()
    if not _is_text(given) or given.nunique() <= MIN_DISTINCT_SHARE * len(given):
        return
    given = given.astype(str).str.strip()
    if given.str.fullmatch(_MEASURED.pattern).mean() > MIN_NUMBER_SHARE:
        raise ValueError(
            f"column {values.name!r} is text with {given.nunique()} different values, such as "
            f"{given.iloc[0]!r}: write numbers without units, signs of currency or separators of "
            f"thousands; for labels write C({values.name})"
        )


# -- the model --------------------------------------------------------------------------------------


def _check_covariance(args: argparse.Namespace) -> None:
    """Raise a ValueError for a covariance that the command line has not all arguments of."""
    kind = covariance_type(args.cov_type, REML if args.reml else LIKELIHOOD)
    if missing := set(kind.needs) - {"groups"}:
        raise ValueError(
            f"--cov-type {kind.name}: it needs {listed(sorted(missing))}, which are no options; use "
            "fit(cov_type=..., cov_kwds=...) in Python"
        )
    if (args.groups is not None) != ("groups" in kind.needs):
        raise ValueError("--groups and --cov-type cluster go together")


def check_options(args: argparse.Namespace) -> None:
    """Raise a ValueError where options do not go together, or nothing could be written."""
    _check_covariance(args)
    for option, family in DOUBLEGLM_ONLY.items():
        given, flag = getattr(args, option) is not None, option.replace("_", "-")
        if given and args.model in MODELS:
            raise ValueError(f"--{flag}: for --model doubleglm; {args.model} is a family itself")
        if given and family not in (None, args.family):
            raise ValueError(f"--{flag}: for --family {family} only")
    if args.bootstrap is not None and args.bootstrap < 1:
        raise ValueError(f"--bootstrap {args.bootstrap}: write the number of draws, such as 999")
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"--seed {args.seed}: write a number that is not negative")
    files = [COEFFICIENTS] + [PLOT] * args.plot
    check_folder(args.out, files, args.force)
    if args.plot:
        axes.require_matplotlib()


def build(args: argparse.Namespace, data: pd.DataFrame) -> Any:
    """Return the model of the command line."""
    arrays = {name: getattr(args, option) for option, name in NUMERIC.items()}
    arrays = {name: column for name, column in arrays.items() if column is not None}
    link = {} if args.link is None else {"link": getattr(families.links, LINKS[args.link])()}
    if args.model in MODELS:
        make = getattr(models, MODELS[args.model]).from_formula
        return make(args.formula, data, eval_env=NAMES, **arrays, **link)
    options = {name: getattr(args, name) for name in ("alpha", "var_power")}
    options = {name: value for name, value in options.items() if value is not None}
    with warnings.catch_warnings():
        # statsmodels warns of links it would not choose and of a default alpha
        warnings.simplefilter("ignore")
        family = getattr(families, FAMILIES[args.family or "gaussian"])(**link, **options)
    if args.likelihood is not None:
        arrays["likelihood"] = args.likelihood
    make = models.DoubleGLM.from_formula
    return make(args.formula, data, eval_env=NAMES, family=family, **arrays)


# -- what it gives ----------------------------------------------------------------------------------


def tidy(res: Any) -> pd.DataFrame:
    """Return the parameters, a row each: part, term, estimate, standard error, test, interval."""
    ci, names = np.asarray(res.conf_int()), res.model.parameter_names
    parts = {"mean": list(res.params_mean.index), "dispersion": list(res.params_dispersion.index)}
    parts["random effects"] = names[sum(map(len, parts.values())) :]
    return pd.DataFrame(
        {
            "part": [part for part, terms in parts.items() for _ in terms],
            "term": [term for terms in parts.values() for term in terms],
            "estimate": np.asarray(res.params),
            "std_error": np.asarray(res.bse),
            "statistic": np.asarray(res.tvalues),
            "p_value": np.asarray(res.pvalues),
            "conf_low": ci[:, 0],
            "conf_high": ci[:, 1],
        }
    )


def tests(res: Any, args: argparse.Namespace) -> str:
    """Return the comparison with constant dispersion, or with random effects Wald tests, as text."""
    if res.model.random and args.bootstrap is None:
        return str(res.wald_test_terms())
    simulated: dict[str, Any] = {}
    if args.bootstrap is not None:
        progress = False if args.quiet else None
        simulated = {
            "test": "bootstrap",
            "nrep": args.bootstrap,
            "rng": args.seed,
            "progress": progress,
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntestedTermWarning)  # the table has the reasons
        return str(anova(res, **simulated))


def save_plot(res: Any, path: Any, seed: int | None) -> None:
    """Save the diagnostic plots of a fit."""
    figure = res.plot_diagnostics(rng=seed)[0].figure
    write(path, lambda to: figure.savefig(to, dpi=120))


@contextmanager
def working(what: str, quiet: bool) -> Iterator[None]:
    """Announce a step on stderr if it takes longer than MIN_ANNOUNCED_SECONDS."""
    timer = threading.Timer(
        MIN_ANNOUNCED_SECONDS, print, [f"{what} ..."], {"file": sys.stderr, "flush": True}
    )
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def run_fit(args: argparse.Namespace) -> None:
    """Fit, print and write."""
    check_options(args)

    def say(text: str) -> None:
        if not args.quiet:
            print(text, end="\n\n")

    with working(f"Reading {args.data}", args.quiet):
        na = ["--" if mark == [] else mark for mark in args.na]  # argparse empties "--na=--"
        table = read_table(args.data, Format(args.sep, args.decimal, args.encoding, na))
        check_columns(table, args)
    with working(f"Fitting {len(table.frame)} rows", args.quiet):
        kwds = None if args.groups is None else {"groups": args.groups}
        model = build(args, table.frame)
        if args.bootstrap is not None:
            require_distribution(model.core, "simulated data for --bootstrap", "--cov-type HC1")
        res = model.fit(reml=args.reml, cov_type=args.cov_type, cov_kwds=kwds)
    # results first: what is printed may go to a pipe that closes
    write(args.out / COEFFICIENTS, lambda to: tidy(res).to_csv(to, index=False))
    say(f"Data: {table.description}")
    with working("Comparing with constant dispersion", args.quiet):
        say(str(res.summary()))
        say(tests(res, args))
    if args.plot:
        with working("Drawing the diagnostics", args.quiet):
            save_plot(res, args.out / PLOT, args.seed)
        say(f"Plot: {args.out / PLOT}")
    if not args.quiet:
        print(f"Coefficients: {args.out / COEFFICIENTS}")
