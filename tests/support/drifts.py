"""How Brex's description may change, each as an edit of the description."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

Node = dict[str, Any]
Drift = Callable[[Node], object]

REACTIVATE = "/v3/accounting/integration/{integration_id}/reactivate"
VENDORS = ["CAMPFIRE", "HANOVER_PARK", "RILLET"]
TEXT: Node = {"type": "string"}


def schema(description: Node, name: str) -> Node:
    found: Node = description["components"]["schemas"][name]
    return found


def drifted(description: Node, *drifts: Drift) -> Node:
    changed = copy.deepcopy(description)
    for drift in drifts:
        drift(changed)
    return changed


# Additive


def new_optional_field(description: Node) -> None:
    schema(description, "Integration")["properties"]["new_label"] = TEXT


def new_required_answer_field(description: Node) -> None:
    schema(description, "Integration")["properties"]["new_region"] = TEXT
    schema(description, "Integration")["required"].append("new_region")


def new_enum_value(description: Node) -> None:
    schema(description, "Integration")["properties"]["status"]["enum"].append("DRIFT_STATUS")


def new_error_code(description: Node) -> None:
    schema(description, "AccountingErrorResponse")["properties"]["error_code"]["enum"].append("DRIFT_CODE")


def new_query_parameter(description: Node) -> None:
    parameter = {"name": "new_filter", "in": "query", "schema": TEXT}
    description["paths"]["/v3/accounting/records"]["get"]["parameters"].append(parameter)


def new_operation(description: Node) -> None:
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Integration"}}}
    operation = {
        "operationId": "newOperation",
        "tags": ["Accounting Integrations"],
        "security": [{"oauth2": ["accounting.integration.read"]}],
        "responses": {"200": {"description": "The integration", "content": answer}},
    }
    description["paths"]["/v3/accounting/new"] = {"get": operation}


ADDITIVE: dict[Drift, str] = {
    new_optional_field: "Integration.new_label (read): the property is new (string, optional)",
    new_required_answer_field: "Integration.new_region (read): the property is new (string, required)",
    new_enum_value: "Integration.status (read): the value DRIFT_STATUS is new",
    new_error_code: "AccountingErrorResponse.error_code (read): the value DRIFT_CODE is new",
    new_query_parameter: "queryAccountingRecords, query parameter new_filter: is new (optional)",
    new_operation: "newOperation: the operation is new (GET /v3/accounting/new)",
}

# Such that the facade does not fit any more


def vendor_as_an_enum(description: Node) -> None:
    for name in ("Integration", "CreateIntegrationRequest"):
        schema(description, name)["properties"]["vendor"]["enum"] = VENDORS


def integration_id_renamed(description: Node) -> None:
    integration = schema(description, "Integration")
    integration["properties"]["id"] = integration["properties"].pop("integration_id")
    integration["required"] = ["id", *(name for name in integration["required"] if name != "integration_id")]


def details_not_nullable(description: Node) -> None:
    del schema(description, "AccountingErrorResponse")["properties"]["details"]["nullable"]


def operation_removed(description: Node) -> None:
    del description["paths"][REACTIVATE]


def operation_renamed(description: Node) -> None:
    description["paths"][REACTIVATE]["post"]["operationId"] = "resumeIntegration"


def property_renamed(description: Node) -> None:
    integration = schema(description, "Integration")
    integration["properties"]["new_account"] = integration["properties"].pop("vendor_account_id")
    integration["required"].remove("vendor_account_id")


def error_code_removed(description: Node) -> None:
    schema(description, "AccountingErrorResponse")["properties"]["error_code"]["enum"].remove("INTEGRATION_NOT_ACTIVE")


def detail_removed(description: Node) -> None:
    del schema(description, "AccountingErrorDetails")["properties"]["existing_vendor"]


def status_value_removed(description: Node) -> None:
    schema(description, "Integration")["properties"]["status"]["enum"].remove("DISABLED")


def new_required_request_field(description: Node) -> None:
    request = schema(description, "CreateIntegrationRequest")
    request["properties"]["new_region"] = TEXT
    request["required"].append("new_region")


def new_required_parameter(description: Node) -> None:
    parameters = description["paths"][REACTIVATE]["post"]["parameters"]
    parameters.append({"name": "reason", "in": "query", "required": True, "schema": TEXT})


def path_parameter_renamed(description: Node) -> None:
    operation = description["paths"].pop(REACTIVATE)
    operation["post"]["parameters"][0]["name"] = "id"
    description["paths"][REACTIVATE.replace("integration_id", "id")] = operation


def answer_of_another_schema(description: Node) -> None:
    media = description["paths"][REACTIVATE]["post"]["responses"]["200"]["content"]["application/json"]
    media["schema"] = {"$ref": "#/components/schemas/Vendor"}


def created_at_a_number(description: Node) -> None:
    schema(description, "Integration")["properties"]["created_at"] = {"type": "integer"}


def vendor_may_be_null(description: Node) -> None:
    schema(description, "Integration")["properties"]["vendor"]["nullable"] = True


def vendor_is_optional(description: Node) -> None:
    schema(description, "Integration")["required"].remove("vendor")


def schema_renamed(description: Node) -> None:
    text = json.dumps(description).replace('#/components/schemas/Integration"', '#/components/schemas/Link"')
    description.update(json.loads(text))
    description["components"]["schemas"]["Link"] = description["components"]["schemas"].pop("Integration")


MISFITS: dict[Drift, str] = {
    vendor_as_an_enum: "Integration.vendor has become an enum (CAMPFIRE, HANOVER_PARK, RILLET), and was free text",
    integration_id_renamed: "Integration.integration_id is gone (removed",
    details_not_nullable: "AccountingErrorResponse.details is no longer nullable",
    operation_removed: "The operation reactivateIntegration is gone, or has another operationId",
    operation_renamed: "The operation reactivateIntegration is gone, or has another operationId",
    property_renamed: "Integration.vendor_account_id is gone (removed, or renamed: new there ",
    error_code_removed: "The error code INTEGRATION_NOT_ACTIVE is gone",
    detail_removed: "AccountingErrorDetails.existing_vendor is gone",
    status_value_removed: "Integration.status no longer knows the value DISABLED",
    new_required_request_field: "CreateIntegrationRequest requires new_region, which the facade does not send",
    new_required_parameter: "reactivateIntegration requires the new query reason parameter",
    path_parameter_renamed: "reactivateIntegration has no path integration_id parameter any more",
    answer_of_another_schema: "reactivateIntegration's success is Vendor",
    created_at_a_number: "Integration.created_at is integer now, and was string date-time",
    vendor_may_be_null: "Integration.vendor may be null now",
    vendor_is_optional: "Integration.vendor is no longer required",
    schema_renamed: "The schema Integration is gone, or has another name",
}
