import pytest

from cnnkit.data import sets
from cnnkit.data.dataset import Location
from cnnkit.data.sets import BUILT_IN, find
from cnnkit.errors import DataError, UnknownNameError
from cnnkit.images import Preprocessing

ON_DISK = [spec for spec in BUILT_IN.values() if spec.files]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give each test a cache folder of its own, and no data folder in the environment."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("CNNKIT_DATA", raising=False)
    return tmp_path / "cache" / "cnnkit" / "data"


def put(spec, folder):
    for file in spec.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        make(folder / file, is_folder=file.endswith("/"))


def make(path, *, is_folder):
    path.mkdir(exist_ok=True) if is_folder else path.write_bytes(b"x")


@pytest.mark.parametrize("spec", ON_DISK, ids=lambda spec: spec.name)
def test_the_data_folder_comes_from_the_option_then_the_environment_then_the_cache(spec, tmp_path, monkeypatch, cache):
    option, variable = tmp_path / "option", tmp_path / "variable"
    for folder in (option, variable, cache):
        put(spec, folder)
    assert spec.locate() == Location(cache, True, "cache")
    monkeypatch.setenv("CNNKIT_DATA", str(variable))
    assert spec.locate() == Location(variable, True, "$CNNKIT_DATA")
    assert spec.locate(option) == Location(option, True, "--data-dir")


def test_the_first_folder_that_is_named_counts_even_where_another_has_the_files(tmp_path, monkeypatch, cache):
    spec = find("mnist")
    put(spec, cache)
    monkeypatch.setenv("CNNKIT_DATA", str(tmp_path / "variable"))
    assert spec.locate() == Location(tmp_path / "variable", False, "$CNNKIT_DATA")
    assert spec.locate(tmp_path / "option") == Location(tmp_path / "option", False, "--data-dir")


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("CNNKIT_DATA", "")
    assert find("mnist").locate().origin == "cache"


def test_a_tilde_in_the_variable_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CNNKIT_DATA", "~/data")
    assert find("mnist").locate().folder == tmp_path / "data"


@pytest.mark.parametrize("spec", ON_DISK, ids=lambda spec: spec.name)
def test_a_data_set_is_present_only_when_every_file_is_there(spec, tmp_path):
    assert not spec.locate(tmp_path / "nowhere").present
    put(spec, tmp_path)
    assert spec.locate(tmp_path).present
    for file in spec.files:
        (tmp_path / file).rename(tmp_path / "aside")
        assert not spec.locate(tmp_path).present
        make(tmp_path / file, is_folder=not file.endswith("/"))  # a folder of that name is no file, nor the reverse
        assert not spec.locate(tmp_path).present
        (tmp_path / file).rmdir() if (tmp_path / file).is_dir() else (tmp_path / file).unlink()
        (tmp_path / "aside").rename(tmp_path / file)


def test_a_drawn_data_set_is_always_present(tmp_path):
    assert find("shapes").locate(tmp_path) == Location(None, True, "none")


@pytest.mark.parametrize("spec", BUILT_IN.values(), ids=lambda spec: spec.name)
def test_the_form_of_a_data_set_is_one_that_images_can_be_brought_to(spec):
    height, width, channels = spec.image_shape or (64, 64, 3)
    form = Preprocessing(channels, height, width, (0.0,) * channels, (1.0,) * channels, spec.fit, spec.polarity)
    assert form.shape == (spec.image_shape or (64, 64, 3))
    assert len(set(spec.labels)) == len(spec.labels)


def test_an_unknown_data_set_is_answered_with_the_close_matches_and_how_to_give_a_folder():
    with pytest.raises(UnknownNameError, match=r"no data set 'fashion'. Did you mean fashion-mnist.* \./photos"):
        find("fashion")


def test_the_folder_that_a_network_was_trained_on_is_looked_for_as_written_and_then_in_the_data_folder(
    tmp_path, monkeypatch
):
    written, option, variable = tmp_path / "photos", tmp_path / "option", tmp_path / "variable"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNKIT_DATA", str(variable))
    for folder in (variable / "photos", option / "photos"):
        folder.mkdir(parents=True)
    assert sets.find_own("./photos", ("a", "b")) == str(variable / "photos")
    assert sets.find_own("./photos", ("a", "b"), option) == str(option / "photos")
    written.mkdir()
    assert sets.find_own("./photos", ("a", "b"), option) == "./photos"
    assert sets.find_own("mnist", ("a", "b")) == "mnist"


@pytest.mark.parametrize(
    ("labels", "instead"),
    [
        (("circles", "squares", "triangles"), "Other images of the same classes: --data shapes."),
        (tuple("0123456789"), "Other images of the same classes: --data mnist or --data svhn."),
        (("a", "b"), ""),
    ],
)
def test_the_folder_that_is_nowhere_is_answered_with_the_places_and_what_to_do(labels, instead, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as found:
        sets.find_own("./photos", labels, tmp_path / "data")
    said = str(found.value)
    for part in (tmp_path / "photos", tmp_path / "data" / "photos", "(--data-dir)", "give its path with --data, or"):
        assert str(part) in said
    assert said.endswith(instead or "with --data-dir.")
