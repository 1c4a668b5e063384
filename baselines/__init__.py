"""The paper's rivals. To import this package is to enter them into experiment/registry.py."""
from baselines import autodeco, edt, lpo                 # noqa: F401
