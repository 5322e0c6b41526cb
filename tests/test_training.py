"""The loop by itself, on a detector small enough to work out by hand."""

import math
import re
import time
from itertools import chain, pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from doamlib.models.weight_average import WeightAverage
from doamlib.recipe import SamplingConfig, TrainingConfig
from doamlib.training import STOPS, OutOfTime, Training, TrainingError, epoch_order

CPU = torch.device("cpu")


class Images:
    """Ten one-pixel images whose value is their index; stands in for a CachedDataset."""

    def __init__(self, count=10):
        self.count = count
        self.dataset = SimpleNamespace(image_ids=tuple(f"image{i}" for i in range(count)))

    def __len__(self):
        return self.count

    def batch(self, indices):
        images = (
            torch.tensor(list(indices), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
        )
        target = {"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]]), "labels": torch.tensor([1])}
        return images.clone(), [{k: v.clone() for k, v in target.items()} for _ in indices]


class OneImage(Images):
    """The image of value 1 alone."""

    def __init__(self):
        super().__init__(1)

    def batch(self, indices):
        return super().batch([index + 1 for index in indices])


class Mean(nn.Module):
    """Learns the mean of the images: loss (w - x)^2, gradient 2 (w - x)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.0))
        self.seen = []

    def forward(self, images, targets):
        values = images.float().mean(dim=(1, 2, 3))
        self.seen.append(values.int().tolist())
        return {"loss": (self.w - values).square().mean()}


def training(folder, config=None, sampling=None, seed=0, detector=None, images=None):
    config = config or TrainingConfig(epochs=3, batch_size=4, learning_rate=0.01)
    return Training(
        detector or Mean(),
        images or Images(),
        config,
        sampling or SamplingConfig(),
        seed,
        folder,
        CPU,
    )


def quiet(line):
    pass


def test_an_epoch_tells_how_many_images_it_trained_on_a_second(tmp_path):
    """Ordinary ones and repeated ones: twelve images in batches of four, one of these twice."""
    config = TrainingConfig(epochs=1, batch_size=4, learning_rate=0.01)
    pool = SamplingConfig(strategy="random", pool_batches=1)
    start = time.perf_counter()
    (epoch,) = training(tmp_path, config, pool, images=Images(12)).run(quiet).epochs
    assert 0 < epoch["seconds"] <= time.perf_counter() - start
    assert epoch["images_per_second"] * epoch["seconds"] == pytest.approx(16)


def test_learning_rate_by_hand():
    config = TrainingConfig(learning_rate=1.0, warmup_steps=3, schedule="cosine")
    assert config.rate_at(0, 100) == pytest.approx(0.25)
    assert config.rate_at(2, 100) == pytest.approx(0.75 * (1 + math.cos(0.02 * math.pi)) / 2)
    assert config.rate_at(50, 100) == pytest.approx(0.5)
    assert config.rate_at(100, 100) == pytest.approx(0.0)
    assert TrainingConfig(learning_rate=0.3).rate_at(10**6, 10) == 0.3
    config = TrainingConfig(learning_rate=1.0, warmup_steps=3, schedule="step")
    rates = [config.rate_at(step, 100) for step in (0, 3, 59, 60, 99, 200)]
    assert rates == pytest.approx([0.25, 1, 1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("epochs", 1, 0),
        ("batch_size", 1, 0),
        ("learning_rate", 1e-9, 0.0),
        ("momentum", 0.999, 1.0),
        ("momentum", 0.0, -0.1),
        ("weight_decay", 0.0, -0.1),
        ("warmup_steps", 0, -1),
        ("clip_norm", 0.0, -0.1),
        ("average_last", 0.0, -0.1),
        ("average_last", 0.999, 1.0),
        ("optimizer", "adamw", "adam"),
        ("schedule", "cosine", "linear"),
    ],
)
def test_what_makes_no_sense_is_refused(field, allowed, refused):
    assert getattr(TrainingConfig(**{field: allowed}), field) == allowed
    with pytest.raises(ValueError, match=field):
        TrainingConfig(**{field: refused})


def test_the_defaults_are_the_papers():
    """Section V: SGD, 60 epochs, 24 images, 1e-4 held constant, momentum 0.9, decay 5e-4."""
    config = TrainingConfig()
    assert (config.optimizer, config.epochs, config.batch_size) == ("sgd", 60, 24)
    assert (config.momentum, config.weight_decay) == (0.9, 5e-4)
    assert {config.rate_at(step, 1000) for step in (0, 500, 999)} == {1e-4}
    assert not (config.clip_norm or config.horizontal_flip or config.average_last)


def test_one_step_by_hand(tmp_path):
    """w moves by -lr * 2 (w - mean) on the first step: SGD without anything hidden."""
    config = TrainingConfig(epochs=1, batch_size=10, learning_rate=0.1, weight_decay=0.0)
    run = training(tmp_path, config)
    run.run(quiet)
    assert run.detector.w.item() == pytest.approx(0.1 * 2 * 4.5)
    assert run.history.loss == [pytest.approx(sum(i * i for i in range(10)) / 10)]


def test_every_image_once_an_epoch_in_an_order_that_the_seed_decides(tmp_path):
    runs = [training(tmp_path / str(i), seed=seed) for i, seed in enumerate((5, 5, 6))]
    for run in runs:
        run.run(quiet)
    first, again, other = (run.detector.seen for run in runs)
    assert first == again != other
    epochs = [[*chain(*first[i : i + 3])] for i in range(0, 9, 3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [len(batch) for batch in first[:3]] == [4, 4, 2]
    assert first == [batch for epoch in range(3) for batch in epoch_order(10, 4, 5, epoch)[0]]


def test_a_flip_belongs_to_the_image_not_to_its_batch():
    (small, one), (large, other) = (epoch_order(10, size, 0, epoch=0) for size in (2, 5))
    assert [*chain(*small)] == [*chain(*large)]
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    config = TrainingConfig(epochs=6, batch_size=3, learning_rate=0.01, schedule="cosine")
    hard = SamplingConfig(strategy="hard")
    whole = training(tmp_path / "whole", config, hard)
    whole.run(quiet)
    for _ in range(20):  # a deadline in the past allows no epoch; a fresh process each time
        part = training(tmp_path / "parts", config, hard)
        try:
            part._resume()
            part.run(quiet, deadline=time.monotonic() + 1e-9 if part.epoch % 2 else math.inf)
            break
        except OutOfTime:
            part._run_epoch()
            part._checkpoint()
    assert part.detector.w.item() == whole.detector.w.item()
    assert part.history.loss == whole.history.loss
    assert part.history.pool == whole.history.pool


def test_a_deadline_in_the_past_starts_no_epoch(tmp_path):
    run = training(tmp_path)
    with pytest.raises(OutOfTime):
        run.run(quiet, deadline=time.monotonic() - 1)
    assert run.history.loss == [] and run.epoch == 0


def test_a_checkpoint_half_written_is_not_used(tmp_path):
    run = training(tmp_path)
    run._run_epoch()
    run._checkpoint()
    (tmp_path / "checkpoint.tmp").write_bytes(b"half")
    again = training(tmp_path)
    again._resume()
    assert again.epoch == 1 and again.detector.w.item() == run.detector.w.item()


def begun(folder, change):
    """Leave the checkpoint of a first epoch, with a change in it."""
    run = training(folder)
    run._run_epoch()
    run._checkpoint()
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "checkpoint.pt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state["strategy"]["identity"].pop("equal_steps"), "'equal_steps': False"),
        (lambda state: state["detector"].update(gone=torch.ones(1)), 'Unexpected key.* "gone"'),
        (lambda state: state["history"].update(gone=[]), "'gone'"),
        (lambda state: state.pop("average"), "'average'"),
        (lambda state: state.update(processor="an abacus"), r"an abacus, this is \)"),
    ],
)
def test_a_checkpoint_of_other_code_or_another_processor_is_not_gone_on_from(
    tmp_path, change, told
):
    """Nothing of it is taken, and the run has the bits of one that began without it."""
    begun(tmp_path / "begun", change)
    lines, run, whole = [], training(tmp_path / "begun"), training(tmp_path / "whole")
    run.run(lines.append)
    whole.run(quiet)
    assert re.search(f"begun/checkpoint.pt is of other .*{told}.*: begins anew$", lines[0])
    assert len(lines) == 1 + 3 and "\n" not in lines[0]
    assert run.detector.w.item() == whole.detector.w.item()
    assert run.history.loss == whole.history.loss
    again = training(tmp_path / "begun")
    again._resume()
    assert again.epoch == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of a zip", b"no pickle", None])
def test_a_damaged_checkpoint_is_not_the_end(tmp_path, content):
    begun(tmp_path, lambda state: None)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    lines, run = [], training(tmp_path)
    run.run(lines.append)
    assert lines[0].endswith(": begins anew") and len(lines) == 1 + 3


def test_a_checkpoint_that_does_not_tell_its_processor_is_gone_on_from(tmp_path):
    begun(tmp_path, lambda state: state.pop("processor", None))
    lines = []
    training(tmp_path).run(lines.append)
    assert [line.partition("  ")[0] for line in lines] == ["epoch 2/3", "epoch 3/3"]


def test_retrained_batches_come_after_the_epoch_and_are_marked(tmp_path):
    config = TrainingConfig(epochs=2, batch_size=2, learning_rate=0.001)
    always = SamplingConfig(
        strategy="hard", pool_batches=2, threshold=0.0, threshold_is="loss", priority_is="loss"
    )
    run = training(tmp_path, config, always)
    run.run(quiet)
    assert run.history.retrained == ([False] * 5 + [True] * 2) * 2
    held = [batch["indices"] for batch in run.history.pool[0]["batches"]]
    assert run.detector.seen[5:7] == held
    hardest = sorted(run.history.loss[:5])[-2:]
    assert sorted(batch["loss"] for batch in run.history.pool[0]["batches"]) == hardest


def test_equal_steps_stop_inside_the_last_epoch(tmp_path):
    config = TrainingConfig(epochs=2, batch_size=2, learning_rate=0.001)
    equal = SamplingConfig(strategy="hard", pool_batches=2, equal_steps=True)
    run = training(tmp_path, config, equal)
    run.run(quiet)
    assert len(run.history.loss) == 10
    assert run.history.retrained == [False] * 5 + [True] * 2 + [False] * 3


# --- rates ---------------------------------------------------------------------------------------

COSINE = TrainingConfig(
    epochs=4, batch_size=2, learning_rate=0.01, warmup_steps=3, schedule="cosine"
)


def rates(folder, **sampling):
    """Rates of a run on ten images, five batches an epoch: of ordinary and of retrained steps."""
    run = training(folder, COSINE, SamplingConfig(pool_batches=2, **sampling))
    run.run(quiet)
    steps = list(zip(run.history.learning_rate, run.history.retrained, strict=True))
    return [rate for rate, again in steps if not again], [rate for rate, again in steps if again]


@pytest.mark.parametrize("kind", ["hard", "easy", "random"])
def test_an_ordinary_batch_has_the_rate_that_doam_t_gives_it(tmp_path, kind):
    plain, none = rates(tmp_path / "plain")
    ordinary, retrained = rates(tmp_path / "pool", strategy=kind)
    assert ordinary == plain and not none and retrained


def test_a_retrained_batch_has_its_epochs_mean_rate_the_last_one_too(tmp_path):
    plain, _ = rates(tmp_path / "plain")
    _, retrained = rates(tmp_path / "pool", strategy="random")
    means = [sum(plain[start : start + 5]) / 5 for start in (0, 5, 10, 15)]
    assert retrained == pytest.approx([mean for mean in means for _ in range(2)])
    assert retrained[-1] > plain[-1] > 0
    # Two of seven steps are repetitions, and so are two sevenths of the summed rate.
    assert sum(retrained) / (sum(plain) + sum(retrained)) == pytest.approx(2 / 7)


def test_at_equal_steps_the_rates_are_those_of_doam_t_step_by_step(tmp_path):
    config = SamplingConfig(strategy="random", pool_batches=2, equal_steps=True)
    runs = [training(tmp_path / "a", COSINE), training(tmp_path / "b", COSINE, config)]
    for run in runs:
        run.run(quiet)
    assert runs[0].history.learning_rate == runs[1].history.learning_rate
    assert any(runs[1].history.retrained)


# --- images instead of batches -------------------------------------------------------------------


class MeanByImage(Mean):
    """Tells each image's loss as SSD does, through the network inside the detector."""

    def __init__(self):
        super().__init__()
        self.network = SimpleNamespace(keeps_image_losses=False)

    def forward(self, images, targets):
        values = images.float().mean(dim=(1, 2, 3))
        if self.network.keeps_image_losses:
            self.network.image_losses = (self.w - values).square().detach()
        return super().forward(images, targets)


def test_the_images_of_largest_loss_are_trained_on_again(tmp_path):
    """w stays near 0, so the loss of an image is the square of its index: 9, 8, 7, 6 are hard."""
    config = TrainingConfig(epochs=1, batch_size=2, learning_rate=1e-6)
    fields = {"threshold": 0.0, "threshold_is": "loss", "priority_is": "loss", "pool_batches": 2}
    images = SamplingConfig(strategy="hard", pool_of="images", **fields)
    run = training(tmp_path, config, images, detector=MeanByImage())
    run.run(quiet)
    assert sorted(chain(*run.detector.seen[5:])) == [6, 7, 8, 9]
    assert run.history.retrained == [False] * 5 + [True] * 2


def test_a_detector_that_tells_no_image_losses_is_refused(tmp_path):
    images = SamplingConfig(strategy="hard", pool_of="images")
    with pytest.raises(ValueError, match="Mean tells no loss of single images; SSD does"):
        training(tmp_path, sampling=images)


# --- many short epochs ---------------------------------------------------------------------------


def test_many_short_epochs_are_evaluated_and_saved_no_more_often_than_the_papers(tmp_path):
    config = TrainingConfig(epochs=150, batch_size=10, learning_rate=0.001)
    asked, lines = [], []
    run = training(tmp_path, config)
    run.watch = lambda: asked.append(run.epoch) or {"test_mAP": 0.5}
    run.run(lines.append)
    assert len(asked) == len(lines) == STOPS and asked[-1] == 150
    assert len(run.history.epochs) == 150 and lines[-1].startswith("epoch 150/150")
    assert sum("test_mAP" in entry for entry in run.history.epochs) == STOPS
    assert {b - a for a, b in pairwise(asked)} == {2, 3}


def test_a_deadline_between_two_stops_loses_no_epoch(tmp_path, monkeypatch):
    config = TrainingConfig(epochs=600, batch_size=10, learning_rate=0.001)
    run = training(tmp_path, config)
    clock_now = [0.0]
    monkeypatch.setattr("doamlib.training.time.monotonic", lambda: clock_now[0])
    step = run._run_epoch
    monkeypatch.setattr(run, "_run_epoch", lambda: (step(), clock_now.append(clock_now.pop() + 1)))
    with pytest.raises(OutOfTime):
        run.run(quiet, deadline=12.5)
    again = training(tmp_path, config)
    again._resume()
    assert again.epoch == run.epoch == 13


@pytest.mark.parametrize(("rate", "word"), [(1e30, "the loss is"), (300.0, "the loss is")])
def test_a_diverging_run_stops_with_step_images_and_advice(tmp_path, rate, word):
    config = TrainingConfig(epochs=50, batch_size=5, learning_rate=rate)
    with pytest.raises(TrainingError) as stop:
        training(tmp_path, config).run(quiet)
    message = str(stop.value)
    assert word in message and "lower learning_rate" in message and "image" in message
    assert message.startswith("step ") and "\n" not in message


def test_the_report_is_one_line_an_epoch_with_the_remaining_time(tmp_path):
    lines = []
    training(tmp_path).run(lines.append)
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3  loss ") and lines[0].endswith(" left")
    assert lines[-1].endswith("  0 s left")


def test_training_leaves_the_global_switches_as_they_were(tmp_path):
    torch.use_deterministic_algorithms(False)
    training(tmp_path).run(quiet)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_weights_of_the_last_steps_are_averaged_by_hand(tmp_path):
    """Ten steps on one image of value 1: w halves its distance to 1; the last two are averaged."""
    config = TrainingConfig(epochs=10, batch_size=1, learning_rate=0.25, momentum=0, weight_decay=0)
    ends = {}
    for share in (0.0, 0.2):
        detector = Mean()
        run = training(
            tmp_path / str(share),
            config.model_copy(update={"average_last": share}),
            detector=detector,
            images=OneImage(),
        )
        run.run(quiet)
        ends[share] = float(detector.w.detach())
    after = [1 - 0.5 ** (step + 1) for step in range(10)]
    assert ends[0.0] == pytest.approx(after[9])
    assert ends[0.2] == pytest.approx((after[8] + after[9]) / 2)


def test_an_average_survives_a_kill_and_leaves_integers_alone(tmp_path):
    config = TrainingConfig(epochs=4, batch_size=4, learning_rate=0.01, average_last=0.75)
    whole = training(tmp_path / "whole", config, detector=Mean())
    whole.run(quiet)
    killed = training(tmp_path / "killed", config, detector=Mean())
    reproduced = training(tmp_path / "killed", config, detector=Mean())

    def kill():
        if killed.epoch == 2:
            raise KeyboardInterrupt
        return {}

    killed.watch = kill
    with pytest.raises(KeyboardInterrupt):
        killed.run(quiet)
    reproduced.run(quiet)
    assert torch.equal(whole.detector.w, reproduced.detector.w)
    average = WeightAverage()
    average.add(nn.BatchNorm1d(1))
    assert "num_batches_tracked" not in average.tensors


def test_what_is_watched_goes_into_the_history_of_each_epoch(tmp_path):
    run = training(tmp_path)
    run.watch = lambda: {"gamma": float(run.epoch)}
    assert [epoch["gamma"] for epoch in run.run(quiet).epochs] == [1.0, 2.0, 3.0]
