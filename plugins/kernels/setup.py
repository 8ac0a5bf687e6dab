"""The extension module. Without a compiler the package is installed without it, and says so."""

from __future__ import annotations

import os

from setuptools import Extension, setup

SOURCE = "src/lorabank_kernels"
# No -ffast-math: it changes the process's floating-point mode. No -march=native: wheels travel.
FLAGS = ["-std=c11", "-O3", "-g0", "-fno-math-errno", "-fvisibility=hidden", "-Wno-psabi"]

setup(
    ext_modules=[
        Extension(
            "lorabank_kernels._lora",
            sources=[
                f"{SOURCE}/{name}.c"
                for name in ("_lora", "lora_portable", "lora_avx2", "lora_avx512")
            ],
            depends=[f"{SOURCE}/{name}.h" for name in ("arguments", "lora", "lora_simd")],
            extra_compile_args=FLAGS if os.name == "posix" else [],
            py_limited_api=True,
            optional=not os.environ.get("LORABANK_KERNELS_REQUIRED"),
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
