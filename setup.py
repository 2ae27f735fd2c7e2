"""Only what pyproject.toml can't say: the C module and the stable-ABI tag of its wheel."""

from setuptools import setup

setup(
    cffi_modules=["csrc/build_sampler.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
