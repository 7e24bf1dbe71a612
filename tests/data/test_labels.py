"""Emotion synonyms, the user's file, and what is wrong with one."""

import json

import pytest

from stfer.data.labels import emotion, load_synonyms


@pytest.mark.parametrize(
    ("names", "label"),
    [
        ("anger Anger ANGRY ang Angry", "anger"),
        ("contempt Contempt contemptuous", "contempt"),
        ("disgust DIS disgusted Disgust", "disgust"),
        ("fear FEA fearful Afraid", "fear"),
        ("happy happiness HAP Happy joy", "happiness"),
        ("sad SAD sadness Sadness", "sadness"),
        ("surprise SUR surprised Surprise", "surprise"),
        ("neutral NEU calm", "neutral"),
    ],
)
def test_synonyms_of_the_field(names, label):
    synonyms = load_synonyms()
    assert {emotion(name, synonyms) for name in names.split()} == {label}
    assert emotion(f" {names.split()[0]} ", synonyms) == label


@pytest.mark.parametrize("name", ["", "boredom", "03", "hap hap", "ангер"])
def test_unknown_names(name):
    with pytest.raises(ValueError, match="is unknown: use anger, contempt"):
        emotion(name, load_synonyms())


def test_a_users_file_adds_and_wins(tmp_path):
    path = tmp_path / "ravdess.json"
    path.write_text(json.dumps({"happiness": ["03", "Grinning-Face"], "neutral": ["01", "joy"]}))
    synonyms = load_synonyms(path)
    assert emotion("03", synonyms) == "happiness"
    assert emotion("grinning face", synonyms) == "happiness"
    assert emotion("joy", synonyms) == "neutral"
    assert emotion("angry", synonyms) == "anger"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON"),
        ("[]", "must map"),
        ('{"rage": []}', "names the class 'rage'"),
        ('{"anger": "mad"}', "list of names"),
        ('{"anger": ["x"], "fear": ["X"]}', "'x' means anger and fear"),
    ],
)
def test_wrong_files(tmp_path, content, sentence):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"mine.json.*{sentence}"):
        load_synonyms(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        load_synonyms(tmp_path / "absent.json")
