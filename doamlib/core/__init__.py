"""What every room stands on and none of the paper is in.

Validated configurations and their digests, where files lie and how they are written in one step,
number formats of the forward pass, provenance, processes. Nothing here knows an X-ray image or a
network; whatever does belongs higher up.
"""
