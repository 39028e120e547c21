"""Training speed and memory on the CPU: our steps against loops written plainly, side by side in one run.

    python benchmarks/train_speed.py [--rounds 3] [--steps 6] [--threads 2]

The plain loops train the same networks with the same losses, in the manner of their sources: DCGAN as pytorch/examples'
dcgan/main.py (batch 64, 64 px), CycleGAN as the authors' code (one pair, 128 px, width 64, 6 blocks, pool of 50). They
get their batches ready-made; ours deals, flips and crops its own, and keeps its averaged weights besides. Each
measurement is a process of its own, so that the peaks of memory are each one's; the rounds are interleaved, and
medians count. Prints one JSON object.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2
BATCH = {"dcgan": 64, "cyclegan": 1}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=6)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--measure", nargs=2, metavar=("GAME", "SIDE"), help=argparse.SUPPRESS)
    typed = arguments.parse_args()
    if typed.measure:
        print(json.dumps(measure(typed.measure[0], typed.measure[1], typed.steps, typed.threads)))
        return
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(typed.rounds):
        for game in BATCH:
            for side in ("plain", "ours"):
                command = [sys.executable, __file__, "--steps", str(typed.steps), "--threads", str(typed.threads)]
                done = subprocess.run([*command, "--measure", game, side], capture_output=True, text=True, check=True)
                taken.setdefault((game, side), []).append(json.loads(done.stdout))
    report: dict[str, dict[str, float]] = {}
    for game in BATCH:
        report[game] = {}
        for figure in ("images_per_s", "images_per_cpu_s", "peak_mb"):
            plain, mine = (statistics.median(one[figure] for one in taken[game, side]) for side in ("plain", "ours"))
            report[game] |= {f"plain_{figure}": plain, f"ours_{figure}": mine, f"{figure}_ratio": mine / plain}
    print(json.dumps({game: {k: round(v, 2) for k, v in one.items()} for game, one in report.items()}, indent=2))


def measure(game: str, side: str, steps: int, threads: int) -> dict[str, float]:
    """Over `steps` steps after a warm-up: images/s, images per second of computing, which other work on the machine
    hardly changes, and this process's peak of resident memory in MiB."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    sys.path.insert(0, str(ROOT))
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = {
        ("dcgan", "plain"): plain_dcgan,
        ("cyclegan", "plain"): plain_cyclegan,
        ("dcgan", "ours"): lambda: ours("dcgan"),
        ("cyclegan", "ours"): lambda: ours("cyclegan"),
    }[game, side]()
    for _ in range(WARM_UP):
        step()
    started, computed = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    images = steps * BATCH[game]
    return {
        "images_per_s": images / (time.perf_counter() - started),
        "images_per_cpu_s": images / (time.process_time() - computed),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def ours(game: str) -> Callable[[], None]:
    """A step of `python -m training`, with its defaults."""
    from training.engine.stage import Moment
    from training.games.table import games
    from training.options.flags import from_dict, merged
    from training.run.build import build, stage

    size = {"dcgan": 64, "cyclegan": 128}[game]
    options = {"data": {"data": "fake", "image_size": size}, "output": {"out": "nowhere"}}
    blocks = {"network": {"blocks": 6}} if game == "cyclegan" else {}
    run = from_dict(games()[game].Run, merged(options, blocks))
    players, _ = build(run, stage(run.machine, run.pace))
    done = 0

    def step() -> None:
        nonlocal done
        came_to = players.step(Moment(done, done * players.images_per_step, 10**6))
        float(came_to.loss_g)
        done += 1

    return step


def plain_dcgan() -> Callable[[], None]:
    """The loop of pytorch/examples, dcgan/main.py: real and fake passes apart, BCE, two Adams, float32."""
    import torch
    from torch import nn

    from models import DCGANConfig, DCGANDiscriminatorConfig

    generator, discriminator = DCGANConfig().parts()["generator"], DCGANDiscriminatorConfig().build()
    criterion = nn.BCEWithLogitsLoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batch = BATCH["dcgan"]
    real = torch.rand(batch, 3, 64, 64) * 2 - 1

    def step() -> None:
        discriminator.zero_grad()
        loss_real = criterion(discriminator(real), torch.ones(batch))
        loss_real.backward()
        fake = generator(torch.randn(batch, 100))
        loss_fake = criterion(discriminator(fake.detach()), torch.zeros(batch))
        loss_fake.backward()
        optimizer_d.step()
        generator.zero_grad()
        loss = criterion(discriminator(fake), torch.ones(batch))
        loss.backward()
        optimizer_g.step()
        loss.item()

    return step


def plain_cyclegan() -> Callable[[], None]:
    """The paper's loop as its authors wrote it: six generator passes, the discriminators frozen meanwhile, float32."""
    import itertools

    import torch
    from torch import Tensor, nn

    from models import PatchGANConfig, ResNetConfig

    a_to_b, b_to_a = ResNetConfig(blocks=6).parts().values()
    judge_a, judge_b = (PatchGANConfig().build() for _ in range(2))
    square, absolute = nn.MSELoss(), nn.L1Loss()
    optimizer_g = torch.optim.Adam(itertools.chain(a_to_b.parameters(), b_to_a.parameters()), 2e-4, (0.5, 0.999))
    optimizer_d = torch.optim.Adam(itertools.chain(judge_a.parameters(), judge_b.parameters()), 2e-4, (0.5, 0.999))
    real_a, real_b = torch.rand(1, 3, 128, 128) * 2 - 1, torch.rand(1, 3, 128, 128) * 2 - 1
    pools: dict[str, list[Tensor]] = {"a": [], "b": []}

    def query(name: str, image: Tensor) -> Tensor:
        pool = pools[name]
        if len(pool) < 50:
            pool.append(image.detach().clone())
            return image
        if random.random() < 0.5:
            return image
        place = random.randrange(50)
        old, pool[place] = pool[place], image.detach().clone()
        return old

    def judged(logits: Tensor, real: bool) -> Tensor:
        return square(logits, torch.ones_like(logits) if real else torch.zeros_like(logits))

    def step() -> None:
        for judge in (judge_a, judge_b):
            judge.requires_grad_(False)
        optimizer_g.zero_grad()
        fake_b, fake_a = a_to_b(real_a), b_to_a(real_b)
        back_a, back_b = b_to_a(fake_b), a_to_b(fake_a)
        identity = absolute(a_to_b(real_b), real_b) + absolute(b_to_a(real_a), real_a)
        adversarial = judged(judge_b(fake_b), True) + judged(judge_a(fake_a), True)
        loss = adversarial + 10 * (absolute(back_a, real_a) + absolute(back_b, real_b)) + 5 * identity
        loss.backward()
        optimizer_g.step()
        for judge in (judge_a, judge_b):
            judge.requires_grad_(True)
        optimizer_d.zero_grad()
        for judge, real, fake in ((judge_a, real_a, query("a", fake_a)), (judge_b, real_b, query("b", fake_b))):
            (0.5 * (judged(judge(real), True) + judged(judge(fake.detach()), False))).backward()
        optimizer_d.step()
        loss.item()

    return step


if __name__ == "__main__":
    main()
