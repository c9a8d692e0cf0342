"""Every test here lives in virtual time."""

from __future__ import annotations

from typing import Any

from tests.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:
    return {"virtual": VirtualLoop}
