"""What happens to a batch between the cache and the network."""

import torch

from doamlib.data.batches import _mirror_on_gpu, flip_some


def test_images_in_a_gpus_memory_are_mirrored_as_those_in_the_file_are():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
    which = torch.tensor([True, False, False, True, True])
    for chosen in (which, ~which, which & False):
        mirrored = [{"boxes": torch.zeros(0, 4)} for _ in pixels]
        expected, ours = pixels.clone(), pixels.clone()
        flip_some(expected, mirrored, chosen)
        _mirror_on_gpu(ours, chosen.nonzero().flatten().tolist())
        assert torch.equal(ours, expected)


def test_flips_are_mirrors_of_pixels_and_boxes():
    images = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4).expand(2, 3, 3, 4).clone()
    before = images.clone()
    targets = [{"boxes": torch.tensor([[0.0, 1.0, 3.0, 2.0]])} for _ in range(2)]
    flip_some(images, targets, torch.tensor([True, False]))
    torch.testing.assert_close(images[0], before[0].flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(images[1], before[1], rtol=0, atol=0)
    assert targets[0]["boxes"].tolist() == [[1.0, 1.0, 4.0, 2.0]]
    assert targets[1]["boxes"].tolist() == [[0.0, 1.0, 3.0, 2.0]]
    flip_some(images, targets, torch.tensor([True, False]))
    torch.testing.assert_close(images, before, rtol=0, atol=0)
