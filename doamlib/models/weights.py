"""Weights on disk (safetensors), and warm starts from another detector."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from doamlib.core.files import write_bytes

Source = Mapping[str, Tensor] | Path | str


def save_weights(detector: nn.Module, path: Path | str) -> None:
    """Write a detector's tensors, and its configuration beside them, to ``path`` in one step.

    Args:
        detector: a :class:`doamlib.models.detector.Detector`.
        path: the safetensors file; replaced if it exists.
    """
    tensors = {name: value.contiguous().cpu() for name, value in detector.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"config": detector.config.as_json()}))


def load_weights(detector: nn.Module, source: Source) -> list[str]:
    """Warm start: take over what fits, leave the rest as it was initialised.

    Batch normalisation that only the source has is folded into its convolutions.

    Three things may be left: DOAM and rivals that the source does not have; output layers of
    another shape, because the number of classes or of priors differs; and the first convolution,
    where the configuration asks for a fresh one. A three-channel first convolution is taken over
    behind DOAM too, with zeros for the edge channel. Anything else that does not fit is an error.

    Args:
        detector: a :class:`doamlib.models.detector.Detector`, changed in place.
        source: a state dict, or a safetensors file written by :func:`save_weights`.

    Returns:
        Names of the tensors that were left as initialised.

    Raises:
        ValueError: the file cannot be read, or a tensor is missing, unknown or of another shape.
    """
    tensors = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    own = detector.state_dict()
    tensors = fold_batch_norm(tensors, keep=own)
    _fit_first_convolution(detector, tensors)
    outputs = tuple(f"network.{name}." for name in detector.network.output_layers)
    for name in [name for name in tensors if name in own and name.startswith(outputs)]:
        if tensors[name].shape != own[name].shape:
            del tensors[name]
    try:
        left, unknown = detector.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f"width, image_size or DOAM differ from the source: {error}") from None
    may_be_left = (*outputs, "doam.")
    if detector.config.fresh_first_layer:
        may_be_left += (f"network.{detector.network.first_layer}.weight",)
    lost = [name for name in left if not name.startswith(may_be_left) and ".attention." not in name]
    if lost or unknown:
        raise ValueError(
            f"not the same detector: the source lacks {lost[:3]} and only it has {unknown[:3]}"
        )
    return left


def fold_batch_norm(
    tensors: Mapping[str, Tensor], keep: Container[str] = (), eps: float = 1.0e-5
) -> dict[str, Tensor]:
    """Merge each ``NAME.norm`` into the convolution NAME: the same function in evaluation mode.

    Tensors named in ``keep`` stay: a normalisation that the detector has itself.

    With scale g, shift b, mean m and variance v of the normalisation, the kernel becomes
    ``w g / sqrt(v + eps)`` and the bias ``(bias - m) g / sqrt(v + eps) + b``.
    """
    layers = [n.removesuffix(".norm.running_var") for n in tensors if n.endswith("running_var")]
    layers = [n for n in layers if f"{n}.weight" in tensors and f"{n}.norm.weight" not in keep]
    merged = tuple(f"{layer}.norm." for layer in layers)
    folded = {name: value for name, value in tensors.items() if not name.startswith(merged)}
    for layer in layers:
        scale, shift, mean = (
            tensors[f"{layer}.norm.{part}"].float() for part in ("weight", "bias", "running_mean")
        )
        variance = tensors[f"{layer}.norm.running_var"].float()
        factor = scale / (variance + eps).sqrt()
        folded[f"{layer}.weight"] = tensors[f"{layer}.weight"].float() * factor.view(-1, 1, 1, 1)
        folded[f"{layer}.bias"] = (tensors[f"{layer}.bias"].float() - mean) * factor + shift
    return folded


def _fit_first_convolution(detector: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Drop the source's first kernels, or give them a channel of zeros, as the detector needs."""
    name = f"network.{detector.network.first_layer}.weight"
    if detector.config.fresh_first_layer:
        tensors.pop(name, None)
    elif name in tensors and detector.doam is not None and tensors[name].shape[1] == 3:
        kernels = tensors[name]
        tensors[name] = torch.cat([kernels, torch.zeros_like(kernels[:, :1])], dim=1)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, UnpicklingError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as weights ({error})") from None
    if isinstance(tensors, Mapping) and all(isinstance(v, Tensor) for v in tensors.values()):
        return dict(tensors)
    raise ValueError(f"{path}: cannot be read as weights (it holds other things than tensors)")
