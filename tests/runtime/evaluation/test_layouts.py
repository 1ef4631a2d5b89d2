"""Each common data layout is recognised, or rejected with advice, and never mistaken for another layout."""

import numpy as np
import pytest
from helpers import factories, layouts
from helpers.layouts import LAYOUTS
from PIL import Image

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.delimited import Table, TableRow
from orilla.runtime.evaluation.datasets.registry import absolute, reading_of
from orilla.runtime.evaluation.datasets.table_header import check_header


def counts(dataset):
    return {split: len(dataset.names(split)) for split in dataset.splits}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_or_refused(name, tmp_path):
    layout = LAYOUTS[name]
    path = layout.build(tmp_path / "data", None)
    if not layout.kind:
        with pytest.raises(DataError, match=layout.refusal) as caught:
            open_dataset(path)
        assert "\n" not in str(caught.value)
        return
    dataset, reading = open_dataset(path), reading_of(path)
    assert reading.kind == layout.kind
    assert reading.reason
    assert "\n" not in reading.reason
    found = counts(dataset)
    assert ({"": sum(found.values())} if "" in layout.counts else found) == layout.counts
    if layout.classes:
        assert dataset.classes == layout.classes
    for split in dataset.splits:
        for index in range(len(dataset.names(split))):
            dataset.load(split, index)
    assert not {"images", "labels", "masks", "train_labels", "image_2"} & set(dataset.classes)


@pytest.mark.parametrize(
    "name", ["fastai", "kaggle_camvid", "label_colors", "inner_splits", "beside", "voc_masks", "cvat_masks", "ade20k"]
)
def test_masks_have_the_classes_of_their_values_or_colours(name, tmp_path):
    dataset = open_dataset(LAYOUTS[name].build(tmp_path / "data", None))
    expected = layouts.values()
    if name == "fastai":  # The third class is void.
        expected = np.where(expected == 2, dataset.ignore, expected)
    if name == "ade20k":  # The value 0 is ignored.
        expected = np.where(expected == 0, dataset.ignore, expected - 1)
    assert np.array_equal(dataset.load(dataset.splits[0], 0).labels, expected)


@pytest.mark.parametrize("name", ["kitti_semantics", "cityscapes"])
def test_the_ids_of_cityscapes(name, tmp_path):
    dataset = open_dataset(LAYOUTS[name].build(tmp_path / "data", None))
    names = np.array(["sky", "road", "car"])[layouts.values()]
    assert np.array_equal(np.array(dataset.classes)[dataset.load("train", 0).labels], names)


def test_images_in_arrays_are_the_same_in_every_form(tmp_path):
    plain = open_dataset(layouts.mnist_arrays(tmp_path, "plain"))
    for form in ("one-hot", "float", "signed", "flat", "channel"):
        dataset = open_dataset(layouts.mnist_arrays(tmp_path, form))
        assert dataset.digest("train") == plain.digest("train"), form


@pytest.mark.parametrize(
    ("name", "title", "first"),
    [
        ("mnist_784.npz", "MNIST, 28x28 grey", "0"),
        ("fashion-mnist.npz", "Fashion-MNIST, 28x28 grey", "t-shirt"),
        ("KMNIST.npz", "KMNIST, 28x28 grey", "o"),
        ("qmnist.npz", "qmnist, in the format of MNIST, 28x28 grey", "0"),
        ("house_numbers.npz", "house_numbers, in the format of MNIST, 28x28 grey", "0"),
    ],
)
def test_a_data_set_in_the_format_of_mnist_has_the_name_of_its_file(name, title, first, tmp_path):
    path = layouts.mnist_arrays(tmp_path, "plain").rename(tmp_path / name)
    dataset = open_dataset(path)
    assert dataset.source.title == title
    assert dataset.classes[0] == first


