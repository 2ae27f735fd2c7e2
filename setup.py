"""Only what pyproject.toml can't say: the C modules and the stable-ABI tag of its wheel."""

from setuptools import setup

setup(
    cffi_modules=["csrc/build.py:sampler", "csrc/build.py:owner_load"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
