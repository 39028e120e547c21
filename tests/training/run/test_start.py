"""`--start`: networks that begin where a checkpoint or a run ended."""

import json
from pathlib import Path

import pytest
import torch

import models
from models import InputError
from training import train
from training.engine.stage import Moment
from training.run.build import build, stage

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
LABELLED = {"data": str(FIXTURES / "cifar10" / "train")}


def game_of(run):
    return build(run, stage(run.machine, run.pace))[0]


@pytest.fixture
def trained(sampler, tmp_path):
    """The checkpoint of an unconditional run."""
    return train(sampler(data=LABELLED, output={"out": str(tmp_path / "first")})).checkpoint


def same(network, checkpoint, part="generator"):
    model = models.load(Path(checkpoint))
    given = model.parts[part].state_dict()
    return all(torch.equal(network.state_dict()[name], value) for name, value in given.items())


def test_a_generator_begins_where_another_ended(sampler, trained):
    game = game_of(sampler(data=LABELLED, network={"start": trained}))
    assert same(game.generator, trained)
    assert same(game.average.module, trained)
    assert not same(game_of(sampler(data=LABELLED)).generator, trained)


def test_classes_can_be_added_to_one_without(sampler, trained):
    """The first pictures of every class are those of the model without classes."""
    network = {"start": trained, "class_embedding": 0}
    run = sampler(data=LABELLED | {"conditional": True}, network=network, optimizer={"g_warmup_kimg": 0.008})
    game = game_of(run)
    latents, classes = models.draw(range(4), 8), torch.arange(4)
    expected = models.load(Path(trained))(latents)
    with torch.no_grad():
        torch.testing.assert_close(game.average.module(latents, classes), expected)
    outcome = train(run)
    ended = models.load(Path(outcome.checkpoint))
    assert len(ended.classes) == 10
    assert ended.config.class_embedding == 0
    weights = ended.parts["generator"].state_dict()
    assert any(float(value.abs().max()) > 0 for name, value in weights.items() if "scales" in name)


def test_both_generators_of_a_translator(translator, tmp_path):
    first = train(translator(output={"out": str(tmp_path / "first")})).checkpoint
    game = game_of(translator(network={"start": first}))
    assert same(game.a_to_b, first, "a_to_b")
    assert same(game.b_to_a, first, "b_to_a")


def test_a_runs_folder_gives_its_discriminators_too(sampler, translator, trained, tmp_path):
    photos = train(translator(output={"out": str(tmp_path / "photos"), "name": "named"})).checkpoint
    fresh = {"discriminator": game_of(sampler(data=LABELLED))} | dict.fromkeys(
        ["judge_a", "judge_b"], game_of(translator())
    )
    for folder, make, judges in (
        (Path(trained).parent, lambda **start: sampler(data=LABELLED, **start), ["discriminator"]),
        (Path(photos).parent, translator, ["judge_a", "judge_b"]),
    ):
        game = game_of(make(network={"start": str(folder)}))
        kept = torch.load(folder / "state.pt", weights_only=True)["networks"]
        for name in judges:
            weights, other = game.players.networks[name].state_dict(), fresh[name].players.networks[name].state_dict()
            assert all(torch.equal(weights[key], value) for key, value in kept[name].items())
            assert any(not torch.equal(weights[key], other[key]) for key in weights)
    assert game.origin["start"]["name"] == "named"
    assert same(game.a_to_b, photos, "a_to_b")  # the averaged weights, not the snapshot's own
    assert same(game_of(sampler(data=LABELLED, network={"start": str(Path(trained).parent)})).generator, trained)


def test_a_runs_discriminator_has_to_fit(sampler, trained):
    run = sampler(data=LABELLED, network={"start": str(Path(trained).parent), "discriminator_width": 8})
    with pytest.raises(InputError, match="its discriminator is a network of another shape than this run's"):
        game_of(run)


