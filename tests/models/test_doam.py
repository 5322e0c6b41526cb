"""DOAM against the official module's numbers, the paper's equations, and its contract."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.testing import assert_close

from doamlib.models.doam import (
    DOAM,
    DOAMConfig,
    GatedConvolution,
    RegionAverage,
    RegionInformationAggregation,
)
from doamlib.models.edges import SobelEdges, normalise_edges
from doamlib.models.official import load_official_state_dict

GOLDEN = Path(__file__).parents[1] / "data" / "models" / "doam_reference_seed11.npz"
BGR_EDGE = [2, 1, 0, 3]
ARMS = {
    "reference": DOAMConfig(gamma=0.5),
    "paper": DOAMConfig.paper(),
    "edge guidance": DOAMConfig.edge_guidance_only().model_copy(update={"gamma": 0.5}),
    "no gate": DOAMConfig.without_gate().model_copy(update={"gamma": 0.5}),
    "material only": DOAMConfig(edge_guidance=False, gamma=0.5),
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as archive:
        return dict(archive)


def official_tensors(golden):
    return {k.removeprefix("param/"): v for k, v in golden.items() if k.startswith("param/")}


def photo(batch=2, height=41, width=33, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator) * 255


def build(config, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DOAM(config)


def test_golden_attention_and_output(golden):
    """Paper: Algorithm 1; Eq. 7, 8; Fig. 3."""
    module = build(DOAMConfig.official()).eval()
    load_official_state_dict(module, official_tensors(golden))
    images = torch.from_numpy(golden["input"]).float().flip(1)
    with torch.no_grad():
        output, attention = module(images, return_attention=True)
    sampled = attention[..., ::7, ::7]
    assert_close(sampled, torch.from_numpy(golden["attention"]), rtol=0, atol=1e-4)
    # Output values reach 255, where the official float32 result is itself 1e-3 off the exact one.
    sampled = output[:, BGR_EDGE, ::7, ::7]
    assert_close(sampled, torch.from_numpy(golden["output"]), rtol=1e-4, atol=1e-4)


def test_the_official_map_acts_through_gamma_alone(golden):
    """The official output is the official input weighed by the official map, as gamma says."""
    gamma, image = golden["param/gamma"], golden["input"][..., ::7, ::7].astype(np.float64)
    weight = 1 + gamma * (golden["attention"] - 1)
    np.testing.assert_allclose(golden["output"][:, :3], weight * image, rtol=1e-4, atol=1e-4)
    assert gamma == pytest.approx(0.6) and np.ptp(weight) > 0.5


def test_golden_numbers_tell_the_colour_order(golden):
    config = DOAMConfig.official(channel_order="rgb")
    module = build(config).eval()
    load_official_state_dict(module, official_tensors(golden))
    with torch.no_grad():
        _, attention = module(torch.from_numpy(golden["input"]).float().flip(1), True)
    assert (attention[..., ::7, ::7] - torch.from_numpy(golden["attention"])).abs().max() > 1e-3


def test_padding_makes_both_normalisations_agree_on_bright_frames(golden):
    """Zero padding puts the strongest edge of every white-framed image into its corner."""
    edges = SobelEdges()(torch.from_numpy(golden["input"]).float().flip(1))
    assert_close(normalise_edges(edges, "image"), normalise_edges(edges, "batch"))
    inside = edges[..., 1:-1, 1:-1]
    assert inside.max() < edges.amax((1, 2, 3)).min()


def test_reference_has_the_published_number_of_parameters():
    module = build(DOAMConfig())
    assert sum(p.numel() for p in module.parameters()) == 23_740
    assert sum(b.numel() for b in module.sobel.buffers()) == 18


def test_official_state_dict_names_its_faults(golden):
    module = build(DOAMConfig())
    tensors = official_tensors(golden)
    with pytest.raises(ValueError, match="lacks 'gamma'"):
        load_official_state_dict(module, {k: v for k, v in tensors.items() if k != "gamma"})
    with pytest.raises(ValueError, match=r"unknown.*stranger"):
        load_official_state_dict(module, tensors | {"stranger": np.zeros(1)})
    with pytest.raises(ValueError, match="copies of its edge kernels differ"):
        load_official_state_dict(module, tensors | {"weight_hori": np.zeros((1, 1, 3, 3))})
    both = {name: np.zeros((1, 1, 3, 3)) for name in ("weight_hori", "weight_const_hori")}
    with pytest.raises(ValueError, match="other kernels than Sobel"):
        load_official_state_dict(module, tensors | both)
    wrong = {"gamma": np.array(1.0), "weight_hori": np.zeros(3)}
    wrong["conv2d_1_rgb_red_concat_5.conv2d_1_rgb_red_concat_5.weight"] = np.zeros(3)
    for name, value in wrong.items():
        with pytest.raises(ValueError, match="has another shape"):
            load_official_state_dict(module, tensors | {name: value})
    with pytest.raises(ValueError, match="not shaped like the official one"):
        load_official_state_dict(build(DOAMConfig.paper()), tensors)


def region_average_by_eq_5(features, k):
    """Eq. 5, its upper bounds corrected to k terms and cut at the border, one pixel at a time."""
    _, _, height, width = features.shape
    out = torch.empty_like(features)
    for i in range(height):
        for j in range(width):
            rows = range(i - i % k, min(i - i % k + k, height))
            columns = range(j - j % k, min(j - j % k + k, width))
            total = sum(features[:, :, m, n] for m in rows for n in columns)
            out[:, :, i, j] = total / (len(rows) * len(columns))
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 13), st.integers(1, 13), st.integers(0, 99))
def test_region_average_is_eq_5_with_ragged_borders(k, height, width, seed):
    """Paper: Eq. 5."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(1, 2, height, width, generator=generator)
    assert_close(
        RegionAverage(k)(features), region_average_by_eq_5(features, k), rtol=1e-5, atol=1e-6
    )


