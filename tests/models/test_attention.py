"""The rivals against their equations written out."""

import pytest
import torch
from torch.testing import assert_close

from doamlib.models import attention
from doamlib.models.attention import (
    ChannelAttention,
    PositionAttention,
    attend,
    make_attention,
)
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector

RIVALS = ["se", "nonlocal", "dual"]


def features(channels=16, side=7, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, side, side + 2, generator=generator)


def built(name, channels=16, seed=0):
    """A block whose scalars and zero-started layers are not at their identity start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        block = make_attention(name, channels)
        for parameter in block.parameters():
            if parameter.detach().abs().sum() == 0:
                torch.nn.init.normal_(parameter)
    return block


def attend_by_pairs(query, key, value):
    """sum_j softmax_j(q_i . k_j) v_j, one position i at a time."""
    q, k, v = (x.flatten(2) for x in (query, key, value))
    out = torch.empty(len(q), v.shape[1], q.shape[2])
    for b in range(len(q)):
        for i in range(q.shape[2]):
            weights = torch.exp(q[b, :, i] @ k[b])
            out[b, :, i] = v[b] @ (weights / weights.sum())
    return out.view(len(q), -1, *query.shape[-2:])


def test_attend_is_the_softmax_sum_over_all_positions():
    query, key, value = features(4), features(4, seed=1), features(6, seed=2)
    assert_close(attend(query, key, value), attend_by_pairs(query, key, value))


def test_attend_pools_keys_only_where_there_are_too_many(monkeypatch):
    query, key, value = features(4), features(4, seed=1), features(6, seed=2)
    monkeypatch.setattr(attention, "MAX_KEYS", 20)  # 7 x 9 positions: 4 x 5 blocks of two remain
    pooled = [torch.nn.functional.max_pool2d(x, 2, ceil_mode=True) for x in (key, value)]
    assert_close(attend(query, key, value), attend_by_pairs(query, *pooled))


def test_attend_on_the_largest_map_stays_small():
    from torch.profiler import ProfilerActivity, profile

    query = torch.randn(1, 8, 150, 150, generator=torch.Generator().manual_seed(0))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        attend(query, query, query)
    largest = max(event.self_cpu_memory_usage for event in record.key_averages())
    assert largest < 8 * query.nbytes


def test_squeeze_excitation_equals_its_equation():
    """Paper: Eq. 15."""
    block, x = built("se", 128), features(128)
    first, second = (fc.weight.flatten(1) for fc in (block.fc1, block.fc2))
    assert first.shape == (8, 128)
    hidden = (x.mean(dim=(2, 3)) @ first.T + block.fc1.bias).clamp(min=0)
    share = 1 / (1 + torch.exp(-(hidden @ second.T + block.fc2.bias)))
    at_start = 1 / (1 + torch.exp(torch.tensor(-3.0)))
    assert share.std() > 0.01
    assert_close(block(x), x * share[..., None, None] / at_start)


def test_nonlocal_equals_its_equation():
    """Paper: Eq. 13."""
    block, x = built("nonlocal").eval(), features()
    y = attend_by_pairs(block.theta(x), block.phi(x), block.g(x))
    assert_close(block(x), x + block.norm(block.w(y)), rtol=1e-4, atol=1e-5)


def test_position_attention_equals_its_equation():
    block, x = PositionAttention(16), features()
    assert torch.equal(block(x), x)
    torch.nn.init.constant_(block.gamma, 0.7)
    y = attend_by_pairs(block.query(x), block.key(x), block.value(x))
    assert_close(block(x), 0.7 * y + x, rtol=1e-4, atol=1e-5)


def test_channel_attention_equals_its_equation():
    block, x = ChannelAttention(), features(5) / 4
    assert torch.equal(block(x), x)
    torch.nn.init.constant_(block.beta, 0.7)
    expected = x.clone()
    for b in range(2):
        for j in range(5):
            weights = torch.stack([(x[b, i] * x[b, j]).sum().exp() for i in range(5)])
            mixed = sum(w * x[b, i] for i, w in enumerate(weights / weights.sum()))
            expected[b, j] += 0.7 * mixed
    assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_dual_attention_adds_both_branches():
    block, x = built("dual").eval(), features()
    expected = x + block.output(block.position(x) + block.channel(x))
    assert_close(block(x), expected)
    assert (block.position(x) - block.channel(x)).abs().max() > 0.01


@pytest.mark.parametrize("name", RIVALS)
def test_starts_as_the_identity(name):
    assert_close(make_attention(name, 64)(features(64)), features(64))


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("training", [True, False])
def test_plugged_into_a_detector_it_changes_no_output_at_its_start(name, training):
    config = DetectorConfig(width=0.125, image_size=96)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    outputs = []
    for attention_name in ("none", name):
        changed = config.model_copy(update={"attention": attention_name})
        detector = build_detector(changed, seed=0).train(training)
        with torch.no_grad():
            outputs.append(detector.network(detector.network_input(255 * images)))
    for key in ("logits", "offsets"):
        assert_close(outputs[1][key], outputs[0][key], rtol=1e-4, atol=1e-5)
    assert outputs[0]["logits"].std() > 1e-4


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("shape", [(2, 16, 1, 1), (1, 64, 5, 3), (2, 16, 41, 43)])
def test_shapes_and_gradients(name, shape):
    block = built(name, shape[1])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    block.train(shape[0] > 1)
    output = block(x)
    assert output.shape == x.shape and output.dtype == x.dtype
    output.square().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", RIVALS)
def test_gradients_reach_every_parameter(name):
    block = built(name)
    weights = torch.randn(features().shape, generator=torch.Generator().manual_seed(3))
    (block(features()) * weights).sum().backward()
    for parameter_name, parameter in block.named_parameters():
        if parameter_name.endswith(("phi.bias", "key.bias")):
            continue  # softmax does not see a constant added to all keys
        assert parameter.grad.abs().sum() > 0, parameter_name
