"""The page that documents the API: Swagger UI, served from a Python package since plants are closed networks."""

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PAGE = "/docs"
FILES = f"{PAGE}/files"


def show(app: FastAPI) -> None:
    """Serve the page to everybody, with or without a key; it shows no data."""
    app.mount(FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))

    def page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{FILES}/swagger-ui.css",
            swagger_favicon_url=f"{root}{FILES}/favicon-32x32.png",
        )

    app.add_route(PAGE, page, include_in_schema=False)
