"""From the name of a data set, or the path of an image folder, to the catalogue of its images."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from cnnkit.data import cache, damaged, sets
from cnnkit.data.cache import Stored
from cnnkit.data.catalogue import Catalogue, Form, derived, record_of
from cnnkit.data.dataset import Images
from cnnkit.data.decoding import Facts
from cnnkit.data.options import DataOptions
from cnnkit.data.results import DamagedFiles
from cnnkit.data.traits import ImageTraits, traits_of_arrays
from cnnkit.depth import Range, describe
from cnnkit.errors import DamagedFilesError
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice
from cnnkit.words import agree, counted, listed


def open_catalogue(
    options: DataOptions, form: Form, *, fewest: int = 2
) -> Generator[LoadProgress | Notice, None, Catalogue]:
    """Find the images of a data set and divide them; those in files are decoded. Yields progress.

    An image folder has `fewest` classes at least.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.
        DamagedFilesError: files that cannot be decoded, which the options do not leave out.
    """
    found = sets.open_images(options.data, options.data_dir, fewest=fewest)
    polarity = form.polarity if isinstance(form, Preprocessing) else found.polarity

    def own_form(traits: ImageTraits) -> Preprocessing:
        shape = derived(form(traits) if callable(form) else form, options, found.fit, polarity)
        # Images of the set itself are never inverted to its own polarity: Fashion-MNIST has a bag that fills its
        # frame, and would be taken for a dark drawing on a light ground.
        is_own = shape.fit != "mnist-box" and polarity == found.polarity
        return replace(shape, polarity="as-is") if is_own else shape

    if found.pixels is not None:
        shape = own_form(traits_of_arrays(found.pixels))
        stored = Stored(found.pixels, shape, {}, Facts(originals={_original(found.pixels): len(found)}), None)
        contents: Sequence[str] = found.contents
    else:
        chosen = own_form if callable(form) else own_form(ImageTraits(3, None))
        stored = yield from cache.load(found.root, found.stats, chosen)
        contents = [stored.digests[name] for name in found.names]
    facts, shape = stored.facts, stored.form
    notes = [*found.warnings, *_of_damage(facts, found, options), *_of_facts(facts, shape, found.name)]
    if facts.value_range is not None and not isinstance(form, Preprocessing):
        shape = replace(shape, value_range=facts.value_range)
    given, parts = found.divided(options, contents, frozenset(facts.damaged))
    return Catalogue(
        name=found.name,
        classes=found.classes,
        origins=found.names,
        contents=contents,
        targets=found.targets,
        parts=parts,
        record=record_of(options, contents, parts, given, "file" if found.pixels is None else "pixels"),
        fingerprint=found.fingerprint,
        preprocessing=replace(shape, polarity=polarity),
        own_form=shape,
        pixels=stored.images,
        file=stored.file,
        facts=facts,
        skipped=found.skipped,
        notes=tuple(notes),
    )


def _original(pixels: Pixels) -> str:
    """Say what size and mode images are of, as of files: `28×28 grey`."""
    height, width, *channels = pixels.shape[1:]
    return f"{width}×{height} {'RGB' if channels and channels[0] > 1 else 'grey'}"


def _of_damage(facts: Facts, found: Images, options: DataOptions) -> Iterator[str]:
    """Yield which files cannot be decoded, where they may be left out.

    Raises:
        DamagedFilesError: they may not.
    """
    if facts.damaged:
        report = damaged.with_list(DamagedFiles(str(found.root), facts.damaged, len(found), ""))
        if not options.skip_damaged:
            raise DamagedFilesError(
                f"{damaged.described(report)}. Repair or remove them, or leave them out with --skip-damaged.",
                result=report,
            )
        yield f"{damaged.described(report)}; they are left out"


def _of_facts(facts: Facts, shape: Preprocessing, name: str) -> Iterator[str]:
    """Yield what a user should know of what was found while files were decoded."""
    if facts.value_range is not None:
        yield from _of_range(facts, facts.value_range, name, guessed=shape.value_range is None)
    if facts.coarse:
        yield f"of {counted(facts.coarse, '16-bit image')} only the upper 8 bits can be read"
    if facts.frames:
        yield f"of {counted(facts.frames, 'image')} with several frames only the first one is used"
    if little := len(facts.little_kept):
        yield (
            f"{counted(little, 'image')} of {name} {agree(little, 'loses', 'lose')} more than half of the picture by "
            f"fit {shape.fit}: {listed(facts.little_kept)}; a training with --fit contain keeps all of it"
        )


def _of_range(facts: Facts, values: Range, name: str, *, guessed: bool) -> Iterator[str]:
    """Yield what a user should know of the range of values of images deeper than 8 bits."""
    # A folder that fills 16 bits leaves nothing to guess.
    if guessed and values != (0, 65535):
        yield (
            f"{counted(facts.deep, 'image')} of {name} {agree(facts.deep, 'has', 'have')} more than 8 bits a "
            f"channel; the range {describe(values)} was guessed from all of them"
        )
    if facts.misfits:
        yield (
            f"the values of {counted(len(facts.misfits), 'image')} of {name} do not fit the range {describe(values)}, "
            f"so that they are clipped or become nearly one colour: {listed(facts.misfits)}"
        )
