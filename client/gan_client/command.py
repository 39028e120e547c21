"""The command line: `gan sample|encode|direction|translate|score|jobs`; `gan COMMAND --help` says what each takes.

JSON goes to standard output, progress and sentences to standard error. Exit status: 0; 1 where something could not be
done, which is then named; 2 for a command that makes no sense; 130 after Ctrl-C.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gan_client import arguments, folders
from gan_client.answers import ServiceError, result_of
from gan_client.client import Client
from gan_client.jobs import Job

_AT_ONCE = 64  # images in one request to sample


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    typed = arguments.parser().parse_args(words)
    try:
        # A folder takes what time it takes: a service that is busy is asked again for ten minutes.
        with Client(typed.url, api_key=typed.api_key, callback=typed.callback, timeout_s=300, patience_s=600) as client:
            return _COMMANDS[typed.command](client, typed)
    except BrokenPipeError:  # nobody reads on, as after `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush has a place
        return 1
    except KeyboardInterrupt as interrupt:
        return _say(str(interrupt) or "Interrupted.", 130)
    except ServiceError as error:
        return _say(str(error), 1)
    except OSError as error:
        return _say(_sentence(error), 1)
    except ValueError as error:
        return _say(str(error), 2)


# Commands ----------------------------------------------------------------------------------


def _sample(client: Client, typed: argparse.Namespace) -> int:
    options = _given(typed, "model", "combine", "classes", "truncation", "format", "quality")
    if typed.directions:
        options["directions"] = dict(typed.directions)
    _check_callback(typed, typed.job, "--job")
    if typed.job:
        _print(client.submit(client.sample, typed.n, seed=typed.seed, **options).id)
        return 0
    seed: int | None = typed.seed
    client.models()  # a wrong address or key is said now, before there are a folder and a bar
    typed.out.mkdir(parents=True, exist_ok=True)
    with _bar(typed.n, "image") as bar:
        for start in range(0, typed.n, _AT_ONCE):
            if seed is not None:
                options["seed"] = seed + start
            for picture in client.sample(min(_AT_ONCE, typed.n - start), **options):
                seed = picture.seed if seed is None else seed  # the service drew it: the next ones count on from it
                name = "combined" if typed.combine else picture.seed
                picture.save(typed.out / f"{name}.{typed.format}")
                bar.update()
    return 0


def _encode(client: Client, typed: argparse.Namespace) -> int:
    options = _given(typed, "model")
    _check_callback(typed, typed.search, "--search")
    if typed.search:
        job = client.submit(client.encode, typed.photos, **options)
        _wait(job)
        _deliver(result_of(job.result()), typed.out)
    else:
        _deliver(client.encode(typed.photos, **options), typed.out)
    return 0


def _direction(client: Client, typed: argparse.Namespace) -> int:
    made = client.add_direction(typed.name, typed.a, typed.b, **_given(typed, "model", "method"))
    _print(json.dumps({name: value for name, value in made.items() if name != "vector"}, indent=2))
    return 0


def _translate(client: Client, typed: argparse.Namespace) -> int:
    planned = folders.plan(typed.photos, typed.out, typed.format)
    left = {output: photo for output, photo in planned.items() if not output.is_file()}
    there, failed, done = len(planned) - len(left), 0, 0
    options = _given(typed, "model", "direction", "format", "quality", "strength", "mask")
    if left:
        client.models()
        typed.out.mkdir(parents=True, exist_ok=True)  # where that fails, it fails once, and not for each photo
    try:
        with _bar(len(planned), "photo", there) as bar:
            for photo, error in folders.translate(client, left, typed.parallel, **options):
                bar.update()
                done, failed = done + (error is None), failed + (error is not None)
                if error is not None:
                    bar.write(f"{photo}: {_sentence(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        stopped = f"Interrupted with {there + done} of {len(planned)} done; the same command goes on from there."
        raise KeyboardInterrupt(stopped) from None
    return _say(f"{done} translated, {there} already there, {failed} failed.", 1 if failed else 0)


def _score(client: Client, typed: argparse.Namespace) -> int:
    sets = {**_side("a", typed.a), **_side("b", typed.b)}
    job = client.submit(client.score, **sets, **_given(typed, "metrics", "protocol", "extractor", "bootstrap"))
    if typed.job:
        _print(job.id)
    else:
        _wait(job)
        _deliver(result_of(job.result()), None)
    return 0


def _jobs(client: Client, typed: argparse.Namespace) -> int:
    job = client.job(typed.id)
    if typed.out is not None and not typed.wait:
        raise ValueError("-o is where the result of --wait goes.")
    if typed.wait:
        if typed.out is None and job.view()["kind"] not in ("score", "reference", "encode"):
            raise ValueError("The job makes images: say with -o where they go.")
        _wait(job)
        response = job.result()
        if typed.out is None or response.headers.get("Content-Type") == "application/json":
            _deliver(result_of(response), typed.out)
        else:
            job.download(response, typed.out)
    elif typed.follow:
        for event in job.follow():
            _print(json.dumps({"event": event.name, **event.data}))
    else:
        _print(json.dumps(job.cancel() if typed.cancel else job.view(), indent=2))
    return 0


def _check_callback(typed: argparse.Namespace, is_job: bool, flag: str) -> None:
    if typed.callback is not None and not is_job:
        raise ValueError(f"--callback tells of the end of a job: it goes with {flag}.")


def _wait(job: Job[Any]) -> None:
    with _bar(0, "image") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            job.finish(show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Interrupted; the job goes on: gan jobs {job.id} --wait") from None


def _deliver(result: Any, out: Path | None) -> None:
    """Pictures go to the folder `out`, other JSON to that file where there is one."""
    if isinstance(result, list) and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(result):
            name = index if picture.seed is None else picture.seed
            picture.save(out / f"{name}.{picture.media_type.removeprefix('image/')}")
    elif out is not None:
        out.write_text(json.dumps(result, indent=2) + "\n")
    else:
        _print(json.dumps(result, indent=2))


def _side(side: str, images: Path | str | None) -> dict[str, Any]:
    if isinstance(images, str):
        return {f"{side}_reference": images.removeprefix(arguments.KEPT_REFERENCE)}
    return {side: images}


def _given(typed: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The service knows the defaults of what was not typed."""
    return {name: getattr(typed, name) for name in names if getattr(typed, name) is not None}


_COMMANDS = {
    "sample": _sample,
    "encode": _encode,
    "direction": _direction,
    "translate": _translate,
    "score": _score,
    "jobs": _jobs,
}


# What is shown ----------------------------------------------------------------------------


def _bar(total: int, unit: str, done: int = 0) -> "tqdm[Any]":
    """On standard error; in a file, a line every ten seconds."""
    pace = 0.1 if sys.stderr.isatty() else 10
    return tqdm(total=total, initial=done, unit=unit, mininterval=pace, dynamic_ncols=True, file=sys.stderr)


def _print(text: str) -> None:
    print(text, flush=True)  # where nobody reads, it is known here and not at Python's end


def _say(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error)
