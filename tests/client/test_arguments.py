"""Addresses and keys from flags and from the environment, and what is refused as it is typed."""

import pytest

from gan_client.command import main

NOWHERE = "http://127.0.0.1:9"


def test_flags_win_over_the_environment_on_either_side_of_the_command(proxy, monkeypatch, tmp_path, capsys):
    proxy.answers = [(401, None, '{"error": {"message": "No.", "code": "unauthorized", "where": null}}')]
    monkeypatch.setenv("GAN_URL", proxy.url)
    monkeypatch.setenv("GAN_API_KEY", "of the environment")
    for words in ([], ["--api-key", "before"], ["--api-key", "before", "--url", NOWHERE]):
        assert main([*words, "jobs", "1"]) == 1
    assert main(["jobs", "1", "--api-key", "after"]) == 1
    assert main(["--url", NOWHERE, "jobs", "1", "--url", proxy.url]) == 1
    keys = [headers["Authorization"].removeprefix("Bearer ") for headers, _ in proxy.seen]
    assert keys == ["of the environment", "before", "after", "of the environment"]
    said = capsys.readouterr().err.splitlines()
    assert said == ["No.", "No.", f"{NOWHERE} cannot be reached: Connection refused", "No.", "No."]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "required: COMMAND"),
        (["sample"], "one of the arguments -o/--out --job is required"),
        (["sample", "-n", "0", "-o", "out"], "'0' is not a whole number from 1 on"),
        (["sample", "-n", "٣", "-o", "out"], "'٣' is no whole number"),
        (["sample", "--seed", "1_0", "-o", "out"], "'1_0' is no whole number"),
        (["sample", "--seed", "1" * 20, "-o", "out"], "is too large a number"),
        (["sample", "--truncation", "nan", "-o", "out"], "'nan' is no number"),
        (["sample", "--truncation", "1e400", "-o", "out"], "'1e400' is no number"),
        (["sample", "--direction", "older=inf", "-o", "out"], "'older=inf' is no step"),
        (["sample", "--combine", " 7=1", "-o", "out"], "' 7=1' is no term"),
        (["sample", "-o", "out", "--sed", "3"], "unrecognized arguments: --sed 3"),
        (["translate", "nowhere", "out"], "nowhere: no such file or folder"),
        (["translate", "", "out"], "argument PHOTOS: an empty text names no file"),
        (["translate", "n" * 300, "out"], "File name too long"),
        (["sample", "-o", "n" * 300], "File name too long"),
        (["translate", "photos"], "required: OUT"),
        (["translate", "photos", "notes.txt"], "notes.txt is a file"),
        (["score", "photos", "nowhere"], "nowhere: no such file or folder"),
        (["score", "photos", "photos", "--metrics", "fid,kit"], "'kit' is none of fid, kid"),
        (["jobs", "1", "--wait", "--cancel"], "not allowed with argument --wait"),
        (["jobs", "1", "--url", "localhost:3000"], "'localhost:3000' is no address"),
    ],
)
def test_what_makes_no_sense_is_status_2(words, sentence, tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
