"""What every audio route does with its request."""

from whisper_router.api.recognise import url_in, with_model


def test_an_address_goes_by_two_names():
    assert url_in([("url", " http://a.example/b.wav ")]) == "http://a.example/b.wav"
    assert url_in([("audio_url", "http://a.example/c.wav")]) == "http://a.example/c.wav"
    assert url_in([("file_url", "http://a.example/c.wav")]) is None


def test_a_form_without_a_model_gets_the_default_one():
    assert with_model([("model", " "), ("language", "en")])[-1] == ("model", "whisper-1")
    assert with_model([("model", "tiny")]) == [("model", "tiny")]