def test_a_folder_that_is_not_a_runs(sampler, trained, tmp_path):
    folder = Path(trained).parent
    with pytest.raises(InputError, match=r"--start: .*config\.json cannot be read"):
        game_of(sampler(network={"start": str(tmp_path)}))
    (folder / "state.pt").unlink()
    with pytest.raises(models.NotFoundError, match=r"there is no state\.pt"):
        game_of(sampler(data=LABELLED, network={"start": str(folder)}))


def test_a_checkpoint_counts_what_its_beginning_saw(sampler, trained, tmp_path):
    second = train(sampler(data=LABELLED, network={"start": trained}, output={"out": str(tmp_path / "second")}))
    third = train(sampler(data=LABELLED, network={"start": second.checkpoint}, output={"out": str(tmp_path / "third")}))
    starts = [models.load(Path(path)).metadata.training.get("start") for path in (trained, second.checkpoint)]
    digests = [models.sha256_of(path) for path in (trained, second.checkpoint)]
    assert starts == [None, {"name": "first", "digest": digests[0], "images": 32}]
    last = models.load(Path(third.checkpoint)).metadata.training
    assert last["start"] == {"name": "second", "digest": digests[1], "images": 64}
    assert last["images"] == 32


def test_a_resumed_run_goes_on_from_its_own_snapshot(sampler, trained):
    run = sampler(data=LABELLED, network={"start": trained})
    first = Path(train(run).checkpoint).read_bytes()
    longer = sampler(data=LABELLED, network={"start": trained}, pace={"kimg": 0.04})
    outcome = train(longer, resume=True)
    lines = [json.loads(line) for line in (Path(run.output.out) / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [8, 16, 24, 32, 40]
    assert Path(outcome.checkpoint).read_bytes() != first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"width": 6}}, r"another shape than this run's: layers\.0\.weight"),
        ({"data": LABELLED | {"image_size": 32}}, "another shape"),
        (
            {"data": LABELLED | {"conditional": True}},
            r"embedding\.weight.*say --class-embedding 0",
        ),  # beside the latent: no place for it
        ({"network": {"network": "mlp"}}, "another shape"),
    ],
)
def test_another_architecture_is_refused(sampler, trained, changes, words):
    changes = {"data": LABELLED} | changes
    changes["network"] = changes.get("network", {}) | {"start": trained}
    with pytest.raises(InputError, match=words):
        game_of(sampler(**changes))


def test_a_translator_does_not_start_a_sampler(translator, sampler, trained, tmp_path):
    photos = train(translator(output={"out": str(tmp_path / "photos")})).checkpoint
    with pytest.raises(InputError, match="holds a_to_b and b_to_a, not generator"):
        game_of(sampler(data=LABELLED, network={"start": photos}))
    with pytest.raises(InputError, match="holds generator, not a_to_b"):
        game_of(translator(network={"start": trained}))


def test_no_such_checkpoint(sampler, tmp_path):
    with pytest.raises(models.NotFoundError, match=r"nowhere\.safetensors"):
        game_of(sampler(network={"start": str(tmp_path / "nowhere.safetensors")}))


@pytest.mark.parametrize("classes", [False, True])
def test_a_wider_generator_draws_what_the_narrow_one_drew_and_learns_with_all_its_channels(sampler, trained, classes):
    data = LABELLED | {"conditional": True} if classes else LABELLED
    network = {"start": trained, "width": 12, "class_embedding": 0}  # three times as wide
    run = sampler(data=data, network=network)
    game = game_of(run)
    latents = models.draw(range(4), 8)
    expected = models.load(Path(trained))(latents)
    drawn = game.average.module(latents, torch.arange(4)) if classes else game.average.module(latents)
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-5)
    game.step(Moment(0, 0, 100))
    gradient = game.generator.layers[3].weight.grad  # of the same channel's copies, [3 x 8, 3 x 4, 4, 4]
    copies = gradient.unflatten(0, (3, 8)).unflatten(2, (3, 4))
    assert not torch.allclose(copies[0, :, 0], copies[0, :, 1])
