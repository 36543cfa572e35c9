"""The description that PyPI shows: the README without pictures, whose paths hold in a checkout only."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.rst").read_text(encoding="utf-8")

setup(
    long_description=re.sub(r"^\.\. image::.*\n(?:[ ]+.*\n)*\n", "", README, flags=re.MULTILINE),
    long_description_content_type="text/x-rst",
)
