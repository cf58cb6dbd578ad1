"""A Finch that runs on a laptop: consent pages, the token exchange and Connect sessions, as Finch documents them.

Wherever the documentation is silent, the simulator does what was seen in practice, or has a setting for either way.
"""

from local.simulator.faults import Fault
from local.simulator.server import Call, Simulator

__all__ = ["Call", "Fault", "Simulator"]
