"""OPIXray-Sim: generated pseudo-colour X-ray images of luggage in OPIXray's own layout.

Start with :func:`generate` and a :class:`SimulationConfig`; :mod:`doamlib.simulation.render` builds
one scene step by step.
"""

from doamlib.simulation.config import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.generate import generate

__all__ = ["GENERATOR_VERSION", "SimulationConfig", "generate"]
