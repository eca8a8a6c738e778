"""Arrays that fail where 32 bits would wrap around."""

import numpy as np

from tflm_fg import signatures


class Checked(np.ndarray):
  """An int32 array whose arithmetic must fit int32."""

  def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
    plain = [
      np.asarray(i).astype(np.int64)
      if isinstance(i, np.ndarray) and i.dtype == np.int32
      else np.asarray(i)
      for i in inputs
    ]
    if kwargs.get("dtype") == np.int32:
      kwargs["dtype"] = np.int64
    found = getattr(ufunc, method)(*plain, **kwargs)
    if found.dtype != np.int64:
      return found
    assert found.size == 0 or found.min() >= -(2**31)
    assert found.size == 0 or found.max() < 2**31
    return found.astype(np.int32).view(Checked)


class CheckedEngine(signatures.NumpyEngine):
  """Runs an algorithm, and fails where 32 bits would wrap around."""

  def constant(self, values, dtype="int32"):
    return super().constant(values, dtype).view(Checked)

  def cast(self, x, dtype):
    fits = np.asarray(x).astype(dtype)
    if np.issubdtype(x.dtype, np.integer) and dtype != "float32":
      assert np.array_equal(fits, np.asarray(x)), f"does not fit {dtype}"
    return fits.view(Checked)

  def read(self, variable):
    return super().read(variable).view(Checked)

  def filled(self, shape, value, dtype):
    return super().filled(shape, value, dtype).view(Checked)
