"""Going on: N + N steps are 2N steps, bit by bit, and nothing but the same run may go on."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
import torch

import models
from metrics import World
from models import CheckpointError, ConflictError, InputError
from training import train
from training.run import state
from training.run.build import build, stage
from training.run.meter import Meter


def state_of(run):
    return torch.load(Path(run.output.out) / "state.pt", weights_only=True)


def moved(run, out):
    return run.changed(output={"out": str(out), "name": "run"})


def assert_equal(a, b, where="state"):
    """Bit by bit; the times and the output folder's name may differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a.keys() - {"seconds", "config"}:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{where}[{index}]")
    elif torch.is_tensor(a):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.fixture
def stop_after(monkeypatch):
    """Sends the process a signal after so many steps."""

    def arrange(steps, number=signal.SIGTERM):
        original, count = Meter.add, 0

        def add(self, *arguments):
            nonlocal count
            original(self, *arguments)
            count += 1
            if count == steps:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Meter, "add", add)

    return arrange


# with every trick of the game besides
TRICKY = {
    "sampler": {
        "optimizer": {"decay_kimg": 0.02, "burn_in_kimg": 0.024, "burn_in_g_lr": 1e-3, "burn_in_beta2": 0.5},
        "network": {"discriminator_norm": "spectral", "dropout": 0.3},
        "data": {"conditional": True},
    },
    "translator": {"pace": {"kimg": 0.032}, "network": {"discriminator_norm": "spectral"}},
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["sampler", "translator"])
def test_stopped_and_gone_on_equals_straight_through(
    kind, number, request, tricks, tmp_path, stop_after, monkeypatch, capsys
):
    handler_before = signal.getsignal(number)
    run = request.getfixturevalue(kind)(game=tricks, **TRICKY[kind])
    straight = moved(run, tmp_path / "straight")
    train(straight)
    stop_after(3, number)
    outcome = train(run)
    assert not outcome.finished
    assert f"--resume {run.output.out}" in capsys.readouterr().err
    assert state_of(run)["progress"]["step"] == 3
    monkeypatch.undo()
    assert train(run, resume=True).finished
    assert_equal(state_of(run), state_of(straight))
    ended = [models.load(Path(r.output.out) / "run.safetensors") for r in (run, straight)]
    assert_equal(*({name: part.state_dict() for name, part in model.parts.items()} for model in ended))
    assert signal.getsignal(number) is handler_before


