"""Which alignment heads fit a model file. Pure."""

from pathlib import Path

from whisper_router_engines.whispercpp.ggml import Hparams, ModelFileError

LAYERS_AND_WIDTH = {
    "tiny.en": (4, 384),
    "tiny": (4, 384),
    "base.en": (6, 512),
    "base": (6, 512),
    "small.en": (12, 768),
    "small": (12, 768),
    "medium.en": (24, 1024),
    "medium": (24, 1024),
    "large-v1": (32, 1280),
    "large-v2": (32, 1280),
    "large-v3": (32, 1280),
    "large-v3-turbo": (4, 1280),
}
"""Preset → decoder layers and width of the model that its heads belong to (Whisper model card)."""


def preset_for(path: Path, hparams: Hparams, *, wanted: str) -> str | None:
    """Return the preset to use, or None: no word timing by DTW.

    `auto` takes the longest preset name in the file name, if the model has its shape.

    Raises:
        ModelFileError: a named preset does not fit; whisper.cpp would abort at the first chunk.
    """
    if wanted == "off":
        return None
    if wanted != "auto":
        if not _fits(hparams, wanted):
            raise ModelFileError(f"{path}: option dtw = '{wanted}' is for a model of another shape")
        return wanted
    named = [name for name in LAYERS_AND_WIDTH if f"-{name}" in path.name and _fits(hparams, name)]
    return max(named, key=len, default=None)


def _fits(hparams: Hparams, preset: str) -> bool:
    shape = (hparams.n_text_layer, hparams.n_text_state)
    return shape == LAYERS_AND_WIDTH[preset] and hparams.multilingual != preset.endswith(".en")
