"""Only what pyproject.toml can't say: the C modules and the stable-ABI tag of its wheel."""

from setuptools import setup

setup(
    cffi_modules=["csrc/build_sampler.py:ffibuilder", "csrc/build_load.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