def test_images_of_emnist_and_cifar_are_upright(tmp_path):
    dataset = open_dataset(layouts.emnist(tmp_path / "emnist"))
    assert np.array_equal(dataset.load("test", 0).image[..., 0], layouts._digits(3, 3)[0][0])
    image = open_dataset(layouts.cifar(tmp_path / "cifar")).load("train", 0).image
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)[0]
    assert np.array_equal(image[..., ::-1].transpose(2, 0, 1).ravel(), pixels)
    file = tmp_path / "emnist" / "emnist-letters-test-labels-idx1-ubyte"
    assert open_dataset(f"emnist:{file}").classes == ("A", "B", "C")


def test_a_pickle_of_cifar_cannot_run_code(tmp_path):
    path = layouts.cifar(tmp_path / "cifar")
    (path / "cifar-10-batches-py" / "test_batch").write_bytes(b"cos\nsystem\n(U\x04truetR.")
    with pytest.raises(DataError, match=r"the file refers to os\.system"):
        open_dataset(path)


def test_the_columns_of_a_table_can_be_stated(tmp_path):
    rows = "".join(f"{n},a long review {n},{'good' if n % 2 else 'bad'}\n" for n in range(30))
    path = layouts.table(tmp_path, f"id,review,sentiment\n{rows}")
    with pytest.raises(DataError, match=r"no column 'text': .* 'id', 'review', 'sentiment'; set `text_column` to"):
        open_dataset(path)
    dataset = open_dataset(f"{path}?text-column=review&label-column=Sentiment")
    assert (dataset.classes, sum(counts(dataset).values())) == (("bad", "good"), 30)
    with pytest.raises(ConfigError, match=r"label_column=stars: reviews.csv has no such column: its columns are"):
        open_dataset(f"{path}?text-column=review&label-column=stars")
    with pytest.raises(ConfigError, match="unknown option of a data set 'colum'"):
        open_dataset(f"{path}?colum=review")


def test_the_columns_of_a_table_without_names_can_be_named(tmp_path, capsys):
    rows = "".join(f"{'good' if n % 3 else 'bad'},review {n}\n" for n in range(30))
    path = layouts.table(tmp_path, rows)
    assert main(["data", "show", str(path)]) == 2
    assert "'good' is a number" not in (shown := capsys.readouterr().err)
    assert "Name all columns with --columns, such as label,text, or add such a line to the file" in shown
    dataset = open_dataset(f"{path}?columns=label,text")
    assert sum(counts(dataset).values()) == 30, "the first line is a sample, too"
    assert "review 0" in {
        dataset.load(split, n).text for split in dataset.splits for n in range(counts(dataset)[split])
    }
    assert main(["data", "show", str(path), "--columns", "label,text"]) == 0
    with pytest.raises(ConfigError, match=r"columns=label: reviews.csv has 2 columns: give a different name for each"):
        open_dataset(f"{path}?columns=label")
    path.rename(tmp_path / "train.csv")
    with pytest.raises(DataError, match=r"the first line of train\.csv is data"):
        open_dataset(tmp_path)
    assert open_dataset(f"{tmp_path}?columns=label,text").classes == ("bad", "good")


@pytest.mark.parametrize(
    "header", ["id,0,1", "label,0,1,2", "0,1,2,3", "ham,note", "image,steering [deg],speed", "x.1,x.2", "class 1,17b"]
)
def test_names_of_columns_are_not_taken_for_data(header):
    count = header.count(",")
    rows = [TableRow(n + 2, [str(n % 2)] * (count + 1)) for n in range(20)]
    check_header(Table("a.csv", header.split(","), rows))


def test_quotes_in_a_table_with_tabs_are_part_of_the_text(tmp_path):
    rows = "".join(f"{'' if n % 3 else chr(34)}text {n}\t{'good' if n % 2 else 'bad'}\n" for n in range(30))
    dataset = open_dataset(layouts.table(tmp_path, f"text\tlabel\n{rows}", "a.tsv"))
    assert sum(counts(dataset).values()) == 30
    quoted = "".join(f'"line {n}\nmore"\t{"good" if n % 2 else "bad"}\n' for n in range(30))
    dataset = open_dataset(layouts.table(tmp_path, f"text\tlabel\n{quoted}", "b.tsv"))
    assert dataset.load("train", 0).text.endswith("\nmore")


