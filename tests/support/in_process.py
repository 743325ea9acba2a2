"""Settings for a whole router inside the test's own process, with all its files in one place."""

from pathlib import Path
from typing import Any

from whisper_router.engine_sections import (
    AudioSettings,
    DeviceSettings,
    ModelSettings,
    StoreSettings,
    SupervisionSettings,
)
from whisper_router.sections import ServerSettings
from whisper_router.settings import Settings


def settings_in(
    directory: Path,
    *,
    default_model: str = "demo",
    models: dict[str, dict[str, Any]] | None = None,
    store: dict[str, Any] | None = None,
    devices: dict[str, Any] | None = None,
    **supervision: float,
) -> Settings:
    """Return settings that read and write in `directory` only, on a free port, offline."""
    tables = {name: ModelSettings.model_validate(table) for name, table in (models or {}).items()}
    return Settings.model_construct(
        default_model=default_model,
        server=ServerSettings(port=0, shutdown_grace_s=1),
        audio=AudioSettings(spool_dir=directory / "spool", media_workers=1),
        store=StoreSettings(directory=directory / "models", **{"offline": True} | (store or {})),
        supervision=SupervisionSettings.model_validate(supervision),
        models=tables,
        devices=DeviceSettings.model_validate(devices or {}),
    )
