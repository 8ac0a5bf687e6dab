"""Every law is proved for numpy and for each compiled variant that this processor can run."""

from __future__ import annotations

import pytest

from lorabank.kernels import NUMPY, Kernel

try:
    import lorabank_kernels

    VARIANTS = lorabank_kernels.variants()
except ImportError:  # `test_choice` fails if there is a compiler
    VARIANTS = []


@pytest.fixture(scope="session", params=["numpy", *VARIANTS])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """One kernel after the other."""
    return NUMPY if request.param == "numpy" else lorabank_kernels.load(request.param)


@pytest.fixture(scope="session", params=VARIANTS)
def compiled(request: pytest.FixtureRequest) -> Kernel:
    """The compiled ones alone."""
    return lorabank_kernels.load(request.param)