def test_region_convolutions_equal_convolutions_of_the_concatenation():
    config = DOAMConfig(gate=False, region_sizes=(3, 4))
    regions = RegionInformationAggregation(2, config)
    features = torch.rand(1, 2, 11, 10)
    locals_ = zip(regions.local.weight.chunk(2), regions.local.bias.chunk(2), strict=True)
    expected = []
    for k, (weight, bias), regional in zip((3, 4), locals_, regions.regional, strict=True):
        concatenated = torch.cat([features, region_average_by_eq_5(features, k)], dim=1)
        kernel = torch.cat([weight, regional.weight], dim=1)
        expected.append(torch.nn.functional.conv2d(concatenated, kernel, bias, padding=1))
    assert_close(regions(features), torch.cat(expected, dim=1), rtol=1e-5, atol=1e-6)


def test_without_region_convolution_the_union_is_features_and_averages():
    """Paper: Eq. 14."""
    config = DOAMConfig.paper(gate=False, region_sizes=(3, 4))
    features = torch.rand(1, 2, 11, 10)
    averages = [region_average_by_eq_5(features, k) for k in (3, 4)]
    expected = torch.cat([features, averages[0], features, averages[1]], dim=1)
    union = RegionInformationAggregation(2, config)(features)
    assert_close(union, expected, rtol=1e-5, atol=1e-6)


def test_gate_is_feature_times_sigmoid_of_mask_then_norm():
    """Paper: Eq. 6."""
    gate = GatedConvolution(3, 2)
    x = torch.rand(4, 3, 7, 7)
    weight, bias = gate.features_and_mask.weight, gate.features_and_mask.bias
    features = torch.nn.functional.conv2d(x, weight[:2], bias[:2], padding=1)
    mask = torch.nn.functional.conv2d(x, weight[2:], bias[2:], padding=1)
    gated = features / (1 + torch.exp(-mask))
    mean, variance = gated.mean((0, 2, 3), keepdim=True), gated.var((0, 2, 3), False, keepdim=True)
    expected = (gated - mean) / torch.sqrt(variance + 1e-5)
    assert_close(gate(x), expected, rtol=1e-4, atol=1e-5)


