"""A run, from the first image to the last: what it computes, writes and says."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import metrics
import models
from training import Diverged, train
from training.engine.ema import Average, standing_statistics
from training.engine.layers import ReflectionPad, replace_slow_layers
from training.engine.schedules import constant
from training.engine.stage import Moment
from training.games.dcgan import DCGAN
from training.games.pool import ImagePool
from training.objective import terms
from training.options.shared import Machine, Pace
from training.run import alarms, checkpoint
from training.run.build import build, stage
from training.run.scores import keep_best
from training.run.state import Progress

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def lines_of(run):
    return [json.loads(line) for line in (Path(run.output.out) / "log.jsonl").read_text().splitlines()]


def frames(path):
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


# --- whole runs ---


def test_a_sampler_run_leaves_everything_it_promises(sampler, small, capsys):
    watch = {"fid_kimg": 0.016, "fid_images": 8, "kid": True, "tensorboard": True, "animation": "gif"}
    run = sampler(data={"data": str(FIXTURES / "cifar10" / "train"), "conditional": True}, watch=watch)
    outcome = train(run, extractor=small)
    root = Path(run.output.out)
    assert outcome.finished
    assert outcome.images == 32

    lines = lines_of(run)
    assert [line["images"] for line in lines] == [8, 16, 24, 32]
    assert {"step", "seconds", "loss_d", "loss_g", "d_real", "d_fake", "g_gradient_norm"} <= lines[0].keys()
    assert {"images_per_s", "data_share", "memory_mb"} <= lines[0].keys()
    assert {"variety", "fid", "kid"} <= lines[1].keys()
    assert "fid" not in lines[0]
    assert 0 < lines[0]["data_share"] < 1

    assert [sheet.name for sheet in sorted((root / "samples").iterdir())] == ["000000016.png", "000000032.png"]
    assert frames(root / "samples.gif") == 2
    assert frames(root / "curves.png") == 1
    board = EventAccumulator(str(root / "tensorboard")).Reload()
    assert {"loss_d", "loss_g", "g_gradient_norm", "variety", "fid", "kid"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("loss_d")] == [8, 16, 24, 32]
    assert [event.step for event in board.Images("samples")] == [16, 32]
    printed = capsys.readouterr().out
    assert "images/s" in printed
    assert "left" in printed

    model = models.load(outcome.checkpoint)
    assert model.classes == tuple(sorted(folder.name for folder in (FIXTURES / "cifar10" / "train").iterdir()))
    about = model.metadata
    assert about.training["images"] == 32
    assert about.training["dataset"] == "cifar10"
    assert len(about.training["dataset_digest"]) == 64
    assert about.metrics["fid"]["value"] == pytest.approx(lines[-1]["fid"])
    assert about.metrics["fid"]["protocol"] == "pytorch-fid"

    best = min(lines, key=lambda line: line.get("fid", math.inf))
    kept = models.load(root / "run-best.safetensors").metadata
    assert kept.training["images"] == best["images"]
    assert torch.load(root / "best.pt", weights_only=True)["progress"]["best"]["value"] == pytest.approx(
        best["fid"], rel=1e-5
    )


def test_fid_of_training_is_fid_of_the_checkpoint(sampler, small):
    """In-training FID and the FID that anyone measures on the written checkpoint are one number."""
    run = sampler(watch={"fid_kimg": 0.032, "fid_images": 24})
    outcome = train(run, extractor=small)
    model = models.load(outcome.checkpoint)
    latents = models.draw(models.sample_seeds(2**41, 24), model.latent_size)
    fakes = models.to_uint8(model(latents))
    game, _ = build(run, stage(run.machine, run.pace))
    real = game.family.evaluations()[""].reference.numpy()
    again = metrics.score(fakes, real, extractor=small, bootstrap=0)["fid"]["value"]
    assert model.metadata.metrics["fid"]["value"] == pytest.approx(again, rel=1e-4)


def test_a_run_is_measured_by_an_extractor_of_one_s_own(sampler, tmp_path):
    judge = models.AirbenchConfig(image_size=16, classes=2, width=8)
    path = tmp_path / "judge.safetensors"
    models.save(path, judge.parts(), models.metadata_of(judge, classes=("a", "b")))
    outcome = train(sampler(watch={"fid_kimg": 0.032, "fid_images": 24, "extractor": str(path)}))
    found = models.load(outcome.checkpoint).metadata.metrics["fid"]
    assert found["extractor"] == metrics.custom_extractor(path).name
    assert np.isfinite(found["value"])


def test_the_best_is_told_anew_by_another_extractor():
    """Distances of two extractors do not compare."""
    progress = Progress()
    for result, better in (
        ({"value": 5.0}, True),
        ({"value": 9.0}, False),
        ({"value": 9.0, "extractor": "mine"}, True),
        ({"value": 9.5, "extractor": "mine"}, False),
        ({"value": 7.0}, True),
    ):
        assert keep_best({"fid": result}, progress) == better


def test_a_translator_run_leaves_everything_it_promises(translator, small):
    data = {"data": str(FIXTURES / "horse2zebra")}
    run = translator(data=data, watch={"fid_kimg": 0.016, "animation": "webp"})
    outcome = train(run, extractor=small)
    lines = lines_of(run)
    assert {"cycle", "identity", "loss_g", "loss_d", "fid_a_to_b", "fid_b_to_a"} <= lines[-1].keys()
    model = models.load(outcome.checkpoint)
    assert model.domains == ("horse", "zebra")
    photo = torch.zeros(1, 3, 32, 32)
    assert model(photo, "a_to_b").shape == photo.shape
    assert model.metadata.training["dataset_images"] == [12, 12]
    root = Path(run.output.out)
    assert frames(root / "samples.webp") == 2


def test_mlp_run_on_grey_images(sampler):
    network = {"network": "mlp", "hidden": 16, "discriminator_hidden": 8, "dropout": 0.3}
    outcome = train(sampler(data={"image_size": 28, "channels": 1}, network=network))
    model = models.load(outcome.checkpoint)
    assert model(models.draw([1], 8)).shape == (1, 1, 28, 28)
    assert model.metadata.kind == "mlp"


def test_the_sheet_shows_what_the_checkpoint_gives(sampler):
    run = sampler()
    outcome = train(run)
    model = models.load(outcome.checkpoint)
    mine = models.grid(models.to_uint8(model(models.draw(models.sample_seeds(0, 64), 8))), columns=8)
    sheet = np.asarray(Image.open(Path(run.output.out) / "samples" / "000000032.png"))
    assert np.abs(mine.astype(int) - sheet).max() <= 1


# --- steps ---


def test_perceptual_terms_train_both_games(sampler, translator, stepped, monkeypatch):
    class Small:
        network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())

    monkeypatch.setattr(metrics, "extractor", lambda **_: Small)
    features = terms.inception_features(torch.device("cpu"))
    assert features(torch.zeros(2, 1, 16, 16)).shape == (2, 48)
    for make in (sampler, translator):
        plain, _ = stepped(make(), steps=1)
        game, _ = stepped(make(game={"perceptual": 5.0}), steps=1)
        pairs = zip(plain.family.weights().values(), game.family.weights().values(), strict=True)
        changed = [not torch.equal(a, b) for p, q in pairs for a, b in zip(p.parameters(), q.parameters(), strict=True)]
        assert any(changed)


def test_sample_norm_is_instance_norm():
    torch.manual_seed(0)
    images = torch.randn(3, 5, 8, 8).to(memory_format=torch.channels_last)
    expected = torch.nn.InstanceNorm2d(5)(images)
    torch.testing.assert_close(models.SampleNorm(5, eps=1e-5)(images), expected, rtol=1e-5, atol=1e-5)
    assert models.SampleNorm(5, eps=1e-5)(images).is_contiguous(memory_format=torch.channels_last)


def test_reflection_pad_moves_values_in_their_own_precision():
    """Torch's under autocast gives the same values, as float32."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        ours, torchs = ReflectionPad((2, 1, 3, 0))(images), torch.nn.ReflectionPad2d((2, 1, 3, 0))(images)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours.float(), torchs.float())


