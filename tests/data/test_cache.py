"""The cache gives what decoding gives, to every process, after every accident."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import doamlib.data.cache as cache_module
from doamlib.data.cache import open_cache
from doamlib.data.dataset import Dataset
from doamlib.data.faults import DataError
from doamlib.data.images import resize
from doamlib.data.opixray import read_opixray

SIZE = 16


@pytest.fixture
def train(sound):
    return read_opixray(sound.root, "train")


def count_decodes(monkeypatch) -> list[int]:
    """A list that grows by the index of every sample that is decoded from now on."""
    decoded: list[int] = []
    plain = Dataset.__getitem__

    def counting(self, index):
        decoded.append(index)
        return plain(self, index)

    monkeypatch.setattr(Dataset, "__getitem__", counting)
    return decoded


def test_cached_images_equal_direct_decoding(train, tmp_path):
    cached = open_cache(train, SIZE, tmp_path)
    images, _ = cached.batch(range(3))
    expected = torch.stack([resize(train[i].image, SIZE) for i in range(3)])
    assert images.shape == (3, 3, SIZE, SIZE)
    torch.testing.assert_close(images, expected, rtol=0, atol=0)


def test_boxes_are_scaled_to_the_cached_size_and_back(train, tmp_path):
    cached = open_cache(train, SIZE, tmp_path)
    _, targets = cached.batch([2, 1])
    # 009002 is 80 x 30 with the box 1 1 20 9: 16/80 across, 16/30 down.
    expected = torch.tensor([[0.2, 16 / 30, 4.0, 4.8]])
    torch.testing.assert_close(targets[0]["boxes"], expected, rtol=1e-6, atol=0)
    assert targets[1]["labels"].tolist() == [3, 4]
    back = cached.to_original(2, targets[0]["boxes"])
    torch.testing.assert_close(back, train.records[2].boxes, rtol=1e-6, atol=0)


def test_changing_a_batch_changes_nothing_behind_it(train, tmp_path):
    cached = open_cache(train, SIZE, tmp_path)
    images, targets = cached.batch(torch.tensor([1]))
    pixels, boxes = images.clone(), targets[0]["boxes"].clone()
    for tensor in (images, *targets[0].values()):
        tensor.zero_()
    images, targets = cached.batch([1])
    torch.testing.assert_close(images, pixels, rtol=0, atol=0)
    torch.testing.assert_close(targets[0]["boxes"], boxes, rtol=0, atol=0)
    assert targets[0]["labels"].tolist() == [3, 4]


def test_batches_from_a_devices_memory_are_those_from_the_file(train, tmp_path):
    cached, kept = (open_cache(train, 32, tmp_path) for _ in range(2))
    order = list(range(len(train)))[::-1]
    kept._keep_on(torch.device("cpu"))  # a GPU's memory behaves the same
    for _ in range(2):
        (images, targets), (ours, our_targets) = cached.batch(order), kept.batch(order)
        torch.testing.assert_close(ours, images, rtol=0, atol=0)
        for target, our in zip(targets, our_targets, strict=True):
            assert all(torch.equal(our[name], target[name]) for name in target)
        ours.zero_()  # a copy: the next batch holds the image again


def test_images_stay_in_the_file_without_a_gpu_or_where_they_do_not_fit(train, tmp_path):
    cached = open_cache(train, 32, tmp_path)
    assert cached.resident(torch.device("cpu")) is cached and cached._resident is None
    size = len(train) * 3 * 32 * 32
    assert cached.fits(10 * size) and not cached.fits(10 * size - 1)


def test_a_second_run_decodes_nothing(train, tmp_path, monkeypatch):
    first = open_cache(train, SIZE, tmp_path)
    decoded = count_decodes(monkeypatch)
    second = open_cache(train, SIZE, tmp_path)
    torch.testing.assert_close(second.batch([0])[0], first.batch([0])[0], rtol=0, atol=0)
    assert decoded == []


def test_a_finished_cache_opens_without_a_lock_as_in_a_read_only_folder(
    train, tmp_path, monkeypatch
):
    first = open_cache(train, SIZE, tmp_path)
    monkeypatch.delattr("doamlib.data.cache.FileLock")
    again = open_cache(train, SIZE, tmp_path)
    torch.testing.assert_close(again.batch([0])[0], first.batch([0])[0], rtol=0, atol=0)


def test_a_subset_and_another_order_use_the_same_file(train, tmp_path, monkeypatch):
    whole = open_cache(train, SIZE, tmp_path)
    decoded = count_decodes(monkeypatch)
    some = whole.subset(["009002", "009001"])
    torch.testing.assert_close(some.batch([0, 1])[0], whole.batch([2, 0])[0], rtol=0, atol=0)
    turned = open_cache(train.subset(reversed(train.image_ids)), SIZE, tmp_path)
    torch.testing.assert_close(turned.batch([0])[0], whole.batch([2])[0], rtol=0, atol=0)
    assert decoded == []
    with pytest.raises(DataError, match="no image 'nobody'"):
        whole.subset(["nobody"])


def test_changed_pixels_get_a_new_cache_and_changed_boxes_do_not(
    sound, train, tmp_path, monkeypatch
):
    old = open_cache(train, SIZE, tmp_path).batch([0])[0]
    decoded = count_decodes(monkeypatch)
    sound.path("train", "annotation", "009001.txt").write_text("009001.jpg Scissor 0 0 30 20\n")
    boxes = open_cache(read_opixray(sound.root, "train"), SIZE, tmp_path).batch([0])[1][0]["boxes"]
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 0, 8, 8]]), rtol=0, atol=1e-6)
    assert decoded == []
    sound.draw(sound.path("train", "image", "009001.jpg"), seed=99)
    new = open_cache(read_opixray(sound.root, "train"), SIZE, tmp_path).batch([0])[0]
    assert sorted(decoded) == [0, 1, 2]
    assert not torch.equal(new, old)


def test_every_size_has_a_cache_of_its_own(train, tmp_path):
    for size in (SIZE, 8):
        assert open_cache(train, size, tmp_path).batch([0])[0].shape == (1, 3, size, size)


def test_a_broken_image_is_named_and_leaves_nothing_behind(sound, tmp_path):
    path = sound.path("train", "image", "009000.jpg")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train/train_image/009000\.jpg: error: "):
        open_cache(read_opixray(sound.root, "train"), SIZE, tmp_path / "cache")
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_a_full_disk_is_said_before_anything_is_written(train, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"the cache needs 2,304 bytes .* 100 are free"):
        open_cache(train, SIZE, tmp_path)


def test_an_empty_dataset_is_refused(train, tmp_path):
    with pytest.raises(DataError, match="has no image"):
        open_cache(train.subset([]), SIZE, tmp_path)


KILLED_BUILD = """
import os, signal, sys
import doamlib.data.cache as cache
from doamlib.data.opixray import read_opixray
cache.CHUNK = 2
def kill(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
cache.open_cache(read_opixray(sys.argv[1], "train"), 16, sys.argv[2], progress=kill)
"""


@pytest.mark.slow
def test_a_killed_build_is_taken_up_where_it_stopped(sound, train, tmp_path, monkeypatch):
    command = [sys.executable, "-c", KILLED_BUILD, str(sound.root), str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    decoded = count_decodes(monkeypatch)
    cached = open_cache(train, SIZE, tmp_path)
    assert decoded == [2]  # rows are in the order of the ids: 009000 and 009001 were done
    expected = torch.stack([resize(train[i].image, SIZE) for i in range(3)])
    torch.testing.assert_close(cached.batch(range(3))[0], expected, rtol=0, atol=0)


def test_a_build_killed_before_its_files_were_whole_starts_afresh(train, tmp_path):
    home = tmp_path / "cache"
    expected = open_cache(train, SIZE, home).batch(range(3))[0]
    (final,) = [entry for entry in home.iterdir() if entry.is_dir()]
    partial = final.rename(final.with_suffix(".partial"))
    (partial / "index.json").unlink()
    (partial / "images.npy").write_bytes(b"cut off")
    cached = open_cache(train, SIZE, home)
    torch.testing.assert_close(cached.batch(range(3))[0], expected, rtol=0, atol=0)


def build_and_report(root, folder, barrier, queue):
    decoded = 0
    plain = Dataset.__getitem__

    def counting(self, index):
        nonlocal decoded
        decoded += 1
        return plain(self, index)

    Dataset.__getitem__ = counting
    dataset = read_opixray(root, "train")
    barrier.wait()
    images, _ = open_cache(dataset, SIZE, folder).batch(range(3))
    queue.put((decoded, images.numpy().tobytes()))


@pytest.mark.slow
def test_of_two_processes_at_once_one_builds_and_both_read(sound, train, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    arguments = (sound.root, tmp_path, barrier, queue)
    processes = [context.Process(target=build_and_report, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(decoded for decoded, _ in results) == [0, 3]
    expected = torch.stack([resize(train[i].image, SIZE) for i in range(3)]).numpy().tobytes()
    assert [pixels for _, pixels in results] == [expected, expected]


def picture() -> np.ndarray:
    coarse = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [24, 200])
def test_resizing_agrees_with_another_library(size):
    pixels = picture()
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    pillow = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    ours = resize(image, size).permute(1, 2, 0).numpy().astype(int)
    np.testing.assert_allclose(ours, np.asarray(pillow), rtol=0, atol=1)


def test_a_thin_blade_survives_shrinking():
    image = torch.full((3, 300, 300), 255, dtype=torch.uint8)
    image[:, :, 150] = 0  # one column wide; sample points of 300 -> 30 lie at 4.5, 14.5, ...
    plain = F.interpolate(image[None], (30, 30), mode="bilinear")  # as the official code resizes
    assert plain.min() == 255
    assert resize(image, 30).min() < 250
