"""Runs of layers alike."""

from dataclasses import replace

from cnnkit.inspection.folding import folded
from cnnkit.inspection.results import ModuleRow
from cnnkit.inspection.summary import summarize_network


def row(name: str, kind: str = "Conv2d", *, parameters: int = 1, field: int = 1) -> ModuleRow:
    return ModuleRow(
        name, kind, name.count(".") + 1, (8,), parameters, 0, is_leaf=True, receptive_field=(field,), order=field
    )


def told(rows: tuple[ModuleRow, ...]) -> list[tuple[str, int]]:
    return [(one.name, one.repeats) for one in rows]


def test_blocks_alike_are_one_with_the_field_of_the_last() -> None:
    rows = []
    for index in range(3):
        rows += [row(f"b{index}", "Block", field=9 * index), row(f"b{index}.conv", field=9 * index + 1)]
    found = folded([row("stem", "Stem"), *rows, row("head", "Head")])
    assert told(found) == [("stem", 1), ("b0", 3), ("b0.conv", 1), ("head", 1)]
    assert [one.receptive_field for one in found[1:3]] == [(18,), (19,)]
    assert found[1].order == 0


def test_folds_lie_within_folds() -> None:
    rows = []
    for outer in "ab":
        rows += [row(outer, "Stage"), *(row(f"{outer}.{inner}") for inner in range(4))]
    assert told(folded(rows)) == [("a", 2), ("a.0", 4)]


def test_what_differs_in_anything_stands_for_itself() -> None:
    one = row("a")
    others = [
        row("b", "Linear"), row("b", parameters=2), replace(row("b"), output_shape=(9,)),
        replace(row("b"), kernel=(3, 3)), replace(row("b"), trainable_parameters=1), replace(row("b"), calls=2),
    ]  # fmt: skip
    for other in others:
        assert folded([one, other]) == (one, other)
    assert told(folded([row("a"), row("b", "ReLU"), row("c")])) == [("a", 1), ("b", 1), ("c", 1)]
    inner = [row("a", "Block"), row("a.x"), row("b", "Block"), row("b.y")]
    assert told(folded(inner)) == [("a", 1), ("a.x", 1), ("b", 1), ("b.y", 1)]
    assert folded([]) == ()


def test_the_blocks_of_a_residual_network_are_folded() -> None:
    found = {one.name: one for one in summarize_network("torchvision/resnet50", fold=True).layers}
    assert {name: one.repeats for name, one in found.items() if one.repeats > 1} == {
        "layer1.1": 2, "layer2.1": 3, "layer3.1": 5, "layer4.1": 2,
    }  # fmt: skip
    whole = summarize_network("torchvision/resnet50")
    assert found["layer3.1"].receptive_field == next(r for r in whole.layers if r.name == "layer3.5").receptive_field
    assert len(found) == len(whole.layers) - 8 * 8  # a block is one row and seven in it
