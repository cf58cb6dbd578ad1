"""A simulated Finch for a laptop: consent pages, the token exchange and Connect sessions, as Finch documents them.

Where the documentation is silent, the simulator does what was seen in practice, or has a setting for both ways.
"""

from local.simulator.faults import Fault
from local.simulator.server import Call, Simulator

__all__ = ["Call", "Fault", "Simulator"]