def test_the_encoding_of_a_table_can_be_stated(tmp_path, capsys):
    rows = "".join(f"caf\u00e9 {n},{'good' if n % 2 else 'bad'}\n" for n in range(30))
    path = layouts.table(tmp_path, f"text,label\n{rows}", encoding="cp1252")
    with pytest.raises(DataError, match=r"not UTF-8 \(line 2, byte 4 .*0xE9\): .* state its encoding with `encoding`"):
        open_dataset(path)
    assert main(["data", "show", str(path)]) == 2
    assert "state its encoding with --encoding, such as cp1252" in capsys.readouterr().err
    assert main(["data", "show", str(path), "--encoding", "cp1252"]) == 0
    assert "read as texts" in capsys.readouterr().out
    dataset = open_dataset(f"{path}?encoding=cp1252")
    assert dataset.load("train", 0).text.startswith("caf\u00e9")
    with pytest.raises(ConfigError, match="unknown `encoding` 'latin-99'"):
        open_dataset(f"{path}?encoding=latin-99")


def test_an_option_without_effect_is_refused(tmp_path):
    animals = factories.class_folders(tmp_path / "animals", {"train": 3, "val": 2})
    with pytest.raises(ConfigError, match="`text_column` cannot be used for a data set of kind folders"):
        open_dataset(f"{animals}?text-column=a")
    with pytest.raises(ConfigError, match="`encoding` cannot be used for a data set of kind folders"):
        open_dataset(f"folders:{animals}?encoding=latin-1")


def test_classes_of_images_in_any_column(tmp_path):
    for index in range(6):
        layouts.scene(tmp_path / "pictures", f"{index}.png", index)
    lines = [f"pictures/{index}.png,{index % 2},{'red' if index < 3 else 'blue'}" for index in range(6)]
    path = layouts.table(tmp_path, "where,size,paint\n" + "\n".join(lines) + "\n")
    assert reading_of(path).kind == "image_table"
    dataset = open_dataset(f"{path}?image-column=where&label-column=paint")
    assert (dataset.task, dataset.classes) == ("classify", ("blue", "red"))
    path = layouts.table(tmp_path, "image,label\n" + "\n".join(lines).replace("pictures/", "") + "\n")
    with pytest.raises(DataError, match="fields, but the first line names 2"):
        open_dataset(f"image_labels:{path}")


def test_frames_of_one_traffic_sign_stay_in_one_split(tmp_path):
    dataset = open_dataset(layouts.gtsrb(tmp_path))
    splits = {}
    for split in dataset.splits:
        for name, label in zip(dataset.names(split), dataset.labels(split), strict=True):
            assert dataset.classes[label] == str(int(name.split("/")[-2]))
            splits.setdefault(name.rpartition("_")[0], set()).add(split)
    assert len(splits) == 12
    assert all(len(own) == 1 for own in splits.values())


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_an_attribute_of_celeba_is_a_class(form, tmp_path):
    path = layouts.celeba(tmp_path, form)
    dataset = open_dataset(f"{path}?label-column=Male")
    assert dataset.classes == ("-1", "1")
    found = {
        name: dataset.classes[label]
        for split in dataset.splits
        for name, label in zip(dataset.names(split), dataset.labels(split), strict=True)
    }
    assert found == {f"{index + 1:06}.jpg": "1" if index & 2 else "-1" for index in range(8)}


