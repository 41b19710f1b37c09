"""A dataset is data: nothing that its files name is imported, nothing outside its folder is read."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from question_sets import record, write

from data_prep.inspect.__main__ import main as inspect_main
from data_prep.sources.base import SourceError
from data_prep.sources.tfds_source import TfdsImages
from data_prep.synthesis.dataset import DatasetError as SceneDatasetError
from data_prep.synthesis.dataset import SceneDataset
from spatial_jax.data.integrity import DatasetError
from spatial_jax.data.scenes import open_scenes
from spatial_jax.data.source import open_questions
from spatial_jax.dataset_folder import check_dataset_folder, open_dataset_folder
from spatial_jax.pages import ExampleFolder

EVIL = "import pathlib\npathlib.Path(__file__).with_name('ran').write_text('ran')\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole"), [record(i) for i in range(3)])


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A copy to spoil, with a module beside it that leaves a mark when it is imported."""
    (tmp_path / "evil_feature.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield shutil.copytree(whole, tmp_path / "set")
    assert "evil_feature" not in sys.modules and not (tmp_path / "ran").exists()


def spoil(folder, name, change):
    path = folder / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def set_class(value):
    value["featuresDict"]["features"]["answer"]["pythonClassName"] = "evil_feature.Text"


def snake_case(value):
    answer = value["featuresDict"]["features"]["answer"]
    del answer["pythonClassName"]
    answer["python_class_name"] = "evil_feature.Text"


def older_form(value):
    value.clear()
    value |= {"type": "evil_feature.Text", "content": {}}


def json_in_text(value):
    nested = json.dumps({"type": "evil_feature.Text", "content": {}})
    value["featuresDict"]["features"]["answer"] = {
        "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
        "jsonFeature": {"json": json.dumps({"feature": json.loads(nested), "length": None})},
    }


def field_of_another_folder(value):
    fields = value["featuresDict"]["features"]
    fields["../../secret"] = fields["answer"]


@pytest.mark.parametrize("change", [set_class, snake_case, older_form, json_in_text, field_of_another_folder])
def test_features_json_names_only_what_tfds_brings(folder, change):
    spoil(folder, "features.json", change)
    words = "features.json"
    for opens, error in (
        (open_dataset_folder, ValueError),
        (open_questions, DatasetError),
        (open_scenes, DatasetError),
        (ExampleFolder, ValueError),
        (lambda path: SceneDataset(str(path)), SceneDatasetError),
        (lambda path: TfdsImages(str(path)), SourceError),
    ):
        with pytest.raises(error, match=words) as raised:
            opens(folder)
        assert "\n" not in str(raised.value)


def test_inspect_says_so_in_one_line(folder, capsys):
    spoil(folder, "features.json", set_class)
    assert inspect_main([str(folder), f"--out={folder.parent / 'page.html'}"]) == 2
    assert "evil_feature.Text" in capsys.readouterr().err


def test_a_prepared_dataset_by_name_brings_no_code_either(folder, tmp_path):
    prepared = shutil.copytree(folder, tmp_path / "root" / "mine" / "1.0.0")
    spoil(prepared, "features.json", set_class)
    with pytest.raises(SourceError, match="evil_feature"):
        TfdsImages("mine", data_dir=str(tmp_path / "root"))


@pytest.mark.parametrize("template", ["../{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}", "/tmp/{SPLIT}-{SHARD_INDEX}"])
def test_shards_lie_beside_their_books(folder, template):
    def change(value):
        value["splits"][0]["filepathTemplate"] = template

    spoil(folder, "dataset_info.json", change)
    with pytest.raises(DatasetError, match="leads out of the folder"):
        open_questions(folder)


def test_books_of_other_forms(folder):
    def older(value):
        value["schema"] = {"feature": [{"name": "objects/label", "type": "INT"}]}
        value["citation"] = "a/b"

    spoil(folder, "dataset_info.json", older)
    check_dataset_folder(folder)
    for text in ("[]", "null", '{"splits": 3}', '{"splits": ["a"]}'):
        (folder / "dataset_info.json").write_text(text)
        with pytest.raises(ValueError, match=r"books|cannot be read"):
            check_dataset_folder(folder)


def test_json_without_end_is_one_line(folder):
    (folder / "features.json").write_text('{"a":' * 100_000)
    with pytest.raises(ValueError, match="copy the dataset again"):
        check_dataset_folder(folder)


def test_there_is_one_opener_of_each_thing_that_others_made():
    """A second way would have to know all that these refuse."""
    own = {
        r"tfds\.builder_from_director|builder_from_files\(": {"spatial_jax/dataset_folder.py"},
        r"\bImage\.open\(|\bav\.open\(": {"spatial_jax/media/opening.py"},
        r"\burlopen\(|\burllib\.request\b|\bhttp\.client\b": {"spatial_jax/endpoints.py"},
    }
    root = Path(__file__).parents[2]
    for pattern, allowed in own.items():
        found = {
            str(path.relative_to(root))
            for room in ("spatial_jax", "data_prep")
            for path in (root / room).rglob("*.py")
            if re.search(rf"^[^`\n]*(?:{pattern})", path.read_text(), re.MULTILINE)
        }
        assert found == allowed, pattern


def test_a_whole_dataset_opens(whole):
    assert len(open_questions(whole)) == 3