def test_faster_layers_leave_a_network_what_it_is():
    torch.manual_seed(0)
    plain = models.ResNetConfig(width=4, blocks=1).parts()["a_to_b"]
    faster = replace_slow_layers(copy.deepcopy(plain))
    kinds = {type(layer) for layer in faster.modules()}
    assert {models.SampleNorm, ReflectionPad} <= kinds
    assert not {torch.nn.InstanceNorm2d, torch.nn.ReflectionPad2d} & kinds
    assert faster.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(faster(images), plain(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sampler", "translator"])
def test_a_rise_of_the_rate_is_the_generators_alone(kind, request, stepped):
    game, _ = stepped(request.getfixturevalue(kind)(optimizer={"g_warmup_kimg": 0.008, "decay_kimg": 0.0}), steps=2)
    assert 0 < game.g_mover.optimizer.param_groups[0]["lr"] < game.run.optimizer.g_lr
    (judging,) = (one for name, one in game.players.optimizers.items() if name.startswith("discriminator"))
    assert judging.param_groups[0]["lr"] == game.run.optimizer.d_lr


# --- parts ---


def test_average_has_its_half_life_in_images():
    live = torch.nn.Linear(1, 1)
    average = Average(live, constant(100))
    start = average.module.weight.clone()
    with torch.no_grad():
        live.weight.add_(1)
    for _ in range(10):
        average.update(live, batch=10, moment=Moment(1, 10, 10))
    assert float(average.module.weight - start) == pytest.approx(0.5, abs=1e-6)


def test_average_off_is_a_copy():
    live = torch.nn.BatchNorm2d(2)
    average = Average(live, constant(0))
    live.weight.data.fill_(7)
    live.running_mean.fill_(3)
    average.update(live, batch=1, moment=Moment(1, 1, 1))
    assert (average.module.weight == 7).all()
    assert (average.module.running_mean == 3).all()


def test_standing_statistics_are_those_of_the_weights():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3)).eval()
    network[1].running_mean.fill_(99)
    inputs = torch.randn(64, 1, 8, 8)
    standing_statistics(network, [(inputs[:32],), (inputs[32:],)])
    torch.testing.assert_close(network[1].running_mean, network[0](inputs).mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not network.training
    assert network[1].momentum == 0.1


def test_pool_fills_then_exchanges_half():
    pool, random = ImagePool(5), torch.Generator().manual_seed(0)
    first = torch.arange(5.0).view(5, 1, 1, 1)
    assert torch.equal(pool.exchange(first, random), first)
    shown = torch.cat([pool.exchange(torch.full((1, 1, 1, 1), 10.0 + i), random) for i in range(400)])
    old = (shown.flatten() != torch.arange(10.0, 410.0)).float().mean()
    assert 0.4 < float(old) < 0.6
    assert len(pool.stored) == 5
    assert torch.equal(ImagePool(0).exchange(first, random), first)


def test_alarms():
    assert alarms.raised(1.0, 1.0, 1.0, done=1.0) == []
    assert "vanishing gradient" in alarms.raised(1e-6, 1.0, None, done=0.5)[0]
    assert "mode collapse" in alarms.raised(1.0, 1.0, 0.1, done=0.5)[0]
    assert alarms.raised(1.0, 1.0, 0.1, done=0.01) == [], "untrained networks have no variety yet"


def test_collapse_and_vanishing_gradients_reach_log_and_screen(sampler, capsys, monkeypatch):
    monkeypatch.setattr(alarms, "COLLAPSED", 10.0)
    monkeypatch.setattr(alarms, "VANISHING", 10.0)
    run = sampler()
    train(run)
    text = " ".join(lines_of(run)[-1]["alarms"])
    assert "vanishing gradient" in text
    assert "mode collapse" in text
    assert "ALARM" in capsys.readouterr().err


def test_nan_stops_the_run_and_names_the_last_good_snapshot(sampler, monkeypatch):
    """A weight turns to NaN in the third step: the snapshot of the second is kept, and the log ends with an alarm."""
    original = DCGAN.step

    def poisoned(self, moment):
        step = original(self, moment)
        if moment.step == 2:
            next(self.generator.parameters()).data[0] = math.nan
        return step

    monkeypatch.setattr(DCGAN, "step", poisoned)
    run = sampler(pace={"snapshot_kimg": 0.004})
    with pytest.raises(Diverged, match=r"weights of generator is not finite.*last good snapshot is .*state\.pt"):
        train(run)
    state = torch.load(Path(run.output.out) / "state.pt", weights_only=True)
    assert state["progress"]["images"] == 8
    assert all(torch.isfinite(tensor).all() for tensor in state["networks"]["generator"].values())
    (alarm,) = lines_of(run)[-1]["alarms"]
    assert "diverged" in alarm
    monkeypatch.undo()
    assert train(run, resume=True).finished


def test_a_run_that_diverges_at_once_leaves_its_alarm_and_says_what_to_do(sampler):
    run = sampler(optimizer={"g_lr": 1e30, "d_lr": 1e30})
    with pytest.raises(Diverged, match="no snapshot yet"):
        train(run)
    assert "diverged" in lines_of(run)[-1]["alarms"][0]
    with pytest.raises(models.ConflictError, match="came to no snapshot: remove it"):
        train(run)


def test_a_checkpoint_carries_the_scores_of_its_own_weights_alone(sampler, small):
    """A snapshot between two measurements has none: the last ones were another generator's."""
    run = sampler(watch={"fid_kimg": 0.008, "fid_images": 8}, pace={"kimg": 0.016, "snapshot_kimg": 0.004})
    seen = {}
    original = checkpoint.write

    def spy(path, run, game, progress, scores):
        seen[path.stem, progress.images] = set(scores)
        original(path, run, game, progress, scores)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", spy)
        train(run, extractor=small)
    last = {images: scores for (name, images), scores in seen.items() if name == "run"}
    assert last == {4: set(), 8: {"fid"}, 12: set(), 16: {"fid"}}


@pytest.mark.parametrize("kind", ["sampler", "translator"])
def test_variety_of_a_generator_with_one_image_is_nothing(request, kind):
    run = request.getfixturevalue(kind)()
    game, _ = build(run, stage(run.machine, run.pace))
    family = game.family
    family.refresh()
    assert family.variety() > 0.01
    for network in family.weights().values():
        for parameter in network.parameters():
            parameter.zero_()
    family.refresh()
    assert family.variety() == pytest.approx(0, abs=1e-5)
    assert "mode collapse" in alarms.raised(1.0, 1.0, family.variety(), done=1.0)[0]


def test_settings_that_the_machine_cannot_serve():
    with pytest.raises(models.InputError, match="--device"):
        stage(Machine(device="nonsense"), Pace())
    with pytest.raises(models.InputError, match="--compile is for GPUs"):
        stage(Machine(device="cpu", compile=True), Pace())
    with pytest.raises(models.InputError, match="does not divide"):
        stage(Machine(device="cpu"), Pace(batch=3), rank=0, world=2)


@pytest.mark.parametrize("faster", [True, False])
def test_the_precision_is_the_machines_or_the_chosen_one(monkeypatch, faster):
    monkeypatch.setattr("training.run.build.faster_in_bfloat16", lambda device: faster)
    assert stage(Machine(device="cpu"), Pace()).bf16 == faster
    assert stage(Machine(device="cpu", precision="bf16"), Pace()).bf16
    assert not stage(Machine(device="cpu", precision="fp32"), Pace()).bf16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch 2.11's own, at import
def test_a_run_on_a_gpu_with_compile(translator):
    outcome = train(translator(machine={"device": "cuda", "compile": True}))
    assert models.load(outcome.checkpoint).metadata.training["device"].startswith("cuda (")
