"""The contract that all detectors share, and what DOAM and warm starts may change in them."""

import json
import os

import pytest
import torch
from captum.attr import LayerGradCam
from pydantic import ValidationError
from safetensors import safe_open
from torch.testing import assert_close

from doamlib.data.images import resize
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector, load_weights, save_weights
from doamlib.models.doam import DOAMConfig

SIZE = 96
NAMES = ["ssd", "yolov3", "fcos"]
PLAIN = {name: DetectorConfig(name=name, width=0.125, image_size=SIZE) for name in NAMES}


def with_doam(config, gamma=0.0, **changes):
    doam = DOAMConfig(gamma=gamma)
    return config.model_copy(update={"doam": doam} | changes)


ALL = PLAIN | {f"{name}+doam": with_doam(config, 0.5) for name, config in PLAIN.items()}
ALL |= {
    f"ssd+{rival}": PLAIN["ssd"].model_copy(update={"attention": rival})
    for rival in ("se", "nonlocal", "dual")
}
every_detector = pytest.mark.parametrize("config", ALL.values(), ids=ALL)
every_network = pytest.mark.parametrize("config", PLAIN.values(), ids=PLAIN)


def photos(count=2, height=SIZE, width=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, height, width, generator=generator) for _ in range(count)]


def targets(*counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * 50
        boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(count, 2, generator=generator)], 1)
        made.append({"boxes": boxes, "labels": torch.randint(1, 6, (count,), generator=generator)})
    return made


def first_kernels(detector):
    return detector.network.get_submodule(detector.network.first_layer).weight


@pytest.mark.slow
@every_detector
def test_training_returns_losses_and_evaluation_detections(config):
    detector = build_detector(config, seed=0)
    losses = detector(photos(3), targets(1, 0, 2))
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    detector.eval()
    with torch.no_grad():
        found = detector(photos(3))
    assert len(found) == 3
    for detection in found:
        count = len(detection["scores"])
        assert count <= config.detections_per_image
        assert detection["boxes"].shape == (count, 4) and detection["labels"].shape == (count,)
        assert detection["labels"].dtype == torch.int64
        assert ((detection["labels"] >= 1) & (detection["labels"] <= 5)).all()
        assert (detection["scores"].diff() <= 0).all()
        assert (detection["scores"] > config.score_threshold).all()