def test_sobel_on_a_step_and_a_ramp():
    """Paper: Algorithm 1."""
    step = torch.zeros(1, 3, 5, 6)
    step[:, 0, :, 3:] = 10.0
    edges = SobelEdges()(step)[0, 0, 1:-1]
    assert_close(edges[:, 2:4], torch.full((3, 2), 40.0))
    assert_close(edges[:, 1], torch.zeros(3), rtol=0, atol=1e-5)
    ramp = torch.zeros(1, 3, 8, 8)
    ramp[:, 0] = 3.0 * torch.arange(8)[:, None] + 4.0 * torch.arange(8)
    inside = SobelEdges()(ramp)[..., 1:-1, 1:-1]
    assert_close(inside, torch.full((1, 1, 6, 6), 8 * 5.0))  # 8 times the slope's length


def test_the_strongest_edge_of_all_is_1140():
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 255.0])] * 9).view(-1, 1, 3, 3)
    strongest = SobelEdges()(bits.expand(-1, 3, -1, -1))[:, 0, 1, 1].max()
    assert_close(strongest, torch.tensor(255 * 20**0.5))
    assert 1140 < strongest < 1141


def test_edge_channel_red_or_mean():
    images = photo()
    only_red = images.clone()
    only_red[:, 1:] = 0
    assert_close(SobelEdges("red")(only_red), SobelEdges("red")(images), rtol=0, atol=0)
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert_close(SobelEdges("mean")(images), SobelEdges("red")(grey), rtol=1e-5, atol=1e-3)


def test_edge_normalisation_spans_image_or_batch():
    edges = torch.stack([torch.arange(12.0).view(1, 3, 4), 10 * torch.arange(12.0).view(1, 3, 4)])
    assert_close(normalise_edges(edges, "image")[0], normalise_edges(edges, "image")[1])
    assert_close(normalise_edges(edges, "batch")[0].amax(), torch.tensor(0.1))
    assert_close(normalise_edges(torch.full((1, 1, 3, 3), 7.0)), torch.zeros(1, 1, 3, 3))


@pytest.mark.parametrize("config", ARMS.values(), ids=ARMS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (30, 30), (31, 62)])
def test_shapes_and_ranges(config, size):
    module = build(config).eval()
    output, attention = module(photo(2, *size), return_attention=True)
    assert output.shape == (2, 4, *size) and output.dtype == torch.float32
    assert attention.shape == (2, 1, *size)
    assert attention.min() >= 0 and attention.max() <= 1
    assert torch.isfinite(output).all()


def test_concat_only_returns_image_and_edges():
    """Paper: Eq. 16."""
    module, images = build(DOAMConfig.concat()), photo()
    output, attention = module(images, return_attention=True)
    assert attention is None
    assert list(module.parameters()) == []
    assert_close(output[:, :3], images, rtol=0, atol=0)
    assert_close(output[:, 3:], 255 * normalise_edges(SobelEdges()(images)), rtol=0, atol=0)


@pytest.mark.parametrize("config", ARMS.values(), ids=ARMS)
def test_output_is_the_blend_of_the_equation(config):
    """Paper: Eq. 9."""
    module, images = build(config).eval(), photo()
    output, attention = module(images, return_attention=True)
    plain = build(DOAMConfig.concat().model_copy(update={"edge_channel": config.edge_channel}))
    plain = plain(images)
    gamma = 1.0 if config.gamma is None else 0.5
    assert_close(output, gamma * (attention * plain) + (1 - gamma) * plain, rtol=1e-5, atol=1e-4)
    assert attention.std() > 0


def test_gamma_zero_passes_the_image_through_bit_by_bit():
    images = photo()
    assert torch.equal(build(DOAMConfig())(images)[:, :3], images)


