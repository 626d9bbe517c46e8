"""Lists the packages and adds a file that is built; everything else is in pyproject.toml, which can do neither."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

INNER = ("dialect", "passes", "tools")  # each a folder of the root that is installed inside `gradcam`
FOLDERS = [pattern for name in INNER for pattern in (name, f"{name}.*")]


class BuildWithCharts(build_py):
    """Adds the chart library of report.html, which vl-convert-python takes a second to give."""

    def run(self) -> None:
        """Builds the package, then writes the library."""
        import vl_convert  # only a build has it

        super().run()
        self._library.parent.mkdir(parents=True, exist_ok=True)
        self._library.write_text(vl_convert.javascript_bundle(), encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The files of the package, the library among them."""
        return [*super().get_outputs(include_bytecode), str(self._library)]

    @property
    def _library(self) -> Path:
        return Path(self.build_lib, "gradcam/page/static/vega.js")


setup(
    packages=[*find_packages("python"), *(f"gradcam.{name}" for name in find_packages(include=FOLDERS))],
    cmdclass={"build_py": BuildWithCharts},
)
