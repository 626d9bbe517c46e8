"""Lists the packages; everything else is in pyproject.toml, which has no way to find them in folders side by side."""

from setuptools import find_packages, setup

INNER = ("dialect", "passes", "tools")  # each a folder of the root that is installed inside `gradcam`
FOLDERS = [pattern for name in INNER for pattern in (name, f"{name}.*")]

setup(packages=[*find_packages("python"), *(f"gradcam.{name}" for name in find_packages(include=FOLDERS))])
