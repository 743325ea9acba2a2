"""The official client works unchanged: every format, streaming, errors, models; no warnings."""

import openai
import pytest

EXACT = ("en_hello_gb.wav", "en_call_sign.wav", "de_digits.wav", "es_digits.wav", "fr_digits.wav")


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("name", EXACT)
def test_the_right_words_in_the_right_language(client, samples, name):
    """Real speech in four languages, detected."""
    sample = samples[name]
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=sample["path"], response_format="verbose_json"
    )
    names = {"en": "english", "de": "german", "es": "spanish", "fr": "french"}
    assert answer.text == sample["text"]
    assert answer.language == names[sample["language"]]
    assert float(answer.duration) == pytest.approx(sample["seconds"], abs=0.05)
    assert "".join(segment.text for segment in answer.segments).strip() == sample["text"]


def test_text_srt_and_vtt_are_strings(client, samples):
    """The client hands over the body as it is."""
    sample = samples["en_three_segments.wav"]

    def ask(form: str) -> str:
        return client.audio.transcriptions.create(
            model="whisper-1", file=sample["path"], response_format=form
        )

    assert ask("text") == sample["text"] + "\n"
    srt, vtt = ask("srt"), ask("vtt")
    assert srt.startswith("1\n00:00:0")
    assert vtt.startswith("WEBVTT\n\n00:00:0")
    for segment in sample["segments"]:
        assert segment["text"] in srt
        assert segment["text"] in vtt


def test_words_have_times_inside_the_audio(client, samples):
    """Granularity `word` gives words and no segments."""
    sample = samples["en_call_sign.wav"]
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=sample["path"],
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    assert [word.word for word in answer.words] == sample["text"].split()
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= sample["seconds"] + 0.01
    assert answer.segments is None


def test_streaming_gives_deltas_that_join_to_the_text(client, samples):
    """At least one delta per segment, one done, last."""
    sample = samples["en_three_segments.wav"]
    stream = client.audio.transcriptions.create(model="whisper-1", file=sample["path"], stream=True)
    events = list(stream)
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) == len(sample["segments"])
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(deltas) == sample["text"]


def test_a_translation_is_english(client, samples):
    """The route of its own, through the deprecated method of the client."""
    sample = samples["de_digits.wav"]
    with pytest.warns(DeprecationWarning, match="deprecat"):
        answer = client.audio.translations.create(model="whisper-1", file=sample["path"])
    assert answer.text == sample["translation"]


def test_silence_is_an_empty_transcript(client, samples):
    """No engine is asked, nothing is invented."""
    path = samples["silence.wav"]["path"]
    answer = client.audio.transcriptions.create(model="whisper-1", file=path)
    assert answer.text == ""


def test_logprobs_come_when_asked_for(client, samples):
    """Tokens with their bytes, joining to the text."""
    sample = samples["de_digits.wav"]
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=sample["path"], include=["logprobs"]
    )
    data = b"".join(bytes(map(int, entry.bytes)) for entry in answer.logprobs)
    assert data.decode().strip() == sample["text"]
    assert all(entry.logprob <= 0 for entry in answer.logprobs)


def test_errors_are_the_right_classes(client, samples, tmp_path):
    """Each status becomes the exception that clients catch."""
    path = samples["en_hello_gb.wav"]["path"]
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="no-such-model", file=path)
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model="whisper-1", file=path, temperature=3)
    text = tmp_path / "speech.wav"
    text.write_text("this is no audio")
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=text)
    assert "Invalid file format" in caught.value.message


def test_models_are_listed_and_found(client):
    """Aliases, the bundled model and the OpenAI names."""
    ids = {model.id for model in client.models.list()}
    assert {"two-workers", "demo", "whisper-1", "gpt-4o-transcribe"} <= ids
    assert client.models.retrieve("whisper-1").id == "whisper-1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("some/body")


async def test_the_asynchronous_client_gives_the_same(server, samples):
    """Text and stream."""
    sample = samples["fr_digits.wav"]
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        answer = await client.audio.transcriptions.create(model="whisper-1", file=sample["path"])
        assert answer.text == sample["text"]
        stream = await client.audio.transcriptions.create(
            model="whisper-1", file=sample["path"], stream=True
        )
        events = [event async for event in stream]
        assert events[-1].text == sample["text"]