@pytest.mark.parametrize("config", ARMS.values(), ids=ARMS)
def test_gradients_reach_every_parameter(config):
    module = build(config)
    module(photo()).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradient_to_a_flat_image_is_finite():
    images = torch.zeros(1, 3, 12, 12, requires_grad=True)
    build(DOAMConfig(gamma=0.5))(images).sum().backward()
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("normalisation", ["image", "batch"])
def test_neighbours_matter_only_with_batch_normalisation(normalisation):
    config = DOAMConfig(gamma=0.5, edge_normalisation=normalisation)
    module = build(config).eval()
    quiet, loud = photo(1) / 10, photo(1, seed=1)
    alone, together = module(quiet), module(torch.cat([quiet, loud]))[:1]
    if normalisation == "image":
        assert_close(together, alone, rtol=1e-5, atol=1e-4)
    else:
        assert (together - alone).abs().max() > 1


def test_state_dict_round_trip():
    first, second = build(ARMS["reference"], seed=1).eval(), build(ARMS["reference"], seed=2).eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(photo()), second(photo()))


def test_input_is_not_mutated():
    images = photo()
    before = images.clone()
    build(ARMS["paper"])(images).sum().backward()
    assert torch.equal(images, before)


def test_paper_preset_repeats_blocks_n1_and_n2_times():
    """Paper: Eq. 1 to 4."""
    module = build(DOAMConfig.paper(n1=3, n2=4, width=6))
    for steps, count in ((module.edge_guidance.steps, 3), (module.material.steps, 4)):
        kinds = [type(layer).__name__ for layer in steps]
        assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * count
    assert module.attention.fusion.kernel_size == (1, 1)
    assert not hasattr(module, "gamma")


def test_slimmed_divides_channels_and_nothing_else():
    whole = DOAMConfig()
    assert whole.slimmed(1.0) == whole
    half = whole.slimmed(0.5)
    assert half.edge_channels == (4, 8, 8, 4, 1)
    assert half.material_channels == (4, 8, 16, 8, 4)
    channels = {"edge_channels", "material_channels"}
    assert half.model_dump(exclude=channels) == whole.model_dump(exclude=channels)
    assert build(half)(torch.rand(1, 3, 20, 20) * 255).shape == (1, 4, 20, 20)
    assert set(whole.slimmed(0.01).material_channels) == {1}


@pytest.mark.parametrize(
    "wrong",
    [{"edge_channels": ()}, {"region_sizes": (0,)}, {"blocks": "conv"}, {"fusion_kernel": 2}],
)
def test_configuration_refuses(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DOAMConfig(**wrong)


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match=r"N,3,H,W; got shape \(2, 4, 8, 8\)"):
        DOAM()(torch.zeros(2, 4, 8, 8))


@pytest.mark.slow
def test_standardised_inputs_keep_the_map_off_its_ends():
    """On noise, all of it edges, and without the batch's statistics: the code's worst case."""
    images = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 255
    saturated = {}
    for inputs in ("pixels", "standardised"):
        found = []
        for seed in range(8):
            torch.manual_seed(seed)
            doam = DOAM(DOAMConfig(branch_inputs=inputs)).eval()
            with torch.no_grad():
                attention = doam(images, return_attention=True)[1]
            found.append(float(((attention < 0.01) | (attention > 0.99)).float().mean()))
        saturated[inputs] = max(found)
    assert saturated["pixels"] > 0.5
    assert saturated["standardised"] == 0


def test_standardised_inputs_change_what_the_branches_read_and_nothing_else():
    torch.manual_seed(0)
    config = DOAMConfig(branch_inputs="standardised", gamma=None)
    doam, images = DOAM(config).eval(), 255 * torch.rand(1, 3, 24, 24)
    seen = {}
    doam.material.register_forward_pre_hook(lambda _, given: seen.update(plain=given[0]))
    doam.edge_guidance.register_forward_pre_hook(lambda _, given: seen.update(edges=given[0]))
    with torch.no_grad():
        weighted, attention = doam(images, return_attention=True)
        edges = doam.sobel(images)
    torch.testing.assert_close(seen["edges"], edges / 256)
    torch.testing.assert_close(seen["plain"][:, [2, 1, 0]], (images - 128) / 64)
    torch.testing.assert_close(weighted[:, :3], attention * images)
