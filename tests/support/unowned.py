"""A hook of schemathesis: the description without owners.

It takes each `tenant_id` for a thing that has to be made first and that nothing makes, and so never makes the devices
and rules that its sequences of requests are to follow.
"""

from typing import Any

import schemathesis


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [p for p in operation.get("parameters", ()) if p["name"] != "tenant_id"]
    for schema in raw_schema["components"]["schemas"].values():
        schema.get("properties", {}).pop("tenant_id", None)