def test_absolute_paths_of_another_machine_name_the_images(tmp_path):
    for index in range(20):
        layouts.scene(tmp_path / "IMG", f"center_{index}.jpg", index)
    rows = "".join(f"C:\\Users\\me\\IMG\\center_{n}.jpg,{n / 20}\n" for n in range(20))
    dataset = open_dataset(layouts.table(tmp_path, f"center,steering\n{rows}", "driving_log.csv"))
    assert sum(counts(dataset).values()) == 20
    dataset.load("train", 0)


def test_what_a_folder_was_taken_for_is_shown(tmp_path, capsys):
    path = layouts.voc_masks(tmp_path / "voc")
    (path / "Annotations").mkdir()
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
    for index in range(6):
        content = f"<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
        (path / "Annotations" / f"{index}.xml").write_text(content)
    assert main(["data", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "read as voc: there are .xml files in Annotations/ for the images in JPEGImages/" in shown
    assert "could also be read as voc_masks: --data voc_masks:PATH" in shown
    assert open_dataset(f"voc_masks:{path}").task == "segment"


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("img", "gt"), ("JPEGImages", "SegmentationClass")])
def test_masks_of_another_size_are_found_before_a_training(images, masks, tmp_path, capsys):
    layouts.binary(tmp_path, {"a": (images, masks)})
    files = sorted((tmp_path / masks).iterdir())
    halve(files[1])
    assert main(["data", "show", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    named = f"{files[1].name} has 16x12 pixels, but its image {files[1].name} has 32x24: store each label image in"
    assert f"1 of 4 label images differ in size from their image: {named} the size of its image" in shown
    for file in (files[0], *files[2:]):
        halve(file)
    with pytest.raises(DataError, match=r"the label image .*\.png has 16x12 pixels, but its image .* has 32x24: store"):
        open_dataset(tmp_path)


def halve(file):
    with Image.open(file) as mask:
        small = mask.resize((16, 12), Image.Resampling.NEAREST)
    small.save(file)


def test_a_rotated_image_has_the_size_of_its_mask(tmp_path):
    for index in range(4):
        image = Image.fromarray(layouts.photo(index))
        exif = image.getexif()
        exif[0x0112] = 6
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        image.save(tmp_path / "images" / f"{index}.jpg", exif=exif)
        Image.fromarray(np.full((32, 24), 255 * (index % 2), np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.notes() == []
    assert dataset.load(dataset.splits[0], 0).labels.shape == (32, 24)


def test_an_unknown_folder_is_refused_with_what_it_contains(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("a")
    (tmp_path / "b.bin").write_bytes(b"b")
    with pytest.raises(DataError, match=r"it contains b\.bin, notes/ \(a\.md\)\. Orilla reads one folder"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("names", [("mask", "no_mask"), ("train", "car"), ("left", "right"), ("label", "bottle")])
def test_class_folders_with_names_of_parts_are_still_classes(names, tmp_path):
    for start, name in enumerate(names):
        for index in range(12):
            layouts.scene(tmp_path / name, f"{index}.png", 100 * start + index)
    assert open_dataset(tmp_path).classes == tuple(sorted(names))


def test_test_images_without_labels_are_left_out(tmp_path):
    animals = factories.class_folders(tmp_path / "animals", {"train": 8, "val": 2})
    layouts.scene(animals / "test", "1.png", 900)
    dataset = open_dataset(animals)
    assert counts(dataset) == {"train": 16, "val": 4}
    assert dataset.notes() == ["test/ has 1 unused files that are not in class folders"]


def test_options_stay_in_an_absolute_specification(tmp_path, monkeypatch):
    layouts.table(tmp_path, "a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert absolute("reviews.csv?text-column=a b") == f"{tmp_path}/reviews.csv?text-column=a+b"
    assert absolute("texts:reviews.csv?encoding=cp1252") == f"texts:{tmp_path}/reviews.csv?encoding=cp1252"
    (tmp_path / "odd?encoding=x.csv").write_text("text,label\na,b\n")
    assert absolute("odd?encoding=x.csv") == f"{tmp_path}/odd?encoding=x.csv"
