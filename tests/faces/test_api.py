"""What ``import hetglm`` gives."""

import subprocess
import sys

import pytest
from quick import thorough

import hetglm
import hetglm.api as het


@pytest.mark.parametrize("name", het.__all__)
def test_the_package_has_what_the_api_has(name):
    assert getattr(hetglm, name) is getattr(het, name)
    assert name in dir(hetglm)


@pytest.mark.parametrize("name", ["Anova", "_anova", "warn", "np"])
def test_the_package_has_nothing_else(name):
    with pytest.raises(AttributeError, match=f"^module 'hetglm' has no attribute '{name}'$"):
        getattr(hetglm, name)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "line",
    [
        "from hetglm import BetaBinomial, anova",
        *thorough(
            "import hetglm; hetglm.datasets.load_cats; hetglm.stepwise",
            "from hetglm import exceptions, models; models.DoubleGLM",
        ),
    ],
)
def test_names_are_read_when_first_used(line):
    # the command line's help does not wait for NumPy
    code = f"import sys, hetglm; assert 'numpy' not in sys.modules; {line}"
    subprocess.run([sys.executable, "-c", code], check=True)
