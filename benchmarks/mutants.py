# ruff: noqa: E501 - a table of changes, one a line
"""Can the tests of metrics/ fail? Breaks one line at a time in a copy of the code and runs the test there that guards it.

    python -m benchmarks.mutants

The exit status is 1 if a change passed unseen. No weights are needed. The OpenVINO one needs the package, and counts
only where the CPU lacks bfloat16.
"""

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch.distributed  # noqa: F401 - what takes longest to import, once for all

ROOT = Path(__file__).resolve().parents[1]
_CAUGHT = 10  # an exit status that pytest has no use for


@dataclass(frozen=True)
class Mutant:
    """what: in words.  file: inside metrics/.  before, after: the text changed, which must occur.
    test: the one that should fail, as <file>::<name> of tests/metrics/test_metrics_<file>.py."""

    what: str
    file: str
    before: str
    after: str
    test: str


MUTANTS = (
    Mutant("gamma left out", "foreign_weights.py", 'state[norm + "weight"].double()', "1.0", "network::test_it_is_pytorch_fids_network"),
    Mutant("batch norm epsilon of torch", "foreign_weights.py", "_BATCH_NORM_EPS = 1e-3", "_BATCH_NORM_EPS = 1e-5", "network::test_it_is_pytorch_fids_network"),
    Mutant("last block pools with an average", "inception.py", "2048, max_pool=True", "2048, max_pool=False", "network::test_it_is_pytorch_fids_network"),
    Mutant("block before pools with a maximum", "inception.py", "1280, max_pool=False", "1280, max_pool=True", "network::test_it_is_pytorch_fids_network"),
    Mutant("padding counted in average pools", "inception.py", "count_include_pad=False", "count_include_pad=True", "network::test_it_is_pytorch_fids_network"),
    Mutant("resize with antialias", "protocols.py", "antialias=False", "antialias=True", "protocols::test_pytorch_fid"),
    Mutant("resize with aligned corners", "protocols.py", "align_corners=False", "align_corners=True", "protocols::test_pytorch_fid"),
    Mutant("128 for 127.5", "protocols.py", "mul_(2).sub_(1)", "mul_(255 / 128).sub_(1)", "protocols::test_pytorch_fid"),
    Mutant("bilinear for bicubic", "protocols.py", "Resampling.BICUBIC", "Resampling.BILINEAR", "protocols::test_clean_fid"),
    Mutant("bytes for floats in the resize", "protocols.py", "[..., c].astype(np.float32)", "[..., c]", "protocols::test_clean_fid"),
    Mutant("n for n - 1, small sets", "moments.py", "np.sqrt(self.n - 1)", "np.sqrt(self.n)", "moments::test_moments_are_numpys"),
    Mutant("n for n - 1, streamed sets", "moments.py", "self._scatter / (self.n - 1)", "self._scatter / self.n", "moments::test_moments_are_numpys"),
    Mutant("means of blocks not compared", "moments.py", "scatter += np.outer(", "np.outer(", "moments::test_moments_are_numpys"),
    Mutant("rows not centred before their product", "moments.py", "block -= mean", "mean = mean * 1", "moments::test_a_large_common_mean_costs_no_digits"),
    Mutant("merge forgets what had left the rows", "moments.py", "if other._scatter is not None:", "if False:", "moments::test_parts_merge_to_what_one_accumulator_holds"),
    Mutant("merge writes into the other", "moments.py", "other._scatter.copy()", "other._scatter", "moments::test_merging_leaves_the_other_as_it_was"),
    Mutant("statistics of one image taken", "moments.py", " or n.item() < 2", "", "npz::test_a_wrong_member_is_named"),
    Mutant("pickles loaded from statistics files", "npz.py", "allow_pickle=False", "allow_pickle=True", "npz::test_a_pickle_in_a_file_is_not_run"),
    Mutant("means left out of the distance", "frechet.py", "difference @ difference + ", "", "frechet::test_diagonal_covariances_have_a_closed_form"),
    Mutant("rank of a counted file ignored", "frechet.py", "d - statistics.n + 1", "0 * statistics.n", "frechet::test_a_covariance_kept_in_float32_is_no_trouble"),
    Mutant("protocols compared all the same", "frechet.py", "left != right", "False", "frechet::test_what_was_made_differently_is_not_compared"),
    Mutant("KID with its diagonal", "kernel.py", "(total - squares @ own) / pairs", "total / (pairs + squares.sum(1))", "kernel::test_kid_is_its_definition"),
    Mutant("KID kernel without 1/d", "kernel.py", "/ x.shape[1] + 1", "+ 1", "kernel::test_kid_is_its_definition"),
    Mutant("neighbours counted with oneself", "neighbours.py", "kthvalue(k + 1", "kthvalue(k", "kernel::test_prdc_equals_the_package"),
    Mutant("precision and recall swapped", "neighbours.py", "(balls > 0).double()", "recalled", "kernel::test_precision_and_recall_are_not_confused"),
    Mutant("intervals not centred again", "resampling.py", "values - values.mean() + value", "values", "trust::test_an_interval_is_the_spread_of_the_resamples_about_the_score"),
    Mutant("influences without the mean's part", "trust.py", "2 * centred @ difference + ", "", "trust::test_influences_are_the_derivatives_of_fid"),
    Mutant("line through N for 1/N", "infinity.py", "1.0 / sizes", "1.0 * sizes", "trust::test_fid_at_infinity_is_a_least_squares_line"),
    Mutant("grey 16-bit images not asked of models", "sources.py", "models.as_pixels(models.decode(path, name=name))",
           'np.asarray(models.decode(path, name=name).convert("RGB"))', "sources::test_every_kind_of_pixel_becomes_rgb_in_the_documented_way"),
    Mutant("protocol missing from the cache's key", "featuresets.py", "protocol.name, network.name, network.precision]",
           "network.name, network.precision]", "score::test_features_are_kept_under_the_images_content"),
    Mutant("every process extracts everything", "parallel.py", "dist.get_rank(), dist.get_world_size()", "0, 1", "processes::test_torchrun_gives_what_one_process_gives"),
    Mutant("OpenVINO's streams put together backwards", "openvino_backend.py", "request in used]", "request in used[::-1]]", "openvino::test_a_compiled_network_computes_the_same_for_any_batch"),
    Mutant("float32 taken for bfloat16 by OpenVINO", "openvino_backend.py", "if chosen != ", "if False and chosen != ", "openvino::test_a_precision_that_the_cpu_lacks_is_refused_not_replaced"),
    Mutant("int8 biases not corrected", "int8.py", "conv.bias.detach() - shift", "conv.bias.detach()", "int8::test_what_rounded_weights_add_on_average_is_taken_away"),
    Mutant("int8 with one scale for all channels", "int8.py", "amax((1, 2, 3)).clamp", "amax().expand(conv.out_channels).clamp", "int8::test_a_layer_is_what_integers_give"),
)  # fmt: skip


