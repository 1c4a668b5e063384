"""The paper's baselines. Importing this package enters them into experiment/registry.py."""
from baselines import autodeco, edt, lpo                 # noqa: F401