@pytest.mark.slow
@every_detector
def test_batches_lists_floats_and_bytes_mean_the_same(config):
    detector = build_detector(config, seed=0).eval()
    bytes_ = (torch.stack(photos(2)) * 255).to(torch.uint8)
    floats = bytes_.float() / 255
    with torch.no_grad():
        first, *others = (detector(images) for images in (bytes_, floats, list(floats)))
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert_close(a["scores"], b["scores"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_detector
def test_bfloat16_autocast_trains_with_float32_losses(config):
    detector = build_detector(config, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(photos(2), targets(1, 2))
    exact = detector(photos(2), targets(1, 2))
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert_close(value, exact[name], rtol=0.1, atol=0.05)


def test_colours_are_normalised_as_torchvision_does_for_imagenet_and_edges_to_about_one():
    from torchvision.transforms.functional import normalize

    image = torch.stack(photos(2))
    expected = normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    plain, doam = (build_detector(ALL[name], seed=0).eval() for name in ("ssd", "ssd+doam"))
    assert_close(plain.network_input(plain.pixels(image)[0]), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        doam.doam.gamma.zero_()  # image and edges as they are
        channels = doam.network_input(doam.pixels(image)[0])
    assert_close(channels[:, :3], expected, rtol=1e-4, atol=1e-5)
    assert channels[:, 3].amin() == 0 and 255 / 60 < channels[:, 3].amax() < 255 / 55


def stripes():
    """All rows alike, so that resizing from any height gives the same picture."""
    return (photos(1)[0][:, :1] * 255).byte().repeat(1, SIZE, 1)


@every_network
def test_boxes_are_in_pixels_of_each_image(config):
    """The same picture at twice the height has its detections at twice the height."""
    detector = build_detector(config, seed=0).eval()
    small = stripes()
    tall = small.repeat_interleave(2, dim=1)
    with torch.no_grad():
        pixels, factors = detector.pixels([small, tall])
        found = detector([small, tall])
    assert_close(factors[1], factors[0] / torch.tensor([1.0, 2, 1, 2]))
    for detection, height in zip(found, (SIZE, 2 * SIZE), strict=True):
        assert detection["boxes"].amin() >= 0
        assert detection["boxes"][:, 0::2].amax() <= SIZE + 1e-3
        assert detection["boxes"][:, 1::2].amax() <= height + 1e-3
    assert_close(pixels[1], pixels[0], rtol=0, atol=0)
    assert_close(found[1]["boxes"] * torch.tensor([1, 0.5, 1, 0.5]), found[0]["boxes"])


@pytest.mark.parametrize("size", [(245, 100), (300, 640), (50, 70)])
def test_other_sizes_are_resized_as_the_cache_does_it(size):
    """What was trained on cached images must see the same pixels when given the original ones."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
    image[:, :, 41] = 0  # a blade one pixel wide
    detector = build_detector(DetectorConfig(width=0.125, image_size=SIZE), seed=0)
    cached = resize(image, SIZE).float()
    for given in (image, image / 255):
        assert_close(detector.pixels([given])[0][0], cached, rtol=0, atol=0)
    assert_close(detector.pixels(image[None])[0][0], cached, rtol=0, atol=0)


@pytest.mark.slow
@every_network
def test_targets_are_scaled_with_the_image(config):
    detector = build_detector(config, seed=0)
    image, target = stripes(), targets(2)[0]
    tall = image.repeat_interleave(2, dim=1)
    stretched = target | {"boxes": target["boxes"] * torch.tensor([1.0, 2, 1, 2])}
    losses, same = detector([image], [target]), detector([tall], [stretched])
    for name, value in losses.items():
        assert_close(same[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_detector
def test_a_prediction_does_not_depend_on_its_neighbours(config):
    detector = build_detector(config, seed=0).eval()
    image, bright = photos(1)[0] / 4, photos(1, seed=1)[0]
    with torch.no_grad():
        alone, together = detector([image])[0], detector([image, bright])[0]
    assert_close(together["scores"], alone["scores"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_detector
def test_same_seed_same_bits_and_no_trace_in_the_global_generator(config):
    before = torch.random.get_rng_state()
    first, second, other = (build_detector(config, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    ours, same = first.state_dict(), second.state_dict()
    assert ours.keys() == same.keys()
    assert all(torch.equal(ours[name], same[name]) for name in ours)
    assert any(not torch.equal(ours[name], value) for name, value in other.state_dict().items())
    losses = [sum(d(photos(2), targets(1, 2)).values()) for d in (first, second)]
    assert torch.equal(*losses)


@every_network
def test_arms_of_one_seed_share_their_common_weights(config):
    plain = build_detector(config, seed=5).state_dict()
    arms = [with_doam(config)]
    if config.name == "ssd":
        arms += [config.model_copy(update={"attention": "se"})]
    for arm in arms:
        own = build_detector(arm, seed=5).state_dict()
        for name, value in plain.items():
            if name in own:
                kept = own[name][:, :3] if own[name].shape != value.shape else own[name]
                assert torch.equal(kept, value), name


@every_network
def test_doam_with_gamma_zero_changes_no_output(config):
    plain, doam = build_detector(config, seed=0), build_detector(with_doam(config), seed=1)
    left = load_weights(doam, plain.state_dict())
    assert left and all(name.startswith("doam.") for name in left)
    plain.eval(), doam.eval()
    with torch.no_grad():
        for a, b in zip(plain(photos(2)), doam(photos(2)), strict=True):
            assert_close(b["scores"], a["scores"], rtol=1e-4, atol=1e-6)
            assert_close(b["boxes"], a["boxes"], rtol=1e-4, atol=1e-3)


@every_network
def test_doam_trains_through_the_detector(config):
    detector = build_detector(with_doam(config, gamma=0.5), seed=0)
    load_weights(detector, build_detector(config, seed=0).state_dict())
    sum(detector(photos(2), targets(1, 2)).values()).backward()
    for name, parameter in detector.doam.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    edge_kernels = first_kernels(detector).grad[:, 3]
    assert edge_kernels.abs().sum() > 0


@every_network
def test_fresh_first_layer_is_left_alone(config):
    detector = build_detector(with_doam(config, fresh_first_layer=True), seed=1)
    before = first_kernels(detector).clone()
    assert (before[:, 3] != 0).any()
    left = load_weights(detector, build_detector(config, seed=0).state_dict())
    assert torch.equal(first_kernels(detector), before)
    kernels = [name for name in left if not name.startswith("doam.")]
    assert len(kernels) == 1 and kernels[0].endswith("weight")


@pytest.mark.slow
@every_detector
def test_weights_round_trip_through_a_file(config, tmp_path):
    detector, copy = (build_detector(config, seed=seed) for seed in (1, 2))
    save_weights(detector, tmp_path / "w.safetensors")
    assert load_weights(copy, tmp_path / "w.safetensors") == []
    for name, value in copy.state_dict().items():
        assert torch.equal(value, detector.state_dict()[name]), name
    with safe_open(tmp_path / "w.safetensors", "pt") as archive:
        assert json.loads(archive.metadata()["config"]) == config.model_dump(mode="json")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@every_network
def test_other_classes_leave_the_class_outputs(config):
    source = build_detector(config.model_copy(update={"num_classes": 9}), seed=0)
    detector = build_detector(config, seed=1)
    left = load_weights(detector, source.state_dict())
    outputs = tuple(f"network.{name}." for name in detector.network.output_layers)
    assert left and all(name.startswith(outputs) for name in left)
    own, other = detector.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own if name not in left)


def test_rivals_are_left_by_a_plain_source():
    detector = build_detector(ALL["ssd+dual"], seed=0)
    left = load_weights(detector, build_detector(PLAIN["ssd"], seed=0).state_dict())
    assert left and all(".attention." in name for name in left)


def test_what_does_not_fit_is_named(tmp_path):
    detector = build_detector(PLAIN["ssd"], seed=0)
    wider = build_detector(PLAIN["ssd"].model_copy(update={"width": 0.25}), seed=0)
    with pytest.raises(ValueError, match=r"width, image_size or DOAM differ(.|\n)*features"):
        load_weights(detector, wider.state_dict())
    state = detector.state_dict()
    with pytest.raises(ValueError, match=r"lacks \['network.backbone.scale_weight'\]"):
        load_weights(detector, {k: v for k, v in state.items() if "scale" not in k})
    with pytest.raises(ValueError, match=r"DOAM differ(.|\n)*features.0.weight"):
        load_weights(detector, build_detector(ALL["ssd+doam"], seed=0).state_dict())
    with pytest.raises(ValueError, match=r"only it has \['stranger'\]"):
        load_weights(detector, state | {"stranger": torch.zeros(1)})
    for name in ("broken.safetensors", "broken.pth", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"no weights")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({"epoch": 3, "model": state}, tmp_path / "checkpoint.pt")
    for name in (*os.listdir(tmp_path), "absent.safetensors", "absent.pth"):
        with pytest.raises(ValueError, match=f"{name}: cannot be read as weights"):
            load_weights(detector, tmp_path / name)


@pytest.mark.slow
@every_network
def test_degenerate_targets_train(config):
    detector = build_detector(with_doam(config, 0.5), seed=0)
    pixel = {"boxes": torch.tensor([[5.0, 5, 6, 6]]), "labels": torch.tensor([5])}
    frame = {"boxes": torch.tensor([[0.0, 0, SIZE, SIZE]]), "labels": torch.tensor([1])}
    nothing = targets(0)[0]
    for batch in ([pixel, frame], [pixel, nothing], [nothing, nothing]):
        detector.zero_grad()
        losses = detector(photos(2), batch)
        sum(losses.values()).backward()
        assert all(torch.isfinite(value) for value in losses.values())
        for name, parameter in detector.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_wrong_input_is_named():
    detector = build_detector(PLAIN["ssd"], seed=0)
    good = targets(1)[0]
    with pytest.raises(ValueError, match="training mode needs targets"):
        detector(photos(1))
    with pytest.raises(ValueError, match="2 images but 1 targets"):
        detector(photos(2), [good])
    with pytest.raises(ValueError, match=r"one is \(1, 1, 96, 96\)"):
        detector([photos(1)[0][:1]], [good])
    flat = {"boxes": torch.tensor([[5.0, 5, 5, 9]]), "labels": torch.tensor([1])}
    with pytest.raises(ValueError, match=r"target 1, box 0: \[5.0, 5.0, 5.0, 9.0\]"):
        detector(photos(2), [good, flat])
    for label in (0, 6):
        with pytest.raises(ValueError, match=f"with label {label};"):
            detector(photos(1), [good | {"labels": torch.tensor([label])}])


@pytest.mark.parametrize("corner", [torch.nan, torch.inf])
def test_a_box_that_is_not_finite_is_named(corner):
    detector = build_detector(PLAIN["ssd"], seed=0)
    box = {"boxes": torch.tensor([[5.0, 5, corner, 9]]), "labels": torch.tensor([1])}
    with pytest.raises(ValueError, match=rf"target 0, box 0: \[5.0, 5.0, {corner}, 9.0\]"):
        detector(photos(1), [box])


def test_each_box_has_one_label():
    detector, good = build_detector(PLAIN["ssd"], seed=0), targets(1)[0]
    for labels in ([1, 2], [], 1):
        with pytest.raises(ValueError, match=r"target 1: boxes \(1, 4\) and labels"):
            detector(photos(2), [good, good | {"labels": torch.tensor(labels)}])


@pytest.mark.parametrize("kind", [torch.int64, torch.int16, torch.bool])
def test_images_are_floats_or_bytes(kind):
    with pytest.raises(ValueError, match=f"one is {kind}"):
        build_detector(PLAIN["ssd"], seed=0).eval()([photos(1)[0].to(kind)])


def test_an_image_has_a_pixel():
    with pytest.raises(ValueError, match=r"one is \(1, 3, 0, 10\)"):
        build_detector(PLAIN["ssd"], seed=0).eval()([torch.rand(3, 0, 10)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "yolov3", "attention": "se"}, "attention is a choice of SSD's"),
        ({"name": "fcos", "focal_loss": True}, "focal_loss is a choice of SSD's"),
        ({"fresh_first_layer": True}, "fresh_first_layer needs doam"),
        ({"image_size": 64}, "image_size"),
        ({"width": 0.0}, "width"),
        ({"anchors": 3}, "anchors"),
    ],
)
def test_configuration_refuses(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DetectorConfig(**wrong)


def test_matched_class_scores_explain_the_items_only():
    detector = build_detector(PLAIN["ssd"], seed=0).eval()
    scores = detector.matched_class_scores(photos(2), targets(2, 0))
    assert scores.shape == (2,)
    assert scores[1] == 0 and scores[0] != 0
    gradient = torch.autograd.grad(scores[0], detector.network.last_vgg_layer.weight)[0]
    assert gradient.abs().sum() > 0


def test_captum_explains_the_last_vgg_layer():
    detector = build_detector(PLAIN["ssd"], seed=0).eval()
    images, wanted = torch.stack(photos(2)), targets(2, 1)
    layer = detector.network.last_vgg_layer
    explained = LayerGradCam(lambda x: detector.matched_class_scores(x, wanted), layer)
    maps = explained.attribute(images)
    kept = []
    hook = layer.register_forward_hook(lambda *call: kept.append(call[2]))
    scores = detector.matched_class_scores(images, wanted)
    hook.remove()
    gradient = torch.autograd.grad(scores.sum(), kept[0])[0]
    expected = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True)
    assert expected.abs().max() > 0 and (kept[0] < 0).any()
    assert_close(maps, expected, rtol=1e-4, atol=1e-7)


def test_the_backbone_is_torchvisions_vgg16_up_to_conv5_3():
    """With its tensors, layer by layer, it computes what torchvision's does."""
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = torchvision.models.vgg16(weights=None).features
    backbone = build_detector(DetectorConfig(), seed=0).network.backbone
    trunk = torch.nn.Sequential(*backbone.features, *backbone.extra[0][:7])
    trunk.load_state_dict(layers[:30].state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_close(trunk(image), layers[:30](image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_no_image_at_all_is_refused_in_words(training):
    detector = build_detector(PLAIN["ssd"], seed=0).train(training)
    with pytest.raises(ValueError, match="no image"):
        detector([], [] if training else None)