def test_the_log_has_no_line_twice_after_a_kill(sampler, tmp_path):
    """What a killed process wrote after its last snapshot is taken back."""
    run = sampler()
    train(run)
    root = Path(run.output.out)
    before = (root / "log.jsonl").read_text()
    longer = run.changed(pace={"kimg": 0.048})
    with (root / "log.jsonl").open("a") as file:
        file.write(json.dumps({"images": 40, "loss_d": 99.0}) + '\n{"images": 44, "los')
    (root / "samples" / "000000040.png").write_bytes(b"half a picture")
    (root / "samples" / "²³.png").write_bytes(b"somebody's own")
    (root / ".state.pt.abc.tmp").write_bytes(b"half a snapshot")
    train(longer, resume=True)
    lines = [json.loads(line) for line in (root / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [8, 16, 24, 32, 40, 48]
    assert (root / "log.jsonl").read_text().startswith(before)
    assert not (root / "samples" / "000000040.png").exists()
    assert (root / "samples" / "²³.png").exists()
    assert not list(root.rglob("*.tmp"))


def test_a_finished_run_can_be_made_longer(sampler, tmp_path):
    long = moved(sampler(pace={"kimg": 0.048}), tmp_path / "long")
    train(long)
    run = sampler()
    train(run)
    train(sampler(pace={"kimg": 0.048}), resume=True)
    assert_equal(state_of(run)["networks"], state_of(long)["networks"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": {"g_lr": 1e-3}}, ["optimizer.g_lr: 0.0002 in the snapshot, 0.001 now"]),
        ({"pace": {"batch": 8, "seed": 5}}, ["pace.batch: 4", "pace.seed: 0 in the snapshot, 5 now"]),
        ({"game": {"loss": "hinge"}}, ["game.loss: 'non-saturating' in the snapshot, 'hinge' now"]),
        ({"data": {"flips": True}}, ["data.flips"]),
        ({"data": {"channels": 1}}, ["data.channels", "dataset: "]),
    ],
)
def test_a_changed_configuration_is_refused_with_the_difference(sampler, changes, words):
    run = sampler()
    train(run)
    before = (Path(run.output.out) / "state.pt").read_bytes()
    with pytest.raises(ConflictError) as caught:
        train(sampler(**changes), resume=True)
    assert all(word in str(caught.value) for word in words)
    assert (Path(run.output.out) / "state.pt").read_bytes() == before


def test_other_images_under_the_same_name_are_refused(sampler, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    sheet = models.encode((torch.arange(768) % 256).to(torch.uint8).view(16, 16, 3).numpy())
    (photos / "a.png").write_bytes(sheet)
    run = sampler(data={"data": str(photos)})
    train(run)
    (photos / "b.png").write_bytes(sheet)
    with pytest.raises(ConflictError, match="dataset"):
        train(run, resume=True)


def test_the_schedule_may_change_only_before_it_falls(sampler, stop_after, monkeypatch):
    stop_after(2)
    run = sampler(optimizer={"decay_kimg": 0.016})
    train(run)
    monkeypatch.undo()
    train(sampler(optimizer={"decay_kimg": 0.008}), resume=True)  # at 8 of 32 images nothing has fallen yet
    with pytest.raises(ConflictError, match=r"pace\.kimg.*while the generator's rate"):
        train(sampler(optimizer={"decay_kimg": 0.008}, pace={"kimg": 0.064}), resume=True)


def test_a_run_can_be_made_longer_within_its_burn_in_whose_length_stays(sampler, tmp_path):
    """Its numbers follow from the images seen, not from the run's length."""
    burn_in = {"burn_in_kimg": 0.016, "burn_in_d_lr": 1e-3, "burn_in_beta2": 0.5}
    straight = moved(sampler(optimizer=burn_in, pace={"kimg": 0.032}), tmp_path / "straight")
    train(straight)
    train(sampler(optimizer=burn_in, pace={"kimg": 0.016}))
    with pytest.raises(ConflictError, match=r"optimizer\.burn_in_kimg: 0\.016 in the snapshot, 0\.032 now"):
        train(sampler(optimizer=burn_in | {"burn_in_kimg": 0.032}, pace={"kimg": 0.032}), resume=True)
    longer = sampler(optimizer=burn_in, pace={"kimg": 0.032})
    train(longer, resume=True)
    assert_equal(state_of(longer)["networks"], state_of(straight)["networks"])


def test_machine_settings_may_change(sampler, stop_after, monkeypatch):
    stop_after(2)
    train(sampler())
    monkeypatch.undo()
    assert train(sampler(machine={"precision": "fp32", "channels_last": False}), resume=True).finished


def test_moments_follow_their_weights_into_another_memory_layout(sampler):
    """A fused step from a snapshot gives the same weights in either layout, with a gradient for each element."""
    run = sampler(pace={"kimg": 0.008})
    train(run)
    weights = {}
    for channels_last in (True, False):
        config = run.changed(machine={"channels_last": channels_last})
        game, digest = build(config, stage(config.machine, config.pace))
        state.restore(state_of(run), state.About(config, digest), game.players, World())
        network = game.players.networks["generator"]
        for parameter in network.parameters():
            gradient = torch.linspace(-1, 1, parameter.numel()).view(parameter.shape)
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        game.players.optimizers["generator"].step()
        weights[channels_last] = network.state_dict()
    layouts = [weights[channels_last]["layers.3.weight"].stride() for channels_last in (True, False)]
    assert layouts[0] != layouts[1]
    for name, tensor in weights[True].items():
        torch.testing.assert_close(tensor, weights[False][name], rtol=1e-5, atol=1e-7)


def test_an_option_that_is_newer_than_the_snapshot_had_its_default(sampler):
    run = sampler()
    train(run)
    path = Path(run.output.out) / "state.pt"
    old = torch.load(path, weights_only=True)
    config = json.loads(old["config"])
    del config["game"]["augment"]
    torch.save(old | {"config": json.dumps(config)}, path)
    assert train(sampler(pace={"kimg": 0.036}), resume=True).finished


class Attack:
    def __reduce__(self):
        return (print, ("the snapshot ran code",))


@pytest.mark.parametrize("damage", ["cut", "text", "attack", "other"])
def test_damaged_and_hostile_snapshots_are_refused(sampler, damage, capsys):
    run = sampler(pace={"kimg": 0.004})
    train(run)
    path = Path(run.output.out) / "state.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "attack":
        torch.save({"format": 1, "networks": Attack()}, path)
    else:
        torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt is not"):
        train(run, resume=True)
    assert "ran code" not in capsys.readouterr().out


def test_a_snapshot_of_other_networks_is_refused(sampler):
    run = sampler(pace={"kimg": 0.004})
    train(run)
    path = Path(run.output.out) / "state.pt"
    content = torch.load(path, weights_only=True)
    content["networks"]["generator"].popitem()
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="does not fit"):
        train(run, resume=True)


def test_one_command_begins_a_run_and_goes_on_with_it(sampler, tmp_path, stop_after, monkeypatch):
    """Told neither that the folder is empty nor that it holds the run: the same call, as something starts it again."""
    straight = moved(sampler(), tmp_path / "straight")
    train(straight)
    stop_after(5)
    assert not train(sampler(), resume=None).finished
    monkeypatch.undo()
    assert train(sampler(), resume=None).finished
    assert_equal(state_of(sampler()), state_of(straight))


def test_a_run_that_is_over_is_left_as_it_is(sampler, capsys):
    train(sampler())
    before = (Path(sampler().output.out) / "state.pt").read_bytes()
    assert train(sampler(), resume=None).finished
    assert "The run has come to its end already, at 32 images" in capsys.readouterr().err
    assert (Path(sampler().output.out) / "state.pt").read_bytes() == before


def test_what_came_to_no_snapshot_begins_again(sampler, tmp_path):
    """A run that was killed before its first snapshot has left a configuration, lines of its log, and sheets."""
    straight = moved(sampler(), tmp_path / "straight")
    train(straight)
    train(sampler())
    root = Path(sampler().output.out)
    (root / "state.pt").unlink()
    (root / "samples" / "²³.png").write_bytes(b"somebody's own")
    (root / ".state.pt.abc.tmp").write_bytes(b"half a snapshot")
    with pytest.raises(ConflictError, match="begin that run again with --continue"):
        train(sampler())
    assert train(sampler(), resume=None).finished
    assert_equal(state_of(sampler()), state_of(straight))
    assert [json.loads(line)["images"] for line in (root / "log.jsonl").read_text().splitlines()] == [8, 16, 24, 32]
    assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "before"])