def main() -> int:
    """Prints a JSON object {what was broken: the test that failed, or null}; returns the exit status."""
    found = {}
    for mutant in MUTANTS:
        found[mutant.what] = caught = _caught_by(mutant)
        print(f"{'caught' if caught else 'MISSED'}  {mutant.what}: {caught}", file=sys.stderr)
    print(json.dumps(found, indent=2))
    return 0 if all(found.values()) else 1


def _caught_by(mutant: Mutant) -> str | None:
    name, test = mutant.test.split("::")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for room in ("models", "metrics", "tests/metrics", "tests/fixtures"):
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "metrics" / mutant.file
        text = file.read_text()
        if mutant.before not in text:
            raise SystemExit(f"{mutant.what}: {mutant.file} no longer holds {mutant.before!r}")
        file.write_text(text.replace(mutant.before, mutant.after))
        # a fork has torch in memory already, and no code of ours
        process = multiprocessing.get_context("fork").Process(
            target=_run, args=(copy, f"tests/metrics/test_metrics_{name}.py::{test}")
        )
        process.start()
        process.join()
    return test if process.exitcode == _CAUGHT else None


class _Failures:
    """A pytest plugin: whether a test's own body failed. A copy that cannot be imported is no proof of anything."""

    seen = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seen |= report.when == "call" and report.failed


def _run(copy: Path, test: str) -> None:
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    failures = _Failures()
    pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", test], plugins=[failures])
    os._exit(_CAUGHT if failures.seen else 0)


if __name__ == "__main__":
    sys.exit(main())
