"""All pages. The first page stands before the API's own answer at `/`."""

from serving.pages import home, login

ROUTERS = [module.router for module in (home, login)]