def test_the_same_command_with_other_flags_is_refused_with_the_difference(sampler, translator, snapshot):
    train(sampler())
    root = Path(sampler().output.out)
    if not snapshot:
        (root / "state.pt").unlink()
    before = (root / "log.jsonl").read_bytes()
    with pytest.raises(ConflictError, match=r"optimizer\.g_lr: 0\.0002 in the \w+, 0\.001 now"):
        train(sampler(optimizer={"g_lr": 1e-3}), resume=None)
    with pytest.raises(ConflictError, match=r"kind: 'dcgan' in the \w+, 'cyclegan' now"):
        train(translator(), resume=None)
    assert (root / "log.jsonl").read_bytes() == before


def test_pools_are_shared_out_to_another_number_of_processes():
    def shared(sizes, world):
        pools = [torch.full((size, 1, 1, 1), float(rank)) for rank, size in enumerate(sizes)]
        return [state._shared_out(pools, World(rank, world)).flatten().tolist() for rank in range(world)]

    assert shared([3, 3], 2) == [[0, 0, 0], [1, 1, 1]]
    assert shared([3, 3], 1) == [[0, 0, 0]]  # of six, as many as one keeps
    assert shared([4], 2) == [[0, 0], [0, 0]]
    assert shared([2, 2, 2], 2) == [[0, 1], [0, 1]]
    assert state._shared_out([torch.empty(0), torch.empty(0)], World()).shape == (0,)


def test_nothing_to_resume(sampler):
    with pytest.raises(InputError, match="no snapshot"):
        train(sampler(), resume=True)


def test_progress_is_plain_data():
    fields = {field.name for field in dataclasses.fields(state.Progress)}
    assert fields == {"step", "images", "seconds", "best", "reference_gradient"}
