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
    test: the one that should fail, as <file>::<name> inside tests/metrics/."""

    what: str
    file: str
    before: str
    after: str
    test: str


MUTANTS = (
    Mutant("gamma left out", "network/foreign_weights.py", 'state[norm + "weight"],', 'torch.ones_like(state[norm + "weight"]),', "network/test_inception.py::test_it_is_pytorch_fids_network"),
    Mutant("batch norm epsilon of torch", "network/foreign_weights.py", "_BATCH_NORM_EPS = 1e-3", "_BATCH_NORM_EPS = 1e-5", "network/test_inception.py::test_it_is_pytorch_fids_network"),
    Mutant("last block pools with an average", "network/inception.py", "2048, max_pool=True", "2048, max_pool=False", "network/test_inception.py::test_it_is_pytorch_fids_network"),
    Mutant("block before pools with a maximum", "network/inception.py", "1280, max_pool=False", "1280, max_pool=True", "network/test_inception.py::test_it_is_pytorch_fids_network"),
    Mutant("padding counted in average pools", "network/inception.py", "count_include_pad=False", "count_include_pad=True", "network/test_inception.py::test_it_is_pytorch_fids_network"),
    Mutant("resize with antialias", "extraction/protocols.py", "antialias=False", "antialias=True", "extraction/test_protocols.py::test_pytorch_fid"),
    Mutant("resize with aligned corners", "extraction/protocols.py", "align_corners=False", "align_corners=True", "extraction/test_protocols.py::test_pytorch_fid"),
    Mutant("128 for 127.5", "extraction/protocols.py", "mul_(2).sub_(1)", "mul_(255 / 128).sub_(1)", "extraction/test_protocols.py::test_pytorch_fid"),
    Mutant("bilinear for bicubic", "extraction/protocols.py", "Resampling.BICUBIC", "Resampling.BILINEAR", "extraction/test_protocols.py::test_clean_fid"),
    Mutant("bytes for floats in the resize", "extraction/protocols.py", "[..., c].astype(np.float32)", "[..., c]", "extraction/test_protocols.py::test_clean_fid"),
    Mutant("n for n - 1, small sets", "sets/moments.py", "np.sqrt(self.n - 1)", "np.sqrt(self.n)", "sets/test_moments.py::test_moments_are_numpys"),
    Mutant("n for n - 1, streamed sets", "sets/moments.py", "self._scatter / (self.n - 1)", "self._scatter / self.n", "sets/test_moments.py::test_moments_are_numpys"),
    Mutant("means of blocks not compared", "sets/moments.py", "scatter += np.outer(", "np.outer(", "sets/test_moments.py::test_moments_are_numpys"),
    Mutant("rows not centred before their product", "sets/moments.py", "block -= mean", "mean = mean * 1", "sets/test_moments.py::test_a_large_common_mean_costs_no_digits"),
    Mutant("merge forgets what had left the rows", "sets/moments.py", "if other._scatter is not None:", "if False:", "sets/test_moments.py::test_parts_merge_to_what_one_accumulator_holds"),
    Mutant("merge writes into the other", "sets/moments.py", "other._scatter.copy()", "other._scatter", "sets/test_moments.py::test_merging_leaves_the_other_as_it_was"),
    Mutant("statistics of one image taken", "sets/moments.py", " or n.item() < 2", "", "sets/test_npz.py::test_a_wrong_member_is_named"),
    Mutant("pickles loaded from statistics files", "sets/npz.py", "allow_pickle=False", "allow_pickle=True", "sets/test_npz.py::test_a_pickle_in_a_file_is_not_run"),
    Mutant("means left out of the distance", "scores/frechet.py", "difference @ difference + ", "", "scores/test_frechet.py::test_diagonal_covariances_have_a_closed_form"),
    Mutant("rank of a counted file ignored", "scores/frechet.py", "d - statistics.n + 1", "0 * statistics.n", "scores/test_frechet.py::test_a_covariance_kept_in_float32_is_no_trouble"),
    Mutant("protocols compared all the same", "scores/frechet.py", "left != right", "False", "scores/test_frechet.py::test_what_was_made_differently_is_not_compared"),
    Mutant("KID with its diagonal", "scores/kernel.py", "(total - counts**2 @ own) / _pairs(counts)", "total / (_pairs(counts) + (counts**2).sum(1))", "scores/test_kernel.py::test_kid_is_its_definition"),
    Mutant("KID kernel without 1/d", "scores/kernel.py", "/ x.shape[1] + 1", "+ 1", "scores/test_kernel.py::test_kid_is_its_definition"),
    Mutant("neighbours counted with oneself", "scores/distances.py", "kthvalue(k + 1", "kthvalue(k", "scores/test_kernel.py::test_prdc_equals_the_package_on_distinct_distances"),
    Mutant("precision and recall swapped", "scores/neighbours.py", "precise.double()", "recalled.double()", "scores/test_kernel.py::test_precision_and_recall_are_not_confused"),
    Mutant("intervals not centred again", "scores/resampling.py", "values - values.mean() + value", "values", "scores/test_trust.py::test_an_interval_is_the_spread_of_the_resamples_about_the_score"),
    Mutant("influences without the mean's part", "scores/trust.py", "2 * centred @ difference + ", "", "scores/test_trust.py::test_influences_are_the_derivatives_of_fid"),
    Mutant("line through N for 1/N", "scores/infinity.py", "1.0 / sizes", "1.0 * sizes", "scores/test_infinity.py::test_fid_at_infinity_is_a_least_squares_line"),
    Mutant("grey 16-bit images not asked of models", "extraction/sources.py", "models.as_pixels(models.upright(image))", 'np.asarray(models.upright(image).convert("RGB"))', "extraction/test_sources.py::test_every_kind_of_pixel_becomes_rgb_in_the_documented_way"),
    Mutant("protocol missing from the cache's key", "extraction/one_pass.py", "protocol.name, network.name, network.precision]", "network.name, network.precision]", "test_scoring.py::test_features_are_kept_under_the_images_content"),
    Mutant("every process extracts everything", "distributed.py", "dist.get_rank(), dist.get_world_size()", "0, 1", "test_distributed.py::test_torchrun_gives_what_one_process_gives"),
    Mutant("OpenVINO's streams put together backwards", "network/openvino_backend.py", "request in used]", "request in used[::-1]]", "network/test_openvino_backend.py::test_a_compiled_network_computes_the_same_for_any_batch"),
    Mutant("float32 taken for bfloat16 by OpenVINO", "network/openvino_backend.py", "if chosen != ", "if False and chosen != ", "network/test_openvino_backend.py::test_a_precision_that_the_cpu_lacks_is_refused_not_replaced"),
    Mutant("int8 biases not corrected", "network/int8.py", "conv.bias.detach() - shift", "conv.bias.detach()", "network/test_int8.py::test_what_rounded_weights_add_on_average_is_taken_away"),
    Mutant("int8 with one scale for all channels", "network/int8.py", "amax((1, 2, 3)).clamp", "amax().expand(conv.out_channels).clamp", "network/test_int8.py::test_a_layer_is_what_integers_give"),
    Mutant("copies that are equal called authentic", "scores/memorisation.py", "(distance > apart[which])", "(distance >= 0)", "scores/test_memorisation.py::test_copies_are_not_authentic"),
    Mutant("data copying with its sides exchanged", "scores/memorisation.py", "_z(ours, theirs)", "_z(theirs, ours)", "scores/test_memorisation.py::test_data_copying_falls_with_the_share_of_copies"),
    Mutant("cells weighed alike", "scores/memorisation.py", "weights.append(len(theirs))", "weights.append(1)", "scores/test_memorisation.py::test_data_copying_weighs_cells_by_their_held_out_images"),
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
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for room in ("models", "metrics", "tests/metrics", "tests/fixtures"):
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        shutil.copy(ROOT / "tests" / "torchvision_ops.py", copy / "tests")
        file = copy / "metrics" / mutant.file
        text = file.read_text()
        if mutant.before not in text:
            raise SystemExit(f"{mutant.what}: {mutant.file} no longer holds {mutant.before!r}")
        file.write_text(text.replace(mutant.before, mutant.after))
        # a fork has torch in memory already, and no code of ours
        process = multiprocessing.get_context("fork").Process(target=_run, args=(copy, f"tests/metrics/{mutant.test}"))
        process.start()
        process.join()
    return mutant.test if process.exitcode == _CAUGHT else None


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
