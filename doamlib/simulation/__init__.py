"""OPIXray-Sim: generated pseudo-colour X-ray images of luggage in OPIXray's own layout."""
