"""The built-in simulated provider, `sim/…`: deterministic, honest about being simulated, and without a network."""

from llmlens.gateway.sim.upstream import SimReply, SimUpstream

__all__ = ["SimReply", "SimUpstream"]
