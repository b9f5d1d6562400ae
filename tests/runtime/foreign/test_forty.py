"""Forty files of layouts, types, dimensions, scores, labels and scalings of all kinds: the right class for each."""

import json

import coloured
import pytest
from coloured import COLOURS, Spec

import cnnkit

FORTY = coloured.forty()
SHARE = FORTY[::5]


def colours_of(spec):
    return ("black", "white") if spec.two else tuple(COLOURS)


def as_options(given):
    """Return parameters of `cnnkit.load` as options of the command line."""
    texts = {"labels": str, "input_shape": lambda shape: "x".join(map(str, shape))}
    names = {"labels": "--labels", "input_shape": "--input"}
    return [part for name, value in given.items() for part in (names[name], texts[name](value))]


def test_there_are_forty_and_no_two_are_alike():
    assert len(set(FORTY)) == 40
    for each in ("layout", "dtype", "dimensions", "scores", "labels", "scaling", "body"):
        assert len({getattr(spec, each) for spec in FORTY}) >= 2, each
    assert {spec.scores for spec in FORTY} == set(coloured.SCORES)
    assert {spec.labels for spec in FORTY} == set(coloured.LABELS)
    assert {spec.scaling for spec in FORTY} == set(coloured.SCALINGS)
    assert {spec.dimensions for spec in FORTY} == set(coloured.DIMENSIONS)


@pytest.mark.parametrize("spec", FORTY, ids=str)
def test_the_right_class_is_found_with_the_probability_that_the_file_means(spec, write):
    path, options = write(spec)
    classifier = cnnkit.load(path, device="cpu", **options)
    labels = coloured.expected_labels(spec)
    assert classifier.card.labels == labels
    names = colours_of(spec)
    for name, found in zip(names, classifier.predict([coloured.picture(n) for n in names]), strict=True):
        expected = coloured.probabilities_of(spec, COLOURS[name])
        assert found.scores[0].label == labels[expected.argmax()] == labels[spec.classes.index(name)]
        assert {s.label: s.probability for s in found.scores} == pytest.approx(
            dict(zip(labels, expected, strict=True)), abs=0.02
        )
        assert found.independent == (spec.scores == "sigmoid")


@pytest.mark.parametrize("spec", SHARE, ids=str)
def test_every_command_says_the_same_of_a_file(spec, write, images, cli):
    path, options = write(spec)
    arguments = as_options(options)
    shape = arguments[arguments.index("--input") :][:2] if "--input" in arguments else []
    names = colours_of(spec)
    predicted = cli("predict", *(images[n] for n in names), "-m", path, "--device", "cpu", *arguments, "--json")
    assert predicted.exit_code == 0, predicted.stderr
    data = json.loads(predicted.stdout)["data"]
    labels = coloured.expected_labels(spec)
    assert [p["scores"][0]["label"] for p in data["predictions"]] == [labels[spec.classes.index(n)] for n in names]

    listed = json.loads(cli("summary", path, *shape, "--json").stdout)["data"]
    assert set(listed["assumptions"]) <= set(data["assumptions"])
    size = list(cnnkit.load(path, device="cpu", **options).card.preprocessing.shape)
    assert sorted(listed["inputs"][0]["shape"]) == sorted(size)

    fixed = {"one image": 1, "two images": 2}.get(spec.dimensions, 1)
    timed = cli("benchmark", path, *shape, "--device", "cpu", "--seconds", 0.05, "--batch", fixed, "--json")
    assert timed.exit_code == 0, timed.stderr
    measured = json.loads(timed.stdout)["data"]["models"][0]
    assert [said.partition(": ")[2] for said in measured["assumptions"]] == listed["assumptions"]
    layout = listed["inputs"][0]["shape"]
    assert measured["input_type"].startswith(f"{spec.dtype} [")
    assert measured["input_type"].endswith(f"{', '.join(map(str, layout))}]")

    proved = cli("verify", path)
    assert (proved.exit_code, proved.stdout) == (1, "")
    assert "carries no model card" in proved.stderr


@pytest.mark.parametrize("spec", SHARE, ids=str)
def test_a_served_file_answers_as_predict_does(spec, write):
    from cnnkit.runtime.foreign.options import ForeignOptions
    from cnnkit.serving.batching.instance import ModelInstance
    from cnnkit.serving.settings import ModelSource, Settings

    path, options = write(spec)
    model = ModelInstance(ModelSource("net", str(path), path, ForeignOptions.of(**options)), Settings(device="cpu"))
    assert model.classifier.card.labels == coloured.expected_labels(spec)
    assert model.classifier.assumptions == cnnkit.load(path, device="cpu", **options).assumptions


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Spec(dtype="float64"), "Conv"),
        (Spec(body="flat", dimensions="open sides"), "Name the size, as in --input 3x224x224"),
    ],
    ids=str,
)
def test_what_cannot_be_known_or_run_is_refused_with_one_reason_everywhere(spec, said, tmp_path, images, cli):
    path = tmp_path / "net.onnx"
    path.write_bytes(coloured.build(spec))
    commands = [["predict", images["red"], "-m", path], ["benchmark", path, "--seconds", 0.05], ["serve", path]]
    commands = [[*command, "--device", "cpu"] for command in commands]
    if spec.dtype != "float64":  # a summary does not run it
        commands.append(["summary", path])
    results = [cli(*command) for command in commands]
    assert [r.exit_code for r in results] == [1] * len(results)
    assert all(said in r.stderr for r in results)
    assert len({r.stderr for r in results}) == 1
