"""OPIXray-Sim: generated pseudo-colour X-ray images of luggage in OPIXray's own layout.

Start with :func:`generate` and a :class:`SimulationConfig`; :func:`render` builds one scene step by
step.
"""

from doamlib.simulation.config import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.dataset import generate, is_complete
from doamlib.simulation.scenes.steps import (
    Placement,
    Rendering,
    render,
    render_cutter,
    render_level,
)

__all__ = [
    "GENERATOR_VERSION",
    "Placement",
    "Rendering",
    "SimulationConfig",
    "generate",
    "is_complete",
    "render",
    "render_cutter",
    "render_level",
]
