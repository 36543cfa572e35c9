"""What a fit is worth: the methods of results that hand to `diagnosis`."""

from __future__ import annotations

from statsmodels.base.model import GenericLikelihoodModelResults

from hetglm.diagnostics import findings


class Choice(GenericLikelihoodModelResults):
    """What helps to decide whether to trust a fit."""

    def diagnose(self) -> findings.Diagnosis:
        """
        Return what may be wrong with the fit, in plain words.

        Looked for are a search that did not converge, a separated mean, cells at the boundary of the
        dispersion, cells of one row, aliased columns, Wald tests that fail (Hauck and Donner 1977), an
        information that is near-singular, huge leverages, and cells of the dispersion with a handful
        of rows.

        Returns
        -------
        Diagnosis
            A list of `Finding`, each with ``kind``, ``term``, ``evidence`` and ``remedy``; empty where
            nothing was found. Prints as numbered paragraphs.

        Raises
        ------
        ValueError
            If the data of the fit were removed.

        Examples
        --------
        >>> import hetglm.api as het
        >>> import hetglm.formula.api as hmf
        >>> print(hmf.doubleglm("Hwt ~ Bwt | Bwt", het.datasets.load_cats()).fit().diagnose())
        No problems found by the checks that were run (convergence, unbounded, edge,
        several maxima, separation, boundary, aliased, single row, few rows,
        Hauck-Donner, near-singular, leverage, small counts).
        """
        return findings.diagnose(self)
