"""The routes of the page on which to try the models."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from serving import playground_page
from serving.gateway.health_routes import ModelsOfGateway

router = APIRouter(include_in_schema=False)

# Relative to the root of the gateway, which may lie below that of a proxy.
_INDEX = f"{playground_page.PATH.removeprefix('/')}/index.html"


@router.get("/")
@router.get(playground_page.PATH)
async def lead_to_page() -> RedirectResponse:
    """Leads to the page."""
    return RedirectResponse(_INDEX, status_code=302)


@router.get(f"{playground_page.PATH}/models")
async def name_models(models: ModelsOfGateway) -> dict[str, Any]:
    """Returns the names of the models."""
    return {"models": models.names}


@router.get(f"{playground_page.PATH}/form")
async def describe_form() -> dict[str, Any]:
    """Returns the fields of the page's form, and that the page asks a gateway."""
    return {**playground_page.FORM, "protocol": "gateway"}


def files() -> StaticFiles:
    """Returns the application that answers with the files of the page."""
    return StaticFiles(directory=playground_page.DIRECTORY)
