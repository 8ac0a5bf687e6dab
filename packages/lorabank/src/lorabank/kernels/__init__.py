"""The hot path's numerics behind one small interface: numpy always, a compiled one if found."""

from lorabank.kernels.batch import KernelBatch
from lorabank.kernels.choice import list_kernels, open_kernel
from lorabank.kernels.protocol import Kernel
from lorabank.kernels.reference import NUMPY, NumpyKernel

__all__ = ["NUMPY", "Kernel", "KernelBatch", "NumpyKernel", "list_kernels", "open_kernel"]
